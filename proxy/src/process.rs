//! One proxy process: data plane, discovery, reload and admin server under one roof.
//!
//! Admin, discovery and reload share one thread and runtime of their own, so that none of them can
//! hold up a request.

use crate::admin::{self, AdminState, ConfigView, Refused, Running};
use crate::app::App;
use crate::discovery::Discovery;
pub use crate::hold::Hold;
use crate::metrics::Metrics;
use crate::reload::{Refusal, Watcher};
use crate::view::SetView;
use heddle_core::config::ProxyConfig;
use heddle_core::finding::{Finding, Severity};
use heddle_core::name::{Namer, Path};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How to run.
#[derive(Clone, Default)]
pub struct Options {
    /// The configuration file; without one, the built-in default.
    pub config: Option<PathBuf>,
    /// Worker threads, instead of what the configuration says.
    pub workers: Option<usize>,
    /// What whoever embeds the proxy changes in each configuration that is loaded.
    pub adapt: Option<Adapt>,
    /// Holds what arrives for the service behind, and readiness with it; without one, nothing is held.
    pub hold: Option<Arc<Hold>>,
}

/// A change of a loaded configuration: listeners added, folders named.
pub type Adapt = Arc<dyn Fn(ProxyConfig) -> ProxyConfig + Send + Sync>;

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("config", &self.config)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// A loaded configuration, as it is to run.
    fn prepare(&self, config: Arc<ProxyConfig>) -> Arc<ProxyConfig> {
        if self.workers.is_none() && self.adapt.is_none() {
            return config;
        }
        let mut config = (*config).clone();
        config.workers = self.workers.or(config.workers);
        Arc::new(match &self.adapt {
            Some(adapt) => adapt(config),
            None => config,
        })
    }
}

/// Runs a proxy until `SIGTERM` or `SIGINT`, drained.
///
/// # Errors
/// Says why it could not start, in words for the terminal.
pub fn run(options: &Options) -> Result<(), String> {
    runtime()?.block_on(async {
        let mut proxy = Proxy::start(options).await?;
        wait_for_the_end(&mut proxy).await?;
        proxy.drain().await;
        Ok(())
    })
}

/// The runtime of a proxy's admin thread, on which [`Proxy::start`] is to be called.
///
/// # Errors
/// When the system refuses.
pub fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("admin")
        .build()
        .map_err(|error| format!("cannot start the admin runtime: {error}"))
}

/// A running proxy, for whoever has its own reasons to end it.
#[derive(Debug)]
pub struct Proxy {
    app: Arc<App>,
    watcher: Arc<Watcher>,
    admin_address: SocketAddr,
    stop: watch::Sender<bool>,
    drains: watch::Receiver<bool>,
    admin: JoinHandle<()>,
    reloading: JoinHandle<()>,
}

impl Proxy {
    /// Starts all of it; requests are served when this returns.
    ///
    /// # Errors
    /// Says why it could not start, in words for the terminal.
    pub async fn start(options: &Options) -> Result<Self, String> {
        let metrics = Metrics::new(heddle_core::config::Limits::default().metric_series);
        let discovery = Discovery::new(metrics.clone());
        let watcher = Watcher::new(options.config.clone(), metrics.clone());
        let hold = options.hold.clone().unwrap_or_default();
        let app = watcher
            .start(|config| {
                metrics.set_max_series(config.limits.metric_series);
                let config = options.prepare(config);
                App::start(config, discovery.clone(), metrics.clone(), hold.clone())
                    .map_err(|error| error.to_string())
            })
            .map_err(|refusal| refusal.to_string())?;
        let address = app.config().1.admin;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!("the admin server cannot listen on {address}: {error}. Set `admin: {{listen: ADDRESS}}` to a free address, or stop the process that uses it")
        })?;
        let admin_address = listener.local_addr().unwrap_or(address);
        let (stop, stopped) = watch::channel(false);
        let (drain, drains) = watch::channel(false);
        let face = Arc::new(Face {
            app: app.clone(),
            discovery: discovery.clone(),
            watcher: watcher.clone(),
            drain,
            hold,
            ready: OnceLock::new(),
        });
        let state = Arc::new(AdminState {
            metrics: metrics.clone(),
            proxy: face.clone(),
        });
        let admin = tokio::spawn(admin::serve(listener, state, until(stopped.clone())));
        tokio::spawn(discovery.run(until(stopped)));
        let reloading = {
            let (app, options, metrics) = (app.clone(), options.clone(), metrics.clone());
            tokio::spawn(watcher.clone().run(move |config| {
                let config = options.prepare(config);
                let (app, metrics) = (app.clone(), metrics.clone());
                async move { apply(&app, config, &metrics, admin_address).await }
            }))
        };
        announce(&app, admin_address, options);
        face.ready.set(()).ok();
        Ok(Self {
            app,
            watcher,
            admin_address,
            stop,
            drains,
            admin,
            reloading,
        })
    }

    /// Where the admin server listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin_address
    }

    /// Where the listeners are bound, by name.
    pub fn bound(&self) -> BTreeMap<String, SocketAddr> {
        self.app.bound()
    }

    /// The running configuration.
    pub fn config(&self) -> Arc<ProxyConfig> {
        self.app.config().1
    }

    /// Resolves when the admin server is asked to drain the proxy.
    pub async fn asked_to_drain(&mut self) {
        // Without the admin server nobody can ask.
        if self.drains.wait_for(|drain| *drain).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes no new work for the service behind, and waits until what it has is done or the
    /// configured drain time is over. What the service itself asks of others goes on.
    pub async fn drain_inbound(&self) {
        self.reloading.abort();
        self.app.drain_inbound().await;
    }

    /// Takes no new work, lets what is in flight finish within the configured time, and ends.
    pub async fn drain(self) {
        self.reloading.abort();
        self.app.drain().await;
        // Nobody listens any more when the admin server ended by itself.
        self.stop.send(true).ok();
        self.admin.await.ok();
    }
}

