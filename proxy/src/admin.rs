//! The admin server: what a proxy shows of itself, and the one thing it can be told.
//!
//! Plain HTTP/1.1, on loopback unless configuration says otherwise. It has bounds of its own, so
//! that nobody who can reach it can wear out the proxy: connections, bytes and time. Nothing
//! changes by `GET`, and `POST` is refused when a browser sends it from another site's page.

mod answer;
mod host;
mod pages;
mod stats;
mod text;

pub use pages::PAGES;

use crate::clock;
use crate::explain::{self, Explanation};
use crate::metrics::Metrics;
use crate::resources::Seldom;
use crate::routes::Routes;
use crate::view::SetView;
use heddle_core::config::ProxyConfig;
use heddle_core::finding::Finding;
use heddle_core::name::{Namer, Path};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections served at once; a scraper and a few people need fewer. Further ones wait in the backlog.
const CONNECTIONS: usize = 64;
/// Time for a request's head, and idle time between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's head in bytes; dtabs in `/explain` may be long.
const HEAD_BYTES: usize = 64 * 1024;
/// Header fields of a request.
const HEAD_FIELDS: usize = 100;
/// A connection takes no further request after this, so that none is held for ever.
const CONNECTION_AGE: Duration = Duration::from_secs(300);
/// What a connection that is told to end may still take, a reader that does not read included.
const CONNECTION_GRACE: Duration = Duration::from_secs(10);
/// What is in flight at shutdown may take this much longer.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// Wait after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running proxy, as the admin server sees it.
///
/// Methods are called on the admin runtime and must not wait.
pub trait Running: Send + Sync + 'static {
    /// Ready for traffic, or why not: still starting, or draining.
    ///
    /// # Errors
    /// One sentence for people.
    fn ready(&self) -> Result<(), String>;
    /// The running configuration and the last load.
    fn config(&self) -> ConfigView;
    /// Brings up to date the gauges that nobody keeps; called before metrics are shown.
    fn refresh_gauges(&self);
    /// The replica sets in use, in order of their ids.
    fn clusters(&self) -> Vec<SetView>;
    /// One replica set, by its bound id.
    fn cluster(&self, id: &Path) -> Option<SetView>;
    /// Names as they are now.
    fn namer(&self) -> Arc<dyn Namer + Send + Sync>;
    /// Begins to drain, as `SIGTERM` does. Calling it again changes nothing.
    fn drain(&self);
}

/// The running configuration, and what became of the last load.
#[derive(Debug, Clone)]
pub struct ConfigView {
    /// Number of the running configuration; the first is 1.
    pub generation: u64,
    /// When it was applied.
    pub applied: SystemTime,
    /// The configuration itself.
    pub config: Arc<ProxyConfig>,
    /// Warnings of the running configuration.
    pub warnings: Vec<Finding>,
    /// The last load, if it was refused.
    pub refused: Option<Refused>,
}

/// A load that was refused.
#[derive(Debug, Clone)]
pub struct Refused {
    /// When.
    pub at: SystemTime,
    /// Why: at least one error.
    pub findings: Vec<Finding>,
}

/// What the admin server answers from.
pub struct AdminState {
    /// Counters, for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Everything else.
    pub proxy: Arc<dyn Running>,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").finish_non_exhaustive()
    }
}

impl AdminState {
    fn explain(&self, request: &explain::Request) -> Result<Explanation, String> {
        let config = self.proxy.config().config;
        let namer = self.proxy.namer();
        explain::explain(
            &config,
            &*namer,
            &|id| self.proxy.cluster(id).map(Into::into),
            request,
        )
    }

    /// Every name that was seen or is written, and where it leads now.
    fn routes(&self) -> Routes {
        let config = self.proxy.config().config;
        let namer = self.proxy.namer();
        let services = self.metrics.services().into_iter();
        let seen: Vec<_> = services
            .map(|(listener, name, _)| (listener, name))
            .collect();
        let endpoints = |id: &Path| self.proxy.cluster(id).map(Into::into);
        Routes::of(&config, &*namer, &endpoints, &seen)
    }
}

/// Serves until `shutdown` resolves, then a second longer for what is in flight.
///
/// Tasks are spawned on the current runtime, which should not be one that carries traffic.
pub async fn serve(
    listener: TcpListener,
    state: Arc<AdminState>,
    shutdown: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let told = Seldom::default();
    let (stop, stopped) = watch::channel(false);
    let accepting = async {
        loop {
            let permit = Arc::clone(&permits)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (state, stopped) = (Arc::clone(&state), stopped.clone());
                    tokio::spawn(async move {
                        connection(stream, state, stopped).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    if let Some(times) = told.due(clock::now()) {
                        tracing::warn!(%error, times, "the admin server cannot accept a connection");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
    drop(listener);
    // Receivers may all be gone already, when no connection is open.
    stop.send_replace(true);
    let all = u32::try_from(CONNECTIONS).expect("the cap is small");
    drop(tokio::time::timeout(SHUTDOWN_GRACE, permits.acquire_many(all)).await);
}

async fn connection(stream: TcpStream, state: Arc<AdminState>, mut stopped: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let response = pages::answer(&state, &request);
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = tokio::time::sleep(CONNECTION_AGE) => None,
        _ = stopped.wait_for(|stopped| *stopped) => None,
    };
    let result = match ended {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(CONNECTION_GRACE, connection).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

#[cfg(test)]
mod tests;
