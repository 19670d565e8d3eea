//! From the start of a program to its end, with the proxy around it.

use super::announce::Announcement;
use super::child::{Came, Program, Signals, code, ending};
use super::environment::{Places, variables};
use super::ports::Found;
use super::{Args, ports};
use heddle_core::config::{Listener, Mode};
use heddle_core::spec::beside::{inbound_of, loopback};
use heddle_proxy::process::{Hold, Proxy};
use rustix::process::Signal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The first pause between two looks whether the program listens; each is half as long again.
const LOOK: Duration = Duration::from_millis(10);
/// The longest.
const LOOK_MAX: Duration = Duration::from_millis(250);
/// Loads of the configuration until requests go to where the program was found.
const LOADS: usize = 3;
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the announcement's file is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// What everybody takes to notice a withdrawn announcement: files apply within a second.
const NOTICED: Duration = Duration::from_millis(1500);

/// A failure of Heddle itself, before there was a program: exit status and reason.
pub(super) type Failed = (u8, String);

/// Runs the program to its end; the exit status to end with.
pub(super) async fn run(args: &Args) -> Result<u8, Failed> {
    let mut signals = Signals::listen().map_err(own)?;
    if let Some(port) = args.port
        && answering(&own_addresses(port)).await.is_some()
    {
        let why = format!(
            "something listens on port {port} already, so the program could not. Stop it (`ss -ltnp` shows it), or choose another --port"
        );
        return Err(own(why));
    }
    let hold = match args.port {
        Some(port) => Hold::because(format!("the program does not listen on port {port} yet")),
        None => Arc::default(),
    };
    let found = Arc::default();
    let proxy = tokio::select! {
        proxy = ports::start(args, &hold, &found) => proxy.map_err(own)?,
        _ = signals.next() => return Err(own("told to stop before the start".to_owned())),
    };
    let places = places(args, &proxy).map_err(own)?;
    args.tell(&addresses(args, &proxy, &places));
    let existing = |name: &str| std::env::var(name).ok();
    let program = Program::start(&args.command, &variables(&places, &existing))?;
    let life = Life {
        args,
        hold,
        places,
        found,
        proxy,
        program,
        signals,
        announcement: None,
    };
    Ok(life.whole().await)
}

fn own(why: String) -> Failed {
    (1, why)
}

fn own_addresses(port: u16) -> [SocketAddr; 2] {
    [false, true].map(|ipv6| loopback(port, ipv6))
}

/// Which of these answers, if any does.
async fn answering(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    for &address in addresses {
        if looks_open(address).await {
            return Some(address);
        }
    }
    None
}

/// Where a listener's requests go.
fn reached(listener: &Arc<Listener>) -> Option<SocketAddr> {
    match listener.mode {
        Mode::Inbound { forward_to } => Some(forward_to),
        _ => None,
    }
}

async fn looks_open(address: SocketAddr) -> bool {
    matches!(
        timeout(LOOK_TIMEOUT, TcpStream::connect(address)).await,
        Ok(Ok(_))
    )
}

fn places(args: &Args, proxy: &Proxy) -> Result<Places, String> {
    let bound = proxy.bound();
    let config = proxy.config();
    let outbound = config
        .listeners
        .iter()
        .find(|listener| listener.mode == Mode::Outbound)
        .and_then(|listener| bound.get(&listener.name))
        .ok_or("the configuration has no listener with `mode: outbound`, so the program could call nobody. Add one")?;
    let host = match outbound.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    Ok(Places {
        outbound: SocketAddr::new(host, outbound.port()),
        admin: proxy.admin(),
        port: args.port,
    })
}

/// Where everything is, since ports may have been chosen.
fn addresses(args: &Args, proxy: &Proxy, places: &Places) -> String {
    let mut text = format!("calls of the program go through http://{}", places.outbound);
    if let Some((port, address)) = inbound(args, proxy) {
        let service = args.service.as_deref().unwrap_or("the program");
        text.push_str(&format!(
            "; {service} is reached at http://{address}, which goes to port {port}"
        ));
    }
    text.push_str(&format!("; the admin server is http://{}/", places.admin));
    text
}

