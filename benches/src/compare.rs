//! One run over several proxies: each alone on core 1, load and backend on core 0, rounds interleaved.
//!
//! The figure that counts is the proxy's CPU time per request, which other work on the machine
//! disturbs least. Ratios are taken between contenders *within* a round and the median over the
//! rounds is reported, so that slow changes of the machine cancel out.

mod contender;
mod figures;
mod memory;
mod plot;
mod report;

pub use contender::{Addresses, Contender, Missing, contenders};
pub use figures::{Figures, Round, Spread};
pub use memory::{Held, raise_descriptors};
pub use report::Report;

use crate::backend::LARGE_PATH;
use crate::load::{self, Load, Pace, Protocol, Stop, Tally, Template};
use crate::process::{self, Running};
use contender::Started;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How a comparison is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rounds over all contenders.
    pub rounds: usize,
    /// Measured time of each contender in each round.
    pub duration: Duration,
    /// Unmeasured time before it.
    pub warm_up: Duration,
    /// Requests per second of [`Scenario::Rate`].
    pub rate: f64,
    /// Idle connections with which memory is measured; 0: it is not.
    pub connections: usize,
    /// Names of the scenarios to run; empty: all.
    pub scenarios: Vec<String>,
    /// Names of the contenders to run; empty: all.
    pub contenders: Vec<String>,
    /// Folder for rendered configurations and logs.
    pub dir: PathBuf,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// HTTP/1.1, 64 kept-alive connections, closed loop.
    Http1,
    /// HTTP/2 with prior knowledge, 8 connections of 32 streams, closed loop.
    Http2,
    /// HTTP/1.1, 64 kept-alive connections, closed loop, 64 KiB bodies.
    Http1Large,
    /// HTTP/2 with prior knowledge, 8 connections of 32 streams, closed loop, 64 KiB bodies.
    Http2Large,
    /// HTTP/1.1, 64 kept-alive connections, open loop at a moderate rate.
    Rate,
}

impl Scenario {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 5] = [
        Self::Http1,
        Self::Http2,
        Self::Http1Large,
        Self::Http2Large,
        Self::Rate,
    ];

    /// Its name on the command line and in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "h2c",
            Self::Http1Large => "http1-64k",
            Self::Http2Large => "h2c-64k",
            Self::Rate => "http1-rate",
        }
    }

    /// Its name in the table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1, 64 kept-alive connections, closed loop",
            Self::Http2 => "h2c, 8 connections of 32 streams, closed loop",
            Self::Http1Large => "HTTP/1.1, 64 kept-alive connections, closed loop, 64 KiB bodies",
            Self::Http2Large => "h2c, 8 connections of 32 streams, closed loop, 64 KiB bodies",
            Self::Rate => "HTTP/1.1, 64 kept-alive connections, open loop at a moderate rate",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Http1Large | Self::Http2Large => LARGE_PATH,
            _ => "/",
        }
    }

    fn protocol(self) -> Protocol {
        match self {
            Self::Http1 | Self::Http1Large | Self::Rate => Protocol::Http1,
            Self::Http2 | Self::Http2Large => Protocol::Http2,
        }
    }

    fn load(self, target: SocketAddr) -> Load {
        let (connections, streams) = match self {
            Self::Http1 | Self::Http1Large | Self::Rate => (64, 1),
            Self::Http2 | Self::Http2Large => (8, 32),
        };
        Load {
            connections,
            streams,
            ..Load::new(target, self.protocol())
        }
    }

    fn pace(self, rate: f64, duration: Duration) -> Pace {
        match self {
            Self::Http1 | Self::Http2 | Self::Http1Large | Self::Http2Large => {
                Pace::Closed { duration }
            }
            Self::Rate => Pace::Open {
                rate,
                jitter: 1.0,
                duration: Some(duration),
                stop: Stop::default(),
            },
        }
    }
}

