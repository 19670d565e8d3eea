//! A lock of the service `lock`, as its holder sees it.

use crate::call::{Peers, Trace};
use crate::problem::{Code, Problem};
use http::Method;
use serde::Deserialize;
use serde_json::json;
use std::time::{Duration, Instant};

/// A lock that this process holds until it says otherwise, or is told so, or is too late.
#[derive(Debug)]
pub struct Lease {
    name: String,
    id: String,
    token: i64,
    ttl: Duration,
    /// By our own clock, counted from before we asked: never later than at the lock service.
    until: Instant,
}

#[derive(Debug, Deserialize)]
struct Granted {
    token: i64,
    lease: String,
    expires_in_ms: u64,
}

impl Lease {
    /// Takes a lock, waiting for it at most `wait`.
    ///
    /// # Errors
    ///
    /// [`Code::LockHeld`], or the lock service cannot be reached.
    pub async fn acquire(
        peers: &Peers,
        name: &str,
        owner: &str,
        ttl: Duration,
        wait: Duration,
    ) -> Result<Self, Problem> {
        let url = format!("http://lock/locks/{name}");
        let body = json!({
            "owner": owner,
            "ttl_ms": milliseconds(ttl),
            "wait_ms": milliseconds(wait),
        });
        // The wait comes before the lease begins, so the count begins with the answer less what is left of the lease.
        let reply = peers
            .send(&Trace::default(), Method::POST, &url, &[], Some(&body))
            .await?;
        let granted: Granted = reply.success("lock")?;
        let left = Duration::from_millis(granted.expires_in_ms).min(ttl);
        Ok(Self {
            name: name.to_owned(),
            id: granted.lease,
            token: granted.token,
            ttl,
            // What the answer took on its way is not known; a tenth is taken off for it. Whoever is wrong all the same is
            // stopped by the fencing token.
            until: Instant::now() + left.mul_f64(0.9),
        })
    }

    /// `LOCK:NUMBER`, for the header `fencing-token`.
    pub fn fencing_token(&self) -> String {
        format!("{}:{}", self.name, self.token)
    }

    /// Whether it still holds, as far as this process can know.
    pub fn holds(&self) -> bool {
        Instant::now() < self.until
    }

    /// Keeps it alive, when a third of its time is over.
    ///
    /// # Errors
    ///
    /// It is lost.
    pub async fn keep(&mut self, peers: &Peers) -> Result<(), Problem> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left > self.ttl.mul_f64(0.6) {
            return Ok(());
        }
        let asked = Instant::now();
        let url = format!("http://lock/locks/{}/{}", self.name, self.id);
        let reply = peers
            .send(&Trace::default(), Method::PUT, &url, &[], None::<&()>)
            .await;
        match reply.and_then(|reply| reply.success::<Granted>("lock")) {
            Ok(granted) => {
                let left = Duration::from_millis(granted.expires_in_ms).min(self.ttl);
                self.until = asked + left;
                Ok(())
            }
            // It is ours until its time is over, so the next try may succeed.
            Err(problem) if problem.code == Code::Unavailable && self.holds() => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    /// Gives it up; if that fails, it ends by itself.
    pub async fn release(self, peers: &Peers) {
        let url = format!("http://lock/locks/{}/{}", self.name, self.id);
        let released = peers
            .send(&Trace::default(), Method::DELETE, &url, &[], None::<&()>)
            .await;
        if let Err(problem) = released {
            tracing::warn!(lock = self.name, %problem, "a lock is left to expire");
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
