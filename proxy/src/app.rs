//! The data plane as a whole: starting it, changing its configuration, draining it.

use crate::discovery::{Addr, Discovery};
use crate::handover::Inherited;
use crate::hold::Hold;
use crate::metrics::Metrics;
use crate::resources::{LOOK, LOOK_FOR_LIMIT, Raised};
use crate::shared::{Running, RunningListener, Shared};
use crate::view::{EndpointView, SetView};
use crate::worker::{self, COMMANDS, Command, drain_window};
use heddle_core::config::{Mode, ProxyConfig, UpstreamProtocol};
use heddle_core::status::Status;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Connections that may wait to be accepted; what the kernel caps at `somaxconn`.
pub(crate) const BACKLOG: i32 = 1024;

/// Bytes that the kernel holds for a client beyond what is under way to it: as many as one HTTP/2 stream may have.
const UNSENT: u32 = 256 * 1024;

/// How often a drain of some listeners looks whether their connections are gone.
const DRAINED_POLL: Duration = Duration::from_millis(10);

/// The running data plane.
#[derive(Debug)]
pub struct App {
    shared: Arc<Shared>,
    workers: Vec<mpsc::Sender<Command>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// What is listened on, by listener.
    bound: Mutex<BTreeMap<String, Held>>,
    applying: Mutex<()>,
}

/// Why the data plane could not start or take a configuration.
#[derive(Debug)]
pub enum AppError {
    /// A listener's address cannot be bound.
    Bind {
        /// The listener.
        listener: String,
        /// Its address.
        address: SocketAddr,
        /// The system's reason.
        error: io::Error,
    },
    /// A thread or runtime could not be started.
    Thread(io::Error),
    /// TLS could not be made ready; says why.
    Tls(String),
}

impl std::fmt::Display for AppError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind {
                listener,
                address,
                error,
            } if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "listener {listener}: {address} is in use by another process. Choose another `listen` address, or stop that process (`ss -ltnp` shows it)"
            ),
            Self::Bind {
                listener,
                address,
                error,
            } if error.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "listener {listener}: {address} may not be bound by this user. Choose a port above 1023, or grant CAP_NET_BIND_SERVICE"
            ),
            Self::Bind {
                listener,
                address,
                error,
            } => write!(
                f,
                "listener {listener}: cannot listen on {address}: {error}"
            ),
            Self::Tls(why) => f.write_str(why),
            Self::Thread(error) => write!(f, "cannot start a worker thread: {error}"),
        }
    }
}

impl std::error::Error for AppError {}