/// Runs the comparison and tells each step through `tell`.
///
/// # Errors
/// When the backend cannot be started or no contender is left.
pub fn run(settings: &Settings, tell: &mut dyn FnMut(&str)) -> io::Result<Report> {
    std::fs::create_dir_all(&settings.dir)?;
    let addresses = Addresses::free()?;
    let _backend = contender::start_backend(&addresses)?;
    let mut report = Report::new(settings);
    let mut running = Vec::new();
    for contender in contenders() {
        if !settings.contenders.is_empty()
            && !settings
                .contenders
                .iter()
                .any(|name| name == contender.name)
        {
            continue;
        }
        let started = contender
            .start(&addresses, &settings.dir)
            .and_then(|started| {
                // One that starts and then fails would look cheap.
                memory::ask(started.target(Protocol::Http1)).map_err(|error| {
                    Missing(format!("it started and answered nothing: {error}"))
                })?;
                Ok(started)
            });
        match started {
            Ok(started) => {
                tell(&format!("{}: {}", contender.name, started.version));
                report
                    .versions
                    .insert(contender.name.to_owned(), started.version.clone());
                running.push((contender, started));
            }
            Err(Missing(why)) => {
                tell(&format!("{}: left out: {why}", contender.name));
                report.missing.insert(contender.name.to_owned(), why);
            }
        }
    }
    if running.is_empty() {
        return Err(io::Error::other("no contender could be started"));
    }
    let wanted = |scenario: &Scenario| {
        settings.scenarios.is_empty()
            || settings
                .scenarios
                .iter()
                .any(|name| name == scenario.name())
    };
    if settings.connections > 0 {
        tell(&format!(
            "memory with {} idle connections",
            settings.connections
        ));
        for (contender, _) in &running {
            let held = memory::hold(contender, &addresses, settings);
            tell(&format!("  {:<10} {held}", contender.name));
            report.memory.insert(contender.name.to_owned(), held);
        }
    }
    for scenario in Scenario::ALL.into_iter().filter(wanted) {
        tell(scenario.title());
        let mut rounds: BTreeMap<String, Vec<Round>> = BTreeMap::new();
        for number in 0..settings.rounds {
            // Each round begins with another contender, so that none always follows the same one.
            running.rotate_left(number.min(1));
            for (contender, started) in &mut running {
                let round = measure(settings, scenario, started)?;
                tell(&format!(
                    "  round {} {:<10} {}",
                    number + 1,
                    contender.name,
                    round.line()
                ));
                rounds
                    .entry(contender.name.to_owned())
                    .or_default()
                    .push(round);
            }
        }
        report.scenarios.push((scenario, Figures::over(&rounds)));
    }
    Ok(report)
}

fn measure(settings: &Settings, scenario: Scenario, started: &mut Started) -> io::Result<Round> {
    let template = Template::get("backend", scenario.path());
    let load = scenario.load(started.target(scenario.protocol()));
    let request = |template: &Template| {
        let template = template.clone();
        move |_| template.clone()
    };
    load::run(
        &load,
        scenario.pace(settings.rate, settings.warm_up),
        request(&template),
        |_| {},
    )?;
    let (proxy, own) = (started.id(), std::process::id());
    let all = |ids: &[Option<u32>]| {
        ids.iter()
            .flatten()
            .map(|&id| process::cpu_time(id))
            .sum::<Duration>()
    };
    let machine = process::machine_busy();
    // Everything of ours is a child of this process.
    let (ours, used) = (all(&[Some(own)]), all(&[proxy]));
    let begun = Instant::now();
    let mut tally = Tally::default();
    let pace = scenario.pace(settings.rate, settings.duration);
    let summary = load::run(&load, pace, request(&template), |sample| {
        tally.record(sample)
    })?;
    let elapsed = begun.elapsed();
    let cpu = proxy.map(|_| all(&[proxy]).saturating_sub(used));
    let (ours, machine) = (
        all(&[Some(own)]).saturating_sub(ours),
        process::machine_busy().saturating_sub(machine),
    );
    Ok(Round {
        requests: tally.requests(),
        failed: tally.failed(),
        elapsed,
        cpu,
        p50: tally.quantile(0.5),
        p99: tally.quantile(0.99),
        p999: tally.quantile(0.999),
        resident: proxy.map(process::resident_bytes),
        kept_rate: summary.kept_rate(),
        others: machine.saturating_sub(ours).as_secs_f64() / elapsed.as_secs_f64(),
    })
}

/// Keeps this process and what it starts on one core; `Contender::start` moves proxies to the other.
///
/// # Errors
/// When the machine has no such core.
pub fn pin_self(core: usize) -> io::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores).map_err(io::Error::from)
}

/// A command pinned to one core.
pub(crate) fn pinned(core: usize, program: &std::path::Path) -> std::process::Command {
    let mut command = std::process::Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

/// A process that is waited for until its address answers.
pub(crate) fn wait_for(address: SocketAddr, process: &mut Running) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
            return Ok(());
        }
        if !process.is_running() {
            return Err(io::Error::other(format!(
                "it ended before it listened on {address}"
            )));
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "it did not listen on {address} within 10 s"
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