/// The program's port, and where requests for it are accepted.
fn inbound(args: &Args, proxy: &Proxy) -> Option<(u16, SocketAddr)> {
    let port = args.port?;
    let config = proxy.config();
    let listener = inbound_of(&config, port)?;
    Some((port, *proxy.bound().get(&listener.name)?))
}

/// Everything that lives as long as the program.
struct Life<'a> {
    args: &'a Args,
    hold: Arc<Hold>,
    places: Places,
    found: Arc<Found>,
    proxy: Proxy,
    program: Program,
    signals: Signals,
    announcement: Option<Announcement>,
}

/// How a step of the end came to its own end.
enum Step {
    /// It is done, or was cut short by another signal.
    Over,
    /// The program has ended.
    Ended(ExitStatus),
}

impl Life<'_> {
    async fn whole(mut self) -> u8 {
        let (status, up) = match self.until_told().await {
            Told::Ended(status, up) => (status, up),
            Told::Stop(signal) => (self.stop(signal).await, true),
        };
        let port = self.args.port.filter(|_| !up);
        if let Some(port) = port {
            eprintln!(
                "heddle run: {} {} before it listened on port {port}",
                self.program.name(),
                ending(status)
            );
        }
        self.withdraw();
        let proxy = self.proxy;
        tokio::select! {
            () = proxy.drain() => {}
            _ = ending_signal(&mut self.signals) => {}
        }
        code(status)
    }

    /// Lives until the program ends or somebody wants it to.
    async fn until_told(&mut self) -> Told {
        let mut up = self.args.port.is_none();
        if up {
            self.ready();
        }
        let mut look_after = tokio::time::interval(LOOK_AFTER);
        let waiting = until_open(self.args, self.hold.clone(), self.candidates());
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                status = self.program.ended() => return Told::Ended(status, up),
                came = self.signals.next() => match came {
                    Came::End(signal) => return Told::Stop(signal),
                    Came::Pass(signal) => self.program.signal(signal),
                },
                () = self.proxy.asked_to_drain() => return Told::Stop(Signal::TERM),
                address = &mut waiting, if !up => {
                    up = true;
                    self.meet(address).await;
                    self.hold.release();
                    self.announce();
                    self.ready();
                }
                _ = look_after.tick() => self.look_after(),
            }
        }
    }

    /// Where the program may listen: where the file says, or on any of this host's own addresses.
    fn candidates(&self) -> Vec<SocketAddr> {
        let Some(port) = self.args.port else {
            return Vec::new();
        };
        let config = self.proxy.config();
        let written = inbound_of(&config, port).and_then(reached);
        if self.found.ours.load(Relaxed) {
            return own_addresses(port).to_vec();
        }
        written.into_iter().collect()
    }

    /// Sends requests to where the program listens.
    async fn meet(&self, address: SocketAddr) {
        self.args.tell(&format!("the program listens on {address}"));
        self.found.on_ipv6.store(address.is_ipv6(), Relaxed);
        // Another load may be under way that has not seen it.
        for _ in 0..LOADS {
            let config = self.proxy.config();
            let met = |listener: &Arc<Listener>| reached(listener) == Some(address);
            if inbound_of(&config, address.port()).is_some_and(met) {
                return;
            }
            self.proxy.load_again().await;
        }
        eprintln!(
            "heddle run: the program listens on {address}, and requests for it do not go there: the configuration is refused"
        );
    }

    /// The one line that a start that goes well is worth.
    fn ready(&self) {
        let announced = match (&self.announcement, &self.args.announce) {
            (Some(_), Some(folder)) => format!(", announced in {}", folder.display()),
            _ => String::new(),
        };
        let service = self.args.service.as_deref().unwrap_or("the program");
        eprintln!(
            "heddle run: {service} is ready{announced}; {}",
            addresses(self.args, &self.proxy, &self.places)
        );
    }

    /// Ends the program so that nobody loses anything: nothing new for it, then what it has, then it.
    async fn stop(&mut self, signal: Signal) -> ExitStatus {
        if self.withdraw() {
            self.args.tell("withdrawn; others notice within a second");
            if let Step::Ended(status) = self.step(Wait::Noticed).await {
                return status;
            }
        }
        if let Step::Ended(status) = self.step(Wait::Drained).await {
            return status;
        }
        self.program.signal(signal);
        if let Step::Ended(status) = self.step(Wait::Grace).await {
            return status;
        }
        eprintln!(
            "heddle run: {} did not end within {:?} of being told, so it is killed",
            self.program.name(),
            self.args.grace
        );
        self.program.signal(Signal::KILL);
        self.program.ended().await
    }

    /// Waits for one thing, passing signals on; a second one that ends cuts it short.
    async fn step(&mut self, wait: Wait) -> Step {
        let (proxy, grace) = (&self.proxy, self.args.grace);
        let over = async {
            match wait {
                Wait::Noticed => sleep(NOTICED).await,
                Wait::Drained => proxy.drain_inbound().await,
                Wait::Grace => sleep(grace).await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                status = self.program.ended() => return Step::Ended(status),
                () = &mut over => return Step::Over,
                came = self.signals.next() => match came {
                    Came::End(signal) if wait == Wait::Grace => self.program.signal(signal),
                    Came::End(_) => return Step::Over,
                    Came::Pass(signal) => self.program.signal(signal),
                },
            }
        }
    }

    fn announce(&mut self) {
        let (Some(folder), Some(name)) = (&self.args.announce, &self.args.service) else {
            return;
        };
        let Some((_, address)) = inbound(self.args, &self.proxy) else {
            return;
        };
        match Announcement::make(folder, name, address) {
            Ok(announcement) => self.announcement = Some(announcement),
            Err(error) => eprintln!(
                "heddle run: {name} cannot be announced in {}: {error}. It runs, but is not found there",
                folder.display()
            ),
        }
    }

    fn look_after(&self) {
        if let Some(announcement) = &self.announcement
            && let Err(error) = announcement.look_after()
        {
            eprintln!("heddle run: the announcement cannot be looked after: {error}");
        }
    }

    /// Takes the announcement back, if there is one.
    fn withdraw(&mut self) -> bool {
        let Some(announcement) = self.announcement.take() else {
            return false;
        };
        if let Err(error) = announcement.withdraw() {
            eprintln!("heddle run: the announcement cannot be withdrawn: {error}");
        }
        true
    }
}

