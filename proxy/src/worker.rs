//! One core's share of the data plane: its own runtime, listener sockets, caches and pools.

use crate::accept;
use crate::access::{self, Told};
use crate::client::{Client, Policy};
use crate::clock;
use crate::http::{HEADER_TIMEOUT, Overdue, Spare};
use crate::io::{ConnState, Order, Phase};
use crate::resources::Lent;
use crate::router::ListenerState;
use crate::shared::{Running, RunningListener, Shared};
use heddle_core::answer::Kind;
use heddle_core::config::ListenerLimits;
use heddle_core::name::Path;
use heddle_core::overload::Pressure;
use heddle_core::random::Xoshiro;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, TcpStream as StdTcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Know this listener, and accept on these sockets of it.
    Listen {
        listener: Arc<RunningListener>,
        sockets: Vec<std::net::TcpListener>,
    },
    /// Stop accepting on a listener, and drain its connections.
    Unlisten(String),
    /// A connection that another worker accepted.
    Adopt {
        listener: String,
        stream: StdTcpStream,
        /// Counts it while it is on its way.
        lent: Lent,
    },
    /// Finish what is in flight, answer when no connection is left.
    Drain {
        /// Whether somebody else accepts already. Else this worker goes on until the window is over
        /// or it is told to close, and in any case takes what has been queued.
        handed_over: bool,
        /// How long idle connections stay, to be told with an answer that they end.
        window: Duration,
        done: oneshot::Sender<()>,
    },
    /// Take what is queued, and close the listening sockets.
    Close,
    /// Answer, to show that this worker is not stuck.
    Ping(oneshot::Sender<()>),
    /// Close what is left and end.
    Stop,
}

/// Commands that may wait; connections that are handed over take part in it.
pub(crate) const COMMANDS: usize = 1024;

/// The tick of the coarse clock and of the sweeper.
const TICK: Duration = Duration::from_millis(250);
/// How long a drain keeps idle connections: callers with a steady load send within it (issue 3).
const DRAIN_WINDOW: Duration = Duration::from_secs(5);
/// A connection idle for longer holds no parser and no buffers.
const REST_AFTER: Duration = Duration::from_millis(500);
/// Connections that go to rest in one tick. The allocator gives pages back at the first one that is freed some time
/// after them, later the more there were: so what a thousand free at once would all stay.
const REST_AT_ONCE: usize = 512;
/// How long what is closed at the very end may take to say so.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long a connection may be idle where others find no room: long enough for a caller that is at work, and short
/// enough that those who do nothing leave (nginx closes its oldest idle ones likewise).
const IDLE_WHEN_FULL: Duration = Duration::from_secs(5);
/// How long a head may take when memory is short; most come in one piece.
const HEAD_WHEN_SHORT: Duration = Duration::from_secs(1);
/// Ticks between sweeps of pools and caches.
const SWEEP_EVERY: u32 = 4;

/// Buffers for copies of heads that are kept; about a kilobyte each.
const MAX_SPARES: usize = 256;

/// A worker's state; all of it stays on its thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) running: RefCell<Rc<Running>>,
    pub(crate) rng: Rc<RefCell<Xoshiro>>,
    /// Mirrored requests under way.
    pub(crate) mirrors: Cell<usize>,
    pub(crate) tick: Arc<AtomicU64>,
    /// Where other workers take over connections.
    pub(crate) peers: Vec<mpsc::Sender<Command>>,
    seen: Cell<u64>,
    spares: RefCell<Vec<Spare>>,
    listeners: RefCell<HashMap<String, Listening>>,
    clients: RefCell<HashMap<Path, Vec<Rc<Client>>>>,
    connections: RefCell<HashMap<u64, Connection>>,
    next_connection: Cell<u64>,
    idle: RefCell<Option<oneshot::Sender<()>>>,
    /// What a connection is told that begins now.
    order: Cell<Order>,
    /// Sockets on which connections are accepted.
    accepting: Cell<usize>,
}

