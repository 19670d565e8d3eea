//! One proxy process: data plane, discovery, reload and admin server under one roof.
//!
//! Admin, discovery and reload share one thread and runtime of their own, so that none of them can
//! hold up a request.

use crate::admin::{self, AdminState, ConfigView, Refused, Running};
use crate::app::App;
use crate::control::Control;
use crate::discovery::Discovery;
use crate::handover::{ADMIN, Inherited, Successor};
pub use crate::hold::Hold;
use crate::metrics::Metrics;
use crate::notify;
use crate::reload::{Mesh, Refusal, Watcher};
use crate::resources::raise_descriptors;
use crate::view::SetView;
use heddle_core::config::ProxyConfig;
use heddle_core::finding::{Finding, Severity};
use heddle_core::name::{Namer, Path};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
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
    let mut inherited = Inherited::from_environment();
    runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let predecessor = inherited.predecessor();
        let mut proxy = Proxy::prepare(options, &inherited).await?;
        inherited.close_rest();
        match predecessor {
            None => proxy.open_admin(),
            Some(mut predecessor) => {
                predecessor.relieve().await;
                proxy.open_admin();
                predecessor.serving().await;
            }
        }
        notify::ready();
        tokio::spawn(notify::feed_watchdog(proxy.app.clone()));
        while let End::TakeOver(successor) = wait_for_the_end(&mut proxy, &mut signals).await {
            if proxy.hand_over(successor).await {
                proxy.drain_handed_over().await;
                return Ok(());
            }
        }
        notify::stopping();
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
    metrics: Arc<Metrics>,
    admin_state: Arc<AdminState>,
    admin_socket: std::net::TcpListener,
    /// The admin server, while this process has it.
    admin: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    reloading: JoinHandle<()>,
}

impl Proxy {
    /// Starts all of it; requests are served when this returns.
    ///
    /// # Errors
    /// Says why it could not start, in words for the terminal.
    pub async fn start(options: &Options) -> Result<Self, String> {
        let mut proxy = Self::prepare(options, &Inherited::default()).await?;
        proxy.open_admin();
        Ok(proxy)
    }