/// Resolves when told to stop, or when there is nobody left to tell.
async fn until(mut stopped: watch::Receiver<bool>) {
    stopped.wait_for(|stop| *stop).await.ok();
}

async fn apply(
    app: &Arc<App>,
    config: Arc<ProxyConfig>,
    metrics: &Metrics,
    admin: SocketAddr,
) -> Result<(), String> {
    if config.admin.port() != 0 && config.admin != admin {
        tracing::warn!(now = %admin, wanted = %config.admin, "the admin address changes with the next start only");
    }
    metrics.set_max_series(config.limits.metric_series);
    let app = app.clone();
    // Binding blocks for as long as the kernel likes.
    let applied =
        tokio::task::spawn_blocking(move || app.apply(config).map_err(|error| error.to_string()))
            .await;
    applied
        .map_err(|error| format!("applying failed: {error}"))?
        .map(|_generation| ())
}

/// Tells where everything is, once all of it is bound.
fn announce(app: &App, admin: SocketAddr, options: &Options) {
    let file = options.config.as_ref().map_or_else(
        || "built-in default".to_owned(),
        |file| file.display().to_string(),
    );
    tracing::info!(configuration = file, admin = %format!("http://{admin}/"), "heddle is ready");
    for (listener, address) in app.bound() {
        tracing::info!(listener, %address, "serving");
    }
}

/// Waits for the signal that ends it; `SIGHUP` reloads meanwhile.
async fn wait_for_the_end(proxy: &mut Proxy) -> Result<(), String> {
    let on = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
    let (mut terminate, mut interrupt, mut hangup) = (
        on(SignalKind::terminate())?,
        on(SignalKind::interrupt())?,
        on(SignalKind::hangup())?,
    );
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                proxy.app.reopen_log();
                proxy.watcher.reload();
            }
            () = proxy.asked_to_drain() => return Ok(()),
        }
    }
}

/// The proxy as its admin server sees it.
struct Face {
    app: Arc<App>,
    discovery: Arc<Discovery>,
    watcher: Arc<Watcher>,
    drain: watch::Sender<bool>,
    hold: Arc<Hold>,
    ready: OnceLock<()>,
}

impl Running for Face {
    fn ready(&self) -> Result<(), String> {
        if self.app.is_draining() {
            return Err("draining: no new work is accepted".to_owned());
        }
        self.ready
            .get()
            .copied()
            .ok_or_else(|| "starting".to_owned())?;
        self.hold.why().map_or(Ok(()), Err)
    }

    fn config(&self) -> ConfigView {
        let (generation, config) = self.app.config();
        let status = self.watcher.status();
        let refused = status.last_error.as_ref().map(|refusal| Refused {
            at: status.last_attempt_at.unwrap_or(SystemTime::UNIX_EPOCH),
            findings: match refusal {
                Refusal::Invalid(findings) => findings.clone(),
                Refusal::NotApplied(why) => vec![not_applied(why)],
            },
        });
        ConfigView {
            generation,
            applied: status.last_ok_at.unwrap_or(SystemTime::UNIX_EPOCH),
            config,
            warnings: status.warnings.clone(),
            refused,
        }
    }

    fn refresh_gauges(&self) {
        self.app.refresh_gauges();
    }

    fn clusters(&self) -> Vec<SetView> {
        self.app.sets()
    }

    fn cluster(&self, id: &Path) -> Option<SetView> {
        let id = id.to_string();
        self.app.sets().into_iter().find(|set| set.id == id)
    }

    fn namer(&self) -> Arc<dyn Namer + Send + Sync> {
        self.discovery.namer()
    }

    fn drain(&self) {
        self.drain.send_replace(true);
    }
}

/// A valid configuration that the system refused, as a finding.
fn not_applied(why: &str) -> Finding {
    Finding {
        code: "HED901",
        severity: Severity::Error,
        file: "<system>".to_owned(),
        line: 1,
        column: 1,
        what: "the configuration is valid but could not be applied".to_owned(),
        why: why.to_owned(),
        fix: "mend the cause and touch the file, or send SIGHUP".to_owned(),
    }
}
