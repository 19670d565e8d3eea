//! The service `lock`: locks with leases, fencing tokens and a bounded wait, over plain HTTP. They are kept in etcd, or in
//! a file when there is none.
//!
//! A lease alone proves nothing: its holder may be paused beyond it and write later. So each holder gets a number that is
//! higher than all before it, and whoever is written to remembers the highest ([`crate::ledger`] does).

mod embedded;
mod etcd;
mod lease;

pub use lease::Lease;

use crate::Failure;
use crate::failpoint;
use crate::money::{check_id, check_text};
use crate::problem::{Code, Problem};
use crate::settings::Settings;
use crate::web::{At, Input, Service, Stop};
use axum::extract::State;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a lease may be, in milliseconds. Shorter ones would be lost to a slow disk.
const TTL: std::ops::RangeInclusive<u64> = 1_000..=60_000;
/// How long a request may wait for a lock, in milliseconds.
const WAIT: u64 = 30_000;
/// Between two looks at a lock that somebody else holds, at another replica or without having said that it is free.
const LOOK: Duration = Duration::from_millis(50);

/// A lock in somebody's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Held {
    name: String,
    owner: String,
    /// Grows with each holder of the name.
    token: i64,
    /// Names this holding; only its holder knows it.
    #[serde(skip)]
    lease: String,
    expires_in_ms: i64,
}

/// Where locks are kept.
#[derive(Debug, Clone)]
enum Store {
    Embedded(embedded::Store),
    Etcd(etcd::Store),
}

impl Store {
    /// Takes a lock; none if somebody holds it.
    async fn take(&self, name: &str, owner: &str, ttl: Duration) -> Result<Option<Held>, Problem> {
        match self {
            Self::Embedded(store) => store.take(name, owner, ttl).await,
            Self::Etcd(store) => store.take(name, owner, ttl).await,
        }
    }

    /// Begins a lease anew; none if it is over.
    async fn keep(&self, name: &str, lease: &str) -> Result<Option<Held>, Problem> {
        match self {
            Self::Embedded(store) => store.keep(name, lease).await,
            Self::Etcd(store) => store.keep(name, lease).await,
        }
    }

    /// Ends a lease; false if it is over.
    async fn release(&self, name: &str, lease: &str) -> Result<bool, Problem> {
        match self {
            Self::Embedded(store) => store.release(name, lease).await,
            Self::Etcd(store) => store.release(name, lease).await,
        }
    }

    /// Who holds a lock at the moment; all locks that are held, without a name.
    async fn held(&self, name: Option<&str>) -> Result<Vec<Held>, Problem> {
        match self {
            Self::Embedded(store) => store.held(name).await,
            Self::Etcd(store) => store.held(name).await,
        }
    }

    async fn ready(&self) -> Result<(), Problem> {
        match self {
            Self::Embedded(store) => store.ready().await,
            Self::Etcd(store) => store.ready().await,
        }
    }
}

#[derive(Debug, Clone)]
struct Locks {
    store: Store,
    /// Some lock was released here.
    released: Arc<Notify>,
}

/// Runs the service until it is told to stop.
///
/// # Errors
///
/// It cannot start.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    let store = match &settings.etcd {
        Some(endpoints) => Store::Etcd(etcd::Store::connect(endpoints).await?),
        None => Store::Embedded(embedded::Store::open(&settings).await?),
    };
    let checked = store.clone();
    let locks = Locks {
        store,
        released: Arc::new(Notify::new()),
    };
    let routes = Router::new()
        .route("/locks", get(list))
        .route("/locks/{name}", post(acquire))
        .route("/locks/{name}/{lease}", put(keep).delete(release))
        .with_state(locks);
    let ready = move || {
        let store = checked.clone();
        async move { store.ready().await }
    };
    let service = Service::new("lock", routes).ready(ready);
    service.serve(&settings, Stop::on_signal()?).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    owner: String,
    ttl_ms: u64,
    #[serde(default)]
    wait_ms: u64,
}

async fn acquire(
    State(locks): State<Locks>,
    At(name): At<String>,
    Input(wanted): Input<Wanted>,
) -> Result<Json<Value>, Problem> {
    check_id("name", &name, "")?;
    check_text("owner", &wanted.owner, 128)?;
    if !TTL.contains(&wanted.ttl_ms) {
        let (least, most) = (TTL.start(), TTL.end());
        return Err(Problem::malformed(format!(
            "`ttl_ms` is from {least} to {most}"
        )));
    }
    if wanted.wait_ms > WAIT {
        return Err(Problem::malformed(format!("`wait_ms` is at most {WAIT}")));
    }
    let until = Instant::now() + Duration::from_millis(wanted.wait_ms);
    let ttl = Duration::from_millis(wanted.ttl_ms);
    loop {
        // To look costs less than to try: waiting writes nothing.
        let holder = locks.store.held(Some(&name)).await?.into_iter().next();
        if holder.is_none()
            && let Some(held) = locks.store.take(&name, &wanted.owner, ttl).await?
        {
            failpoint::reach("lock.granted");
            return Ok(Json(granted(&held)));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(refused(&name, holder.as_ref()));
        }
        tokio::select! {
            () = locks.released.notified() => {}
            () = tokio::time::sleep(left.min(LOOK)) => {}
        }
    }
}

fn granted(held: &Held) -> Value {
    json!({"token": held.token, "lease": held.lease, "expires_in_ms": held.expires_in_ms})
}

fn refused(name: &str, holder: Option<&Held>) -> Problem {
    let (who, left) = holder.map_or(("somebody else", 0), |held| {
        (held.owner.as_str(), held.expires_in_ms)
    });
    Problem::new(
        Code::LockHeld,
        format!("{who} holds `{name}`: ask again, with a longer wait_ms"),
    )
    .with("owner", who)
    .with("expires_in_ms", left)
}

fn over(name: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!(
            "that lease of `{name}` is over: take the lock again, and look again before you write"
        ),
    )
}

async fn keep(
    State(locks): State<Locks>,
    At((name, lease)): At<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let held = locks.store.keep(&name, &lease).await?;
    held.map(|held| Json(granted(&held)))
        .ok_or_else(|| over(&name))
}

async fn release(
    State(locks): State<Locks>,
    At((name, lease)): At<(String, String)>,
) -> Result<Json<Value>, Problem> {
    if !locks.store.release(&name, &lease).await? {
        return Err(over(&name));
    }
    locks.released.notify_waiters();
    Ok(Json(json!({"released": name})))
}

async fn list(State(locks): State<Locks>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({"locks": locks.store.held(None).await?})))
}