    /// Starts all but the admin server, on inherited sockets where there are some.
    async fn prepare(options: &Options, inherited: &Inherited) -> Result<Self, String> {
        let raised = raise_descriptors();
        let metrics = Metrics::new(heddle_core::config::Limits::default().metric_series);
        let discovery = Discovery::new(metrics.clone());
        let control = Control::new(metrics.clone());
        let source = Arc::new(Mesh(control.clone()));
        let watcher = Watcher::with_source(options.config.clone(), source, metrics.clone());
        let hold = options.hold.clone().unwrap_or_default();
        let app = watcher
            .start(|config| {
                metrics.set_max_series(config.limits.metric_series);
                let config = options.prepare(config);
                control.configure(&config, &discovery);
                App::start(
                    config,
                    discovery.clone(),
                    metrics.clone(),
                    hold.clone(),
                    inherited,
                )
                .map_err(|error| error.to_string())
            })
            .map_err(|refusal| refusal.to_string())?;
        let address = app.config().1.admin;
        let given = inherited.take(ADMIN, address).into_iter().next();
        let admin_socket = admin_socket(address, given).await.map_err(|error| {
            format!("the admin server cannot listen on {address}: {error}. Set `admin: {{listen: ADDRESS}}` to a free address, or stop the process that uses it")
        })?;
        let admin_address = admin_socket.local_addr().unwrap_or(address);
        let (stop, stopped) = watch::channel(false);
        let (drain, drains) = watch::channel(false);
        let face = Arc::new(Face {
            app: app.clone(),
            discovery: discovery.clone(),
            watcher: watcher.clone(),
            drain,
            hold,
            control: control.clone(),
            ready: OnceLock::new(),
        });
        let admin_state = Arc::new(AdminState {
            metrics: metrics.clone(),
            proxy: face.clone(),
        });
        tokio::spawn(discovery.clone().run(until(stopped)));
        tokio::spawn(app.clone().watch_memory());
        tokio::spawn(control.clone().run(discovery.clone(), watcher.clone()));
        let reloading = {
            let (app, options, metrics) = (app.clone(), options.clone(), metrics.clone());
            let (control, discovery) = (control, discovery.clone());
            tokio::spawn(watcher.clone().run(move |config| {
                let config = options.prepare(config);
                let (app, metrics) = (app.clone(), metrics.clone());
                let (control, discovery) = (control.clone(), discovery.clone());
                async move {
                    apply(&app, config.clone(), &metrics, admin_address).await?;
                    control.configure(&config, &discovery);
                    Ok(())
                }
            }))
        };
        announce(&app, admin_address, options);
        app.warn_of_few_descriptors(raised);
        face.ready.set(()).ok();
        Ok(Self {
            app,
            watcher,
            admin_address,
            stop,
            drains,
            metrics,
            admin_state,
            admin_socket,
            admin: None,
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

    /// Loads the configuration again, and waits until that is applied or refused.
    pub async fn load_again(&self) {
        let attempted = self.watcher.attempted();
        self.watcher.reload();
        attempted.await;
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
    pub async fn drain(mut self) {
        self.reloading.abort();
        self.app.drain().await;
        // Nobody listens any more when discovery ended by itself.
        self.stop.send(true).ok();
        self.close_admin().await;
    }

    /// Serves the admin pages from here on.
    fn open_admin(&mut self) {
        let listener = self
            .admin_socket
            .try_clone()
            .and_then(TcpListener::from_std);
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the admin server cannot be served");
                return;
            }
        };
        let (stop, stopped) = watch::channel(false);
        let serving = admin::serve(listener, self.admin_state.clone(), until(stopped));
        self.admin = Some((stop, tokio::spawn(serving)));
    }

    async fn close_admin(&mut self) {
        if let Some((stop, serving)) = self.admin.take() {
            stop.send_replace(true);
            serving.await.ok();
        }
    }

    /// Starts the process that takes over, on the sockets of this one.
    fn successor(&self) -> impl Future<Output = Result<Successor, String>> + use<> {
        let mut sockets = self.app.sockets();
        if let Ok(socket) = self.admin_socket.try_clone() {
            sockets.push((ADMIN.to_owned(), socket.into()));
        }
        Successor::start(sockets, self.app.sockets_outlive())
    }

    /// Lets a process that is ready take over; when it does not, this one serves on.
    async fn hand_over(&mut self, successor: Successor) -> bool {
        let id = successor.id();
        self.close_admin().await;
        notify::main_process(id);
        match successor.take_over().await {
            Ok(()) => {
                self.metrics.handovers().succeeded.inc();
                tracing::info!(process = id, "handed over");
                true
            }
            Err(why) => {
                notify::main_process(std::process::id());
                self.open_admin();
                self.not_handed_over(&why);
                false
            }
        }
    }

    fn not_handed_over(&self, why: &str) {
        self.metrics.handovers().failed.inc();
        tracing::error!(why, "not handed over, this process serves on");
    }

    async fn drain_handed_over(self) {
        self.reloading.abort();
        self.app.drain_handed_over().await;
        self.stop.send(true).ok();
    }

    /// Loads the configuration again; systemd is told when that is over.
    fn reload(&self) {
        let before = self.watcher.status().last_attempt_at;
        self.watcher.reload();
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return;
        }
        notify::reloading();
        let watcher = self.watcher.clone();
        tokio::spawn(async move {
            for _ in 0..RELOAD_POLLS {
                tokio::time::sleep(RELOAD_POLL).await;
                if watcher.status().last_attempt_at != before {
                    break;
                }
            }
            notify::ready();
        });
    }
}

/// How often a reload is looked after.
const RELOAD_POLL: Duration = Duration::from_millis(20);
/// After so many, ten seconds, systemd is told that it is over, since the last good configuration serves.
const RELOAD_POLLS: u32 = 500;

/// The admin server's socket: the one that was passed on, or a new one.
async fn admin_socket(
    address: SocketAddr,
    given: Option<std::net::TcpListener>,
) -> std::io::Result<std::net::TcpListener> {
    let socket = match given {
        Some(socket) => socket,
        None => TcpListener::bind(address).await?.into_std()?,
    };
    socket.set_nonblocking(true)?;
    Ok(socket)
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

/// The signals that a proxy obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    take_over: Signal,
}

impl Signals {
    fn listen() -> Result<Self, String> {
        let on = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
            take_over: on(SignalKind::user_defined2())?,
        })
    }
}

/// Why a proxy ends.
enum End {
    Drain,
    /// Another process is ready for its place.
    TakeOver(Successor),
}

/// A process that is being started.
type Starting = Pin<Box<dyn Future<Output = Result<Successor, String>>>>;

/// Waits for what ends it. `SIGHUP` reloads meanwhile, and `SIGUSR2` starts a process that takes over.
async fn wait_for_the_end(proxy: &mut Proxy, signals: &mut Signals) -> End {
    let mut starting: Option<Starting> = None;
    loop {
        let started = async {
            match &mut starting {
                Some(starting) => starting.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = signals.terminate.recv() => return End::Drain,
            _ = signals.interrupt.recv() => return End::Drain,
            _ = signals.hangup.recv() => {
                proxy.app.reopen_log();
                proxy.reload();
            }
            () = proxy.asked_to_drain() => return End::Drain,
            started = started => match started {
                Ok(successor) => return End::TakeOver(successor),
                Err(why) => {
                    starting = None;
                    proxy.not_handed_over(&why);
                }
            },
            _ = signals.take_over.recv() => if starting.is_none() {
                tracing::info!("starting a process that takes over");
                starting = Some(Box::pin(proxy.successor()));
            },
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
    control: Arc<Control>,
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
        let why = self.control.why_not_ready().or_else(|| self.hold.why());
        why.map_or(Ok(()), Err)
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