#[derive(Debug)]
struct Listening {
    state: Rc<ListenerState>,
    /// Dropped to take what is queued and then close the sockets.
    accepting: Vec<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Connection {
    state: Arc<ConnState>,
    listener: Rc<ListenerState>,
    caller: IpAddr,
    abort: AbortHandle,
}

/// Runs a worker on this thread until it is stopped. `started` is told when it can take sockets, or why it never will.
pub(crate) fn run(
    id: usize,
    shared: Arc<Shared>,
    peers: Vec<mpsc::Sender<Command>>,
    commands: mpsc::Receiver<Command>,
    started: &std::sync::mpsc::Sender<std::io::Result<()>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever waits for it may have given up for another worker's sake.
            started.send(Err(error)).ok();
            return;
        }
    };
    started.send(Ok(())).ok();
    let seed = clock::now()
        ^ (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from(std::process::id());
    let running = shared.running.load_full();
    let worker = Rc::new(Worker {
        id,
        seen: Cell::new(running.generation),
        running: RefCell::new(Rc::new(Running::clone(&running))),
        shared,
        rng: Rc::new(RefCell::new(Xoshiro::seeded(seed))),
        mirrors: Cell::new(0),
        tick: Arc::new(AtomicU64::new(clock::now())),
        peers,
        spares: RefCell::default(),
        listeners: RefCell::default(),
        clients: RefCell::default(),
        connections: RefCell::default(),
        next_connection: Cell::new(0),
        idle: RefCell::new(None),
        order: Cell::new(Order::Go),
        accepting: Cell::new(0),
    });
    runtime.block_on(worker.serve(commands));
}