/// Why life does not go on.
enum Told {
    /// The program has ended by itself; whether it had been up.
    Ended(ExitStatus, bool),
    /// It is to end, by this signal.
    Stop(Signal),
}

/// What a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Others have noticed that it is withdrawn.
    Noticed,
    /// Nothing is in flight to the program.
    Drained,
    /// The program's time to end.
    Grace,
}

async fn ending_signal(signals: &mut Signals) {
    while !matches!(signals.next().await, Came::End(_)) {}
}

/// Waits until the program listens, and where; says so when that takes too long, and goes on waiting: whether
/// it is too late is for whoever asks `/ready`, and a slow start is better than none.
async fn until_open(args: &Args, hold: Arc<Hold>, candidates: Vec<SocketAddr>) -> SocketAddr {
    if candidates.is_empty() {
        return std::future::pending().await;
    }
    let (since, mut pause, mut told) = (Instant::now(), LOOK, false);
    loop {
        if let Some(address) = answering(&candidates).await {
            return address;
        }
        if !told && since.elapsed() > args.start_within {
            told = true;
            let why = format!(
                "the program has not listened on {} within {:?} of its start",
                candidates
                    .iter()
                    .map(SocketAddr::to_string)
                    .collect::<Vec<_>>()
                    .join(" or "),
                args.start_within
            );
            eprintln!(
                "heddle run: {why}; requests for it are refused with 503 until it does. Does it listen on $PORT?"
            );
            hold.explain(why);
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LOOK_MAX);
    }
}