impl App {
    /// Binds every listener, and starts one worker per core (or as many as the configuration says).
    ///
    /// # Errors
    /// When an address cannot be bound or a thread cannot be started; nothing is left running.
    pub(crate) fn start(
        config: Arc<ProxyConfig>,
        discovery: Arc<Discovery>,
        metrics: Arc<Metrics>,
        hold: Arc<Hold>,
        inherited: &Inherited,
    ) -> Result<Arc<Self>, AppError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = config.workers.unwrap_or(cores).max(1);
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            let taken = inherited.take(&listener.name, listener.listen);
            sockets.push(match Bound::inherited(listener, taken, count) {
                Some(bound) => bound,
                None => bind(&listener.name, listener.listen, count)?,
            });
        }
        discovery.configure(&config);
        let shared = Shared::new(config, count, discovery, metrics, hold);
        let shared = Arc::new(shared.map_err(AppError::Tls)?);
        shared
            .sockets_outlive
            .store(inherited.are_held(), Ordering::Relaxed);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::channel(COMMANDS)).unzip();
        let mut threads = Vec::new();
        let (started, starts) = std::sync::mpsc::channel();
        for (id, commands) in receivers.into_iter().enumerate() {
            let (shared, peers, started) = (shared.clone(), senders.clone(), started.clone());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{id}"))
                .spawn(move || worker::run(id, shared, peers, commands, &started));
            threads.push(thread.map_err(AppError::Thread)?);
        }
        drop(started);
        // A socket that nobody accepts on would take its share of the connections all the same.
        for start in starts.iter().take(count) {
            start.map_err(AppError::Thread)?;
        }
        shared.descriptors.look();
        let app = Arc::new(Self {
            shared,
            workers: senders,
            threads: Mutex::new(threads),
            bound: Mutex::default(),
            applying: Mutex::new(()),
        });
        let running = app.shared.running.load_full();
        for sockets in sockets {
            app.hand_out(&running, sockets);
        }
        Ok(app)
    }

    fn hand_out(&self, running: &Running, sockets: Bound) {
        let Some(listener) = running.listeners.get(&sockets.listener) else {
            return;
        };
        tracing::info!(listener = sockets.listener, address = %sockets.actual, "listening");
        lock(&self.bound).insert(
            sockets.listener.clone(),
            Held {
                configured: sockets.configured,
                actual: sockets.actual,
                sockets: sockets.sockets.iter().flat_map(duplicate).collect(),
            },
        );
        // One each, or several where another process had more workers.
        let mut shares: Vec<_> = self.workers.iter().map(|_| Vec::new()).collect();
        for (index, socket) in sockets.sockets.into_iter().enumerate() {
            shares[index % self.workers.len()].push(socket);
        }
        // All know the listener before one accepts: it may hand a connection to any other at once.
        let nothing = self.workers.iter().map(|_| Vec::new()).collect();
        for shares in [nothing, shares] {
            for (worker, sockets) in self.workers.iter().zip(shares) {
                let listener = Arc::<RunningListener>::clone(listener);
                self.command(worker, Command::Listen { listener, sockets });
            }
        }
    }

    fn command(&self, worker: &mpsc::Sender<Command>, command: Command) {
        // Full only when a worker is stuck with a thousand hand-overs; a listener must not be lost.
        let mut command = command;
        for _ in 0..100 {
            match worker.try_send(command) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(back)) => command = back,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        tracing::error!("a worker does not take commands");
    }

    /// Applies a new configuration, make before break: new listeners are bound first, and if one
    /// cannot be, nothing changes. Requests in flight end as they began. Blocks for the bind calls.
    ///
    /// # Errors
    /// When a new address cannot be bound.
    pub fn apply(&self, config: Arc<ProxyConfig>) -> Result<u64, AppError> {
        let _one_at_a_time = lock(&self.applying);
        let known: BTreeMap<String, SocketAddr> = lock(&self.bound)
            .iter()
            .map(|(name, held)| (name.clone(), held.configured))
            .collect();
        let mut added = Vec::new();
        for listener in &config.listeners {
            let same = known
                .get(&listener.name)
                .is_some_and(|configured| *configured == listener.listen);
            if !same {
                added.push(bind(&listener.name, listener.listen, self.workers.len())?);
            }
        }
        let removed: Vec<String> = known
            .keys()
            .filter(|name| !config.listeners.iter().any(|l| l.name == **name))
            .cloned()
            .collect();
        let generation = self.shared.generation.load(Ordering::Relaxed) + 1;
        let before = self.shared.running.load();
        let metrics = &self.shared.metrics;
        let running = Running::new(
            config.clone(),
            generation,
            metrics,
            &self.shared.hold,
            Some(&before),
        );
        let running = Arc::new(running.map_err(AppError::Tls)?);
        self.shared.discovery.configure(&config);
        self.shared.recorder.configure(&running.config);
        self.shared.run(running.clone());
        for sockets in added {
            for worker in &self.workers {
                self.command(worker, Command::Unlisten(sockets.listener.clone()));
            }
            self.hand_out(&running, sockets);
        }
        for name in removed {
            lock(&self.bound).remove(&name);
            for worker in &self.workers {
                self.command(worker, Command::Unlisten(name.clone()));
            }
        }
        Ok(generation)
    }

    /// Says so when the limit of descriptors allows fewer connections than the listeners do.
    pub(crate) fn warn_of_few_descriptors(&self, raised: Raised) {
        let descriptors = &self.shared.descriptors;
        let config = self.config().1;
        let wanted = config
            .listeners
            .iter()
            .map(|listener| listener.limits.connections);
        let (wanted, fit) = (wanted.fold(0, usize::saturating_add), descriptors.clients());
        let limit = descriptors.limit();
        if fit < wanted {
            tracing::warn!(
                limit,
                fit,
                wanted,
                "fewer connections of clients fit into the limit of file descriptors than the listeners' limits.connections allow. Raise it (`ulimit -Hn`, LimitNOFILE=), or lower those"
            );
        } else if raised.from < raised.to {
            tracing::debug!(
                from = raised.from,
                to = raised.to,
                "raised the limit of file descriptors"
            );
        }
    }

    /// Keeps an eye on memory, for as long as it is polled.
    pub(crate) async fn watch_memory(self: Arc<Self>) {
        let metrics = self.shared.metrics.clone();
        loop {
            let configured = self.shared.running.load().config.limits.memory;
            let memory = &self.shared.memory;
            memory.look(configured);
            metrics.memory(memory.limit(), memory.pressure());
            let pause = if memory.limit() == 0 {
                LOOK_FOR_LIMIT
            } else {
                LOOK
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// The running configuration and its number.
    pub fn config(&self) -> (u64, Arc<ProxyConfig>) {
        let running = self.shared.running.load();
        (running.generation, running.config.clone())
    }

    /// Where the listeners are bound, by name.
    pub fn bound(&self) -> BTreeMap<String, SocketAddr> {
        lock(&self.bound)
            .iter()
            .map(|(name, held)| (name.clone(), held.actual))
            .collect()
    }

    /// Opens the access log's file again, for log rotation.
    pub fn reopen_log(&self) {
        self.shared.recorder.reopen();
    }

    /// Whether a drain has begun.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Closes the listeners in front of the service, and waits until their connections are gone or
    /// the configured drain time is over. Nothing may be applied afterwards.
    pub async fn drain_inbound(&self) {
        let running = self.shared.running.load_full();
        let inbound: Vec<_> = running
            .listeners
            .values()
            .filter(|listener| matches!(listener.spec.mode, Mode::Inbound { .. }))
            .collect();
        for listener in &inbound {
            // The workers have copies, which are the last ones then.
            if let Some(held) = lock(&self.bound).get_mut(&listener.spec.name) {
                held.sockets.clear();
            }
            for worker in &self.workers {
                self.command(worker, Command::Unlisten(listener.spec.name.clone()));
            }
        }
        let gone = async {
            while inbound
                .iter()
                .any(|listener| listener.metrics.connections_open.get() > 0)
            {
                tokio::time::sleep(DRAINED_POLL).await;
            }
        };
        if tokio::time::timeout(running.config.drain, gone)
            .await
            .is_err()
        {
            tracing::warn!("drain time is over with requests for the service in flight");
        }
    }

    /// Every listening socket by its listener, for a process that takes over.
    pub(crate) fn sockets(&self) -> Vec<(String, OwnedFd)> {
        let bound = lock(&self.bound);
        let sockets = bound.iter().flat_map(|(name, held)| {
            let copies = held.sockets.iter().flat_map(duplicate);
            copies.map(|socket| (name.clone(), OwnedFd::from(socket)))
        });
        sockets.collect()
    }

    /// Whether another process holds these sockets as well.
    pub(crate) fn sockets_outlive(&self) -> bool {
        self.shared.sockets_outlive.load(Ordering::Relaxed)
    }

    /// Whether every worker answers within `limit`.
    pub(crate) async fn workers_answer(&self, limit: Duration) -> bool {
        let answers = async {
            let mut alive = Vec::new();
            for worker in &self.workers {
                let (answer, answered) = oneshot::channel();
                if worker.send(Command::Ping(answer)).await.is_err() {
                    return false;
                }
                alive.push(answered);
            }
            for answered in alive {
                if answered.await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(limit, answers).await.unwrap_or(false)
    }

    /// Ends as [`drain`](Self::drain) does; another process accepts on the same sockets already.
    pub(crate) async fn drain_handed_over(&self) {
        self.end(true).await;
    }

    /// Lets what is in flight finish within the configured time, and ends the workers. New
    /// connections are taken until none is left or the drain window is over.
    pub async fn drain(&self) {
        self.end(false).await;
    }

    async fn end(&self, handed_over: bool) {
        if self.shared.draining.swap(true, Ordering::Relaxed) {
            return;
        }
        if handed_over {
            self.shared.sockets_outlive.store(true, Ordering::Relaxed);
        }
        let limit = self.shared.running.load().config.drain;
        // The workers have copies, and close them when they have taken what is queued.
        for held in lock(&self.bound).values_mut() {
            held.sockets.clear();
        }
        tracing::info!(seconds = limit.as_secs_f64(), "draining");
        let mut idle = Vec::new();
        for worker in &self.workers {
            let (done, idle_now) = oneshot::channel();
            let drain = Command::Drain {
                handed_over,
                window: drain_window(limit),
                done,
            };
            if worker.send(drain).await.is_ok() {
                idle.push(idle_now);
            }
        }
        let all = async {
            self.no_connection_is_left().await;
            for worker in &self.workers {
                worker.send(Command::Close).await.ok();
            }
            for worker in idle {
                // A worker that ended is idle as well.
                worker.await.ok();
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("drain time is over, closing what is left");
        }
        for worker in &self.workers {
            worker.send(Command::Stop).await.ok();
        }
        let threads = std::mem::take(&mut *lock(&self.threads));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker ended by a panic");
                }
            }
        });
        joined.await.ok();
        let recorder = self.shared.recorder.clone();
        // Its spans go out over this very runtime, so nothing here may block it.
        let told = tokio::task::spawn_blocking(move || recorder.stop());
        told.await.ok();
    }

    /// A worker without connections accepts on while others have some: the kernel gives it a share
    /// of the new ones, and resets those that are queued when its socket closes.
    async fn no_connection_is_left(&self) {
        let counts = &self.shared.connections;
        while counts.iter().any(|count| count.load(Ordering::Relaxed) > 0) {
            tokio::time::sleep(DRAINED_POLL).await;
        }
    }

    /// Brings up to date the gauges that nobody keeps, before metrics are shown.
    pub fn refresh_gauges(&self) {
        self.shared.refresh_gauges();
    }

    /// Every replica set in use, with its endpoints as the balancers see them.
    pub fn sets(&self) -> Vec<SetView> {
        let now = crate::clock::now();
        self.shared
            .sets()
            .iter()
            .filter_map(|set| {
                let (discovered, balancer, members) = set.shown()?;
                let (state, endpoints) = match &*discovered.addr() {
                    Addr::Bound(endpoints) => ("bound".to_owned(), endpoints.clone()),
                    Addr::Pending => ("pending".to_owned(), Vec::new()),
                    Addr::Neg => ("neg".to_owned(), Vec::new()),
                    Addr::Failed(why) => (why.clone(), Vec::new()),
                };
                let endpoints = endpoints.iter().map(|endpoint| {
                    let shared = members.get(&endpoint.address);
                    let ewma = shared
                        .map(|s| s.ewma.latency())
                        .filter(|latency| *latency > 0.0);
                    let count = |read: &dyn Fn(&crate::shared::EndpointShared) -> u64| {
                        shared.map_or(0, |s| read(s))
                    };
                    EndpointView {
                        address: endpoint.address,
                        weight: endpoint.weight,
                        zone: endpoint.locality.zone.as_deref().map(str::to_owned),
                        node: endpoint.locality.node.as_deref().map(str::to_owned),
                        status: shared.map_or(Status::Open, |s| s.status(now)),
                        ejected_ms: shared
                            .and_then(|s| s.health.ejected_until())
                            .map(|until| until.saturating_sub(now) / 1_000_000),
                        ewma_ms: ewma.map(|nanos| nanos / 1e6),
                        load: shared.map_or(0.0, |s| match balancer {
                            "p2c-peak-ewma" => s.ewma.load(now),
                            _ => f64::from(s.ewma.pending()),
                        }),
                        in_flight: count(&|s| u64::from(s.ewma.pending())),
                        requests: count(&|s| s.requests.load(Ordering::Relaxed)),
                        failures: count(&|s| s.failures.load(Ordering::Relaxed)),
                        connections: count(&|s| u64::from(s.connections.load(Ordering::Relaxed))),
                    }
                });
                Some(SetView {
                    id: set.id.to_string(),
                    protocol: protocol_word(discovered.protocol()).to_owned(),
                    state,
                    balancer: balancer.to_owned(),
                    endpoints: endpoints.collect(),
                })
            })
            .collect()
    }
}

fn protocol_word(protocol: UpstreamProtocol) -> &'static str {
    match protocol {
        UpstreamProtocol::Same => "same",
        UpstreamProtocol::Http1 => "http1",
        UpstreamProtocol::Http2 => "http2",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener's sockets as they are kept to be handed over.
#[derive(Debug)]
struct Held {
    configured: SocketAddr,
    actual: SocketAddr,
    sockets: Vec<TcpListener>,
}

/// Another descriptor of the same socket; without one, it cannot be handed over, and is bound anew.
fn duplicate(socket: &TcpListener) -> Option<TcpListener> {
    socket
        .try_clone()
        .inspect_err(|error| tracing::warn!(%error, "a listening socket cannot be duplicated"))
        .ok()
}

/// One listener's sockets, one per worker.
struct Bound {
    listener: String,
    configured: SocketAddr,
    actual: SocketAddr,
    sockets: Vec<TcpListener>,
}

impl Bound {
    /// Sockets of another process: each worker has at least one, shared when they are too few.
    fn inherited(
        listener: &heddle_core::config::Listener,
        mut sockets: Vec<TcpListener>,
        count: usize,
    ) -> Option<Self> {
        let actual = sockets.first()?.local_addr().ok()?;
        let given = sockets.len();
        for index in given..count {
            sockets.extend(duplicate(&sockets[index % given]));
        }
        for socket in &sockets {
            socket.set_nonblocking(true).ok()?;
        }
        Some(Self {
            listener: listener.name.clone(),
            configured: listener.listen,
            actual,
            sockets,
        })
    }
}

/// Binds one socket per worker. `SO_REUSEPORT` would let a second instance bind the same port in
/// silence, so a plain bind comes first: a port in use is an error.
fn bind(listener: &str, address: SocketAddr, count: usize) -> Result<Bound, AppError> {
    let failed = |error| AppError::Bind {
        listener: listener.to_owned(),
        address,
        error,
    };
    drop(socket(address, false).map_err(failed)?);
    let first = socket(address, true).map_err(failed)?;
    let actual = first.local_addr().map_err(failed)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(socket(actual, true).map_err(failed)?);
    }
    Ok(Bound {
        listener: listener.to_owned(),
        configured: address,
        actual,
        sockets,
    })
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it. A kernel that does not know it, buffers more.
    socket.set_tcp_notsent_lowat(UNSENT).ok();
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