impl Worker {
    async fn serve(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0_u32;
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Stop) | None => break,
                    Some(command) => self.obey(command),
                },
                _ = tick.tick() => {
                    self.tick.store(clock::now(), Relaxed);
                    self.watch_connections();
                    ticks = ticks.wrapping_add(1);
                    if ticks.is_multiple_of(SWEEP_EVERY) {
                        self.refresh();
                        self.sweep();
                    }
                }
            }
        }
        self.say_farewell().await;
        for connection in self.connections.borrow().values() {
            // Says who ends the requests that are left.
            connection.state.order(Order::Close);
            connection.abort.abort();
        }
    }

    /// Has what is left closed, and waits a moment for those that have something to say to that.
    async fn say_farewell(&self) {
        self.close_listeners();
        for connection in self.connections.borrow().values() {
            connection.state.order(Order::Close);
        }
        let (done, none_is_left) = oneshot::channel();
        *self.idle.borrow_mut() = Some(done);
        self.tell_if_idle();
        timeout(FAREWELL, none_is_left).await.ok();
    }

    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Listen { listener, sockets } => self.listen(listener, sockets),
            Command::Unlisten(name) => self.unlisten(&name),
            Command::Adopt {
                listener,
                stream,
                lent,
            } => {
                // Whoever takes it over counts it from here on.
                drop(lent);
                let state = self
                    .listeners
                    .borrow()
                    .get(&listener)
                    .map(|listening| listening.state.clone());
                if let Some(state) = state {
                    accept::adopt(self, &state, stream);
                }
            }
            Command::Drain {
                handed_over,
                window,
                done,
            } => self.drain(handed_over, window, done),
            Command::Close => self.close_listeners(),
            Command::Ping(alive) => {
                // Whoever asked may have given up.
                alive.send(()).ok();
            }
            Command::Stop => {}
        }
    }

    fn drain(self: &Rc<Self>, handed_over: bool, window: Duration, done: oneshot::Sender<()>) {
        self.order.set(Order::Drain);
        if handed_over {
            self.close_listeners();
        }
        for connection in self.connections.borrow().values() {
            connection.state.order(Order::Drain);
        }
        *self.idle.borrow_mut() = Some(done);
        self.tell_if_idle();
        let worker = self.clone();
        tokio::task::spawn_local(async move {
            // Twice, since what is queued at the end of the first window gets one of its own.
            for _ in 0..2 {
                sleep(window).await;
                worker.close_listeners();
                worker.finish_connections();
            }
        });
    }

    fn finish_connections(&self) {
        for connection in self.connections.borrow().values() {
            connection.state.order(Order::Finish);
            if connection.state.phase().0 == Phase::Idle && !connection.state.is_served() {
                connection.abort.abort();
            }
        }
    }

    fn close_listeners(&self) {
        for listening in self.listeners.borrow_mut().values_mut() {
            listening.accepting.clear();
        }
    }

    fn listen(
        self: &Rc<Self>,
        listener: Arc<RunningListener>,
        sockets: Vec<std::net::TcpListener>,
    ) {
        let name = listener.spec.name.clone();
        let mut listeners = self.listeners.borrow_mut();
        let listening = listeners.entry(name.clone()).or_insert_with(|| Listening {
            state: Rc::new(ListenerState::new(listener)),
            accepting: Vec::new(),
        });
        for socket in sockets {
            match accept::start(self, listening.state.clone(), socket) {
                Ok(stop) => listening.accepting.push(stop),
                Err(error) => {
                    tracing::error!(listener = name, %error, "cannot accept on the socket");
                }
            }
        }
    }

    fn unlisten(&self, name: &str) {
        let Some(listening) = self.listeners.borrow_mut().remove(name) else {
            return;
        };
        let connections = self.connections.borrow();
        let draining: Vec<_> = connections
            .values()
            .filter(|connection| Rc::ptr_eq(&connection.listener, &listening.state))
            .map(|connection| connection.state.clone())
            .collect();
        for connection in &draining {
            connection.order(Order::Drain);
        }
        listening.state.order.set(Order::Drain);
        let window = drain_window(self.running.borrow().config.drain);
        tokio::task::spawn_local(async move {
            sleep(window).await;
            for connection in draining {
                connection.order(Order::Finish);
            }
        });
    }

    /// Counts a socket on which connections are accepted, until the guard is dropped.
    pub(crate) fn accepting(self: &Rc<Self>) -> Accepting {
        self.accepting.set(self.accepting.get() + 1);
        Accepting(self.clone())
    }

    /// Takes over the latest configuration, if it is new.
    pub(crate) fn refresh(&self) {
        if self.seen.get() == self.shared.generation.load(Relaxed) {
            return;
        }
        let running = self.shared.running.load_full();
        self.seen.set(running.generation);
        let metrics = &self.shared.metrics.caches().path;
        for (name, listening) in &*self.listeners.borrow() {
            if let Some(listener) = running.listeners.get(name) {
                listening.state.configure(listener, metrics);
            }
        }
        *self.running.borrow_mut() = Rc::new(Running::clone(&running));
    }

    /// A buffer for a copy of a head, used before if there is one.
    pub(crate) fn spare(&self) -> Spare {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes such a buffer back.
    pub(crate) fn give_back(&self, mut spare: Spare) {
        let mut spares = self.spares.borrow_mut();
        if spares.len() < MAX_SPARES {
            spare.clear();
            spares.push(spare);
        }
    }

    /// The client for a bound id under a policy; `None` when discovery has no such set.
    pub(crate) fn client(&self, id: &Path, policy: &Policy) -> Option<Rc<Client>> {
        let metrics = &self.shared.metrics.caches().client;
        let set = self.shared.discovery.replica_set(id)?;
        let mut clients = self.clients.borrow_mut();
        let known = clients.entry(id.clone()).or_default();
        if let Some(client) = known
            .iter()
            .find(|client| client.policy == *policy && Arc::ptr_eq(&client.set, &set))
        {
            metrics.hits.inc();
            return Some(client.clone());
        }
        metrics.misses.inc();
        metrics.entries.inc();
        let locality = self.running.borrow().config.locality.clone();
        let client = Rc::new(Client::new(
            set,
            self.shared.set(id),
            policy.clone(),
            locality,
            self.rng.clone(),
        ));
        known.push(client.clone());
        Some(client)
    }

    /// Registers a connection whose task is `abort`; it is watched until the guard is dropped.
    pub(crate) fn register(
        self: &Rc<Self>,
        state: Arc<ConnState>,
        listener: Rc<ListenerState>,
        caller: IpAddr,
        abort: AbortHandle,
    ) -> Registered {
        let id = self.next_connection.get();
        self.next_connection.set(id + 1);
        self.shared.connections[self.id].fetch_add(1, Relaxed);
        state.order(self.order.get().max(listener.order.get()));
        let descriptor = self.shared.descriptors.lend();
        let metrics = listener.running.borrow().metrics.clone();
        metrics.connections.inc();
        metrics.connections_open.inc();
        self.connections.borrow_mut().insert(
            id,
            Connection {
                state,
                listener,
                caller,
                abort,
            },
        );
        Registered {
            worker: self.clone(),
            id,
            _descriptor: descriptor,
        }
    }

    /// Why a listener takes no further connection now, if so.
    /// Connections over all workers are bounded by the listener's gauge.
    pub(crate) fn lacks_room(&self, listener: &ListenerState) -> Option<Told> {
        let running = listener.running.borrow();
        if running.metrics.connections_open.get() >= running.spec.limits.connections as i64 {
            let why = "this listener has as many connections as its limits.connections allow";
            return Some(Told::unanswered(
                Kind::Overloaded,
                "too-many-connections",
                why,
            ));
        }
        if self.shared.memory.is_full() {
            let why = "memory is nearly used up: see limits.memoryBytes";
            return Some(Told::unanswered(Kind::Overloaded, "memory", why));
        }
        if !self.shared.descriptors.has_room_for_client() {
            let why = "the file descriptors for clients are in use: raise the limit (`ulimit -n`, LimitNOFILE=)";
            return Some(Told::unanswered(Kind::Overloaded, "descriptors", why));
        }
        None
    }

    /// Closes connections that take too long for a head, or have been idle for too long.
    fn watch_connections(&self) {
        let now = self.tick.load(Relaxed);
        let short_of_memory = self.shared.memory.pressure() != Pressure::Low;
        let mut may_rest = REST_AT_ONCE;
        for connection in self.connections.borrow().values() {
            let mut limits = connection.listener.running.borrow().spec.limits;
            if short_of_memory || self.lacks_room(&connection.listener).is_some() {
                limits.idle = limits.idle.min(IDLE_WHEN_FULL);
            }
            if short_of_memory {
                limits.write_timeout = limits.write_timeout.min(IDLE_WHEN_FULL);
                limits.body_timeout = limits.body_timeout.min(IDLE_WHEN_FULL);
                // Requests that are not there yet are the ones to give up first.
                limits.header_timeout = limits.header_timeout.min(HEAD_WHEN_SHORT);
            }
            let (phase, since) = connection.state.phase();
            if phase != Phase::Tunnel && connection.state.is_blocked(now, limits.write_timeout) {
                connection.end_stalled();
                continue;
            }
            let limit = match phase {
                Phase::Tunnel => {
                    connection.watch_streams(now, &limits);
                    continue;
                }
                Phase::Busy => {
                    let watch = &connection.state.watch;
                    let stalled = watch.waiting().is_some_and(|since| {
                        now.saturating_sub(since) > clock::nanos(limits.body_timeout)
                    });
                    if stalled && watch.expire() {
                        connection.state.wake();
                    }
                    continue;
                }
                Phase::Head => limits.header_timeout,
                Phase::Idle => {
                    if may_rest > 0
                        && now.saturating_sub(since) > clock::nanos(REST_AFTER)
                        && connection.state.let_rest()
                    {
                        may_rest -= 1;
                    }
                    limits.idle
                }
            };
            if now.saturating_sub(since) > clock::nanos(limit) {
                if connection.state.ordered() == Order::Close {
                    // Told so a tick ago, and still here: it waits for bytes and not for orders.
                    connection.abort.abort();
                    continue;
                }
                if phase == Phase::Head {
                    if connection.state.watch.expire() {
                        // It may answer 408 before it is closed, if the protocol is known.
                        connection.state.wake();
                        continue;
                    }
                    self.refuse_silently(connection);
                }
                connection.state.order(Order::Close);
            }
        }
    }

    /// A head that did not come in time, from a caller whose protocol is not known: there is no way to tell it.
    fn refuse_silently(&self, connection: &Connection) {
        let (why, listener) = (HEADER_TIMEOUT, connection.listener.running.borrow().clone());
        listener.metrics.refused.inc(why.reason);
        let mut told = Told::unanswered(Kind::Refused(why.status), why.reason, why.text);
        told.started = connection.state.phase().1;
        access::tell(self, &listener, connection.caller, told);
    }

    fn sweep(&self) {
        let idle = clock::nanos(self.running.borrow().config.limits.cache_idle);
        let oldest = clock::now().saturating_sub(idle);
        for listening in self.listeners.borrow().values() {
            listening
                .state
                .sweep(oldest, &self.shared.metrics.caches().path);
        }
        let metrics = &self.shared.metrics.caches().client;
        self.clients.borrow_mut().retain(|_, clients| {
            clients.retain(|client| {
                client.sweep();
                let keep = client.used() >= oldest || Rc::strong_count(client) > 1;
                if !keep {
                    metrics.evictions.inc();
                    metrics.entries.dec();
                }
                keep
            });
            !clients.is_empty()
        });
        if self.id == 0 {
            self.shared.sweep();
        }
    }

    /// Idle is who has no connections and will have none.
    fn tell_if_idle(&self) {
        if self.accepting.get() > 0 || !self.connections.borrow().is_empty() {
            return;
        }
        if let Some(done) = self.idle.borrow_mut().take() {
            // The receiver may have given up waiting.
            done.send(()).ok();
        }
    }
}

