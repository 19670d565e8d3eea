//! How every Rust service of the bank is served: one listener on loopback, JSON in and out, problems, metrics, an end.

mod input;
mod metrics;
mod stop;

pub use input::{Actor, At, Input, Key, Params};
pub use stop::Stop;

use crate::Failure;
use crate::problem::{Code, Problem};
use crate::settings::Settings;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve as serve_connections};
use futures_util::future::BoxFuture;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Largest body of a request, in bytes. Nothing that the bank takes is near it.
pub const BODY_LIMIT: usize = 64 * 1024;

/// Requests that a service works on at once. More are refused: they would wait longer than anybody waits for them.
const IN_FLIGHT: usize = 1024;

/// How long requests may take to finish after the signal to stop; event streams never do by themselves.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// Which version of a service answered.
pub const VERSION: HeaderName = HeaderName::from_static("bank-version");
/// Which process answered.
pub const REPLICA: HeaderName = HeaderName::from_static("bank-replica");
/// The customer that a request is made for. Only the gateway sets it.
pub const USER: HeaderName = HeaderName::from_static("bank-user");

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), Problem>> + Send + Sync>;

/// A service that can be served: its name, its routes, and how to know that it is ready.
pub struct Service {
    name: &'static str,
    routes: Router,
    ready: Check,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({})", self.name)
    }
}

impl Service {
    /// A service that is ready as soon as it listens.
    pub fn new(name: &'static str, routes: Router) -> Self {
        Self {
            name,
            routes,
            ready: Arc::new(|| Box::pin(async { Ok(()) })),
        }
    }

    /// The same, ready while `check` says so.
    #[must_use]
    pub fn ready<F>(mut self, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        self.ready = Arc::new(move || Box::pin(check()));
        self
    }

    /// Listens, prints `NAME listening on ADDRESS`, and serves until it is told to stop; then takes nothing new, finishes
    /// what is in flight within ten seconds, and returns.
    ///
    /// # Errors
    ///
    /// The port cannot be had.
    pub async fn serve(self, settings: &Settings, stop: Stop) -> Result<(), Failure> {
        let name = self.name;
        let listener = TcpListener::bind(settings.address()).await;
        let listener = listener.map_err(|e| {
            let port = settings.port;
            Failure::new(format!(
                "{name} cannot listen on port {port}: {e}; set PORT to a free one, or to 0"
            ))
        })?;
        let address = listener.local_addr();
        let address =
            address.map_err(|e| Failure::new(format!("{name}: no local address: {e}")))?;
        let app = self.app(settings)?;
        println!("{name} listening on {address}");
        tracing::info!(service = name, %address, version = settings.version, "listening");
        let (mut first, mut last) = (stop.clone(), stop);
        let graceful = async move { first.requested().await };
        let serving = serve_connections(listener, app).with_graceful_shutdown(graceful);
        let impatient = async move {
            last.requested().await;
            tokio::time::sleep(LAST_WAIT).await;
        };
        tokio::select! {
            ended = serving.into_future() => {
                ended.map_err(|e| Failure::new(format!("{name} cannot serve: {e}")))?;
            }
            () = impatient => tracing::warn!(service = name, "stopped with requests in flight"),
        }
        Ok(())
    }

    fn app(self, settings: &Settings) -> Result<Router, Failure> {
        let version = HeaderValue::from_str(&settings.version).map_err(|_| {
            Failure::new(format!(
                "BANK_VERSION is `{}`: give v1 or v2",
                settings.version
            ))
        })?;
        let seen = Seen {
            version,
            replica: HeaderValue::from(std::process::id()),
            room: Arc::new(Semaphore::new(IN_FLIGHT)),
        };
        let ready = self.ready;
        let check = move || async move {
            match ready().await {
                Ok(()) => (StatusCode::OK, "ready\n").into_response(),
                Err(problem) => problem.into_response(),
            }
        };
        Ok(self
            .routes
            .route("/ready", get(check))
            .route("/metrics", get(metrics::page))
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(middleware::from_fn_with_state(seen, observe)))
    }
}

/// What every answer tells about where it comes from, and how many are on their way.
#[derive(Debug, Clone)]
struct Seen {
    version: HeaderValue,
    replica: HeaderValue,
    room: Arc<Semaphore>,
}

async fn observe(State(seen): State<Seen>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = metrics::route(&request);
    let mut response = match seen.room.try_acquire() {
        Ok(_turn) => next.run(request).await,
        Err(_) => Problem::unavailable(format!(
            "{IN_FLIGHT} requests are in flight already; send the same request again, a little later"
        ))
        .into_response(),
    };
    let headers = response.headers_mut();
    // What came through from another service keeps its origin.
    headers.entry(VERSION).or_insert(seen.version);
    headers.entry(REPLICA).or_insert(seen.replica);
    let refused = response.extensions().get::<Code>().copied();
    metrics::count(&route, response.status(), refused, started.elapsed());
    response
}

async fn no_such_path(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(Code::NotFound, format!("there is no {path} here"))
}

async fn no_such_method(request: Request) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!("{} is not for this path", request.method()),
    )
}