impl Connection {
    /// Ends a connection whose caller does not read; there is no way to tell it.
    fn end_stalled(&self) {
        self.listener
            .running
            .borrow()
            .metrics
            .stalled
            .inc("response");
        // So that the access log knows whose decision it was.
        self.state.order(Order::Close);
        self.abort.abort();
    }

    /// Ends an HTTP/2 connection without streams, or with a header block that does not end.
    fn watch_streams(&self, now: u64, limits: &ListenerLimits) {
        if self.state.streams.stalls(now, limits.write_timeout) {
            self.state.wake();
        }
        let overdue = self
            .state
            .streams
            .overdue(now, limits.header_timeout, limits.idle);
        match overdue {
            None => {}
            Some(Overdue::Idle) => self.state.order(Order::Drain),
            Some(_) if self.state.ordered() == Order::Close => self.abort.abort(),
            Some(why) => {
                if why == Overdue::Block {
                    self.listener.metrics.refused.inc(HEADER_TIMEOUT.reason);
                    self.state.watch.end_all(HEADER_TIMEOUT);
                }
                self.state.order(Order::Close);
            }
        }
    }
}

/// How long idle connections stay in a drain of at most `drain`: long enough for a caller that
/// sends once in a while to be told with an answer, which is the one way that loses nothing.
pub(crate) fn drain_window(drain: Duration) -> Duration {
    drain.min(DRAIN_WINDOW)
}

/// A socket on which connections are accepted.
#[derive(Debug)]
pub(crate) struct Accepting(Rc<Worker>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.accepting.set(self.0.accepting.get() - 1);
        self.0.tell_if_idle();
    }
}

/// A connection that is being watched.
#[derive(Debug)]
pub(crate) struct Registered {
    worker: Rc<Worker>,
    id: u64,
    _descriptor: Lent,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let gone = self.worker.connections.borrow_mut().remove(&self.id);
        self.worker.shared.connections[self.worker.id].fetch_sub(1, Relaxed);
        if let Some(gone) = gone {
            gone.listener
                .running
                .borrow()
                .metrics
                .connections_open
                .dec();
        }
        self.worker.tell_if_idle();
    }
}
