//! The tour itself: which phase follows which, and what happens in each.

use super::DemoArgs;
use super::board::{Board, Theme};
use super::display::{Display, Live, Row, final_table, verdict_lines};
use super::promises::{Verdict, judge};
use super::service::{V1, V2, check_languages};
use super::stage::{Counters, Stage};
use heddle_bench::load::{self, Load, Pace, Protocol, Stop, Summary, Template};
use hyper::Method;
use hyper::header::HeaderName;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The replica that becomes slow, and how slow.
const SLOW: &str = "v1-1";
const DELAY: Duration = Duration::from_secs(1);
/// The replica that is killed.
const KILLED: &str = "v1-2";
/// Every so many requests is a POST.
const POST_EVERY: u64 = 5;
/// After a shift is applied, until the place of requests counts: those that were being routed are through.
const ROUTED: Duration = Duration::from_millis(200);
/// Within this the slow replica's share must have fallen.
const NOTICED: Duration = Duration::from_secs(5);
/// Between two refreshes of the display.
const REFRESH: Duration = Duration::from_millis(500);
/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(50);

/// Why the tour ends early.
#[derive(Debug)]
enum End {
    /// Ctrl-C, or a signal to end.
    Interrupted,
    /// Something that is not a matter of promises.
    Failed(String),
}

impl From<String> for End {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        // A closed pipe is how `heddle demo | head` says that it has seen enough.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::Interrupted;
        }
        Self::Failed(format!("cannot write to the standard output: {error}"))
    }
}

/// Runs the tour; `Ok(false)` when a promise broke.
pub(super) fn run(args: &DemoArgs) -> Result<bool, String> {
    check_languages()?;
    let interrupted = watch_signals()?;
    let mut display = Display::new();
    let said = |error: std::io::Error| error.to_string();
    display
        .say("starting two versions of the service accounts, and the proxy in front of them")
        .map_err(said)?;
    let mut told = Vec::new();
    let stage = Stage::set_up(args, &interrupted, &mut |line| told.push(line));
    for line in told {
        display.say(&format!("  {line}")).map_err(said)?;
    }
    let mut tour = Tour::begin(args, stage?, display, interrupted)?;
    let outcome = tour.walk(args.once);
    let summary = tour.load.finish();
    let outcome = match outcome {
        Ok(()) => tour.conclude(&summary, args.once),
        Err(end) => Err(end),
    };
    match outcome {
        Ok(kept) => Ok(kept),
        Err(End::Interrupted) if args.once => Err("interrupted before the end of the tour".into()),
        Err(End::Interrupted) => {
            tour.display.say("\nstopped").map_err(said)?;
            Ok(true)
        }
        Err(End::Failed(reason)) => {
            tour.stage.dir.keep = true;
            Err(format!(
                "{reason}. The proxy's log is in {}",
                tour.stage.dir.path.display()
            ))
        }
    }
}

struct Tour {
    display: Display,
    board: Arc<Mutex<Board>>,
    load: Sending,
    stage: Stage,
    interrupted: Arc<AtomicBool>,
    started: Instant,
    counters: Counters,
    notes: [(&'static str, &'static str); 2],
}

impl Tour {
    fn begin(
        args: &DemoArgs,
        stage: Stage,
        mut display: Display,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self, String> {
        let introduction = format!(
            "  v1: {} replicas in {}, v2: {} in {}\n  proxy {}, admin pages http://{}/\n  load: {} requests a second, \
             open loop, a fifth of them POST",
            V1.ports.len(),
            V1.language,
            V2.ports.len(),
            V2.language,
            stage.listen,
            stage.admin,
            args.rate
        );
        display
            .say(&introduction)
            .map_err(|error| error.to_string())?;
        let started = Instant::now();
        let board = Arc::new(Mutex::new(Board::default()));
        lock(&board).begin(Theme::Steady, started);
        lock(&board).settle(started);
        let load = Sending::start(&stage, args.rate, Arc::clone(&board))?;
        let notes = [(SLOW, ""), (KILLED, "")];
        Ok(Self {
            display,
            board,
            load,
            stage,
            interrupted,
            started,
            counters: Counters::default(),
            notes,
        })
    }

    /// All phases; without `once`, the last one lasts until it is interrupted.
    fn walk(&mut self, once: bool) -> Result<(), End> {
        self.say("all traffic to v1")?;
        self.stay(Duration::from_secs(5))?;
        for (percent, by_rename, time) in [(5, true, 8), (50, false, 6)] {
            self.begin_phase(Theme::Shifted(percent));
            let taken = self.stage.shift(percent, by_rename)?;
            self.say(&format!(
                "{percent} % to v2: the rules were changed ({}), applied after {:.0} ms",
                if by_rename { "by rename" } else { "in place" },
                taken.as_secs_f64() * 1e3
            ))?;
            self.settle_after(ROUTED)?;
            self.stay(Duration::from_secs(time))?;
        }
        self.begin_phase(Theme::Slow);
        self.stage.replica(SLOW)?.slow_down(DELAY)?;
        self.notes[0].1 = "slow";
        self.say(&format!(
            "{SLOW} becomes slow: each of its answers takes {} s more",
            DELAY.as_secs()
        ))?;
        self.settle_after(NOTICED)?;
        self.stay(Duration::from_secs(6))?;
        self.stage.replica(SLOW)?.slow_down(Duration::ZERO)?;
        self.notes[0].1 = "healed";
        self.begin_phase(Theme::Killed);
        self.say(&format!("{SLOW} is healed"))?;
        self.settle_after(Duration::from_secs(2))?;
        self.stage.replica(KILLED)?.kill();
        self.notes[1].1 = "killed";
        self.say(&format!("{KILLED} is killed (SIGKILL)"))?;
        self.stay(Duration::from_secs(8))?;
        if once { Ok(()) } else { self.hand_over() }
    }

    /// After the tour: everything back, and the visitor's turn.
    fn hand_over(&mut self) -> Result<(), End> {
        let (text, _) = self.judged();
        self.say(&text)?;
        self.begin_phase(Theme::Free);
        let interrupted = Arc::clone(&self.interrupted);
        self.stage.replica(KILLED)?.restart(&interrupted)?;
        self.notes = [(SLOW, ""), (KILLED, "")];
        let (listen, admin) = (self.stage.listen, self.stage.admin);
        let replica = &self.stage.replicas[2];
        let text = format!(
            "The tour is over, {KILLED} is back, and the load goes on until Ctrl-C. Open\n  \
             http://{admin}/metrics, /clusters, /config\nand try\n  \
             curl -si -H 'Host: accounts' http://{listen}/\n  \
             http_proxy=http://{listen} curl -s http://accounts/\n  \
             edit {}\n  \
             kill -9 {}   # {}\n  \
             curl -X POST 'http://{}/control/slow?ms=500'   # {} becomes slow; ms=0 heals it",
            self.stage.rules().display(),
            replica.id(),
            replica.name,
            replica.address,
            replica.name,
        );
        self.say(&text)?;
        lock(&self.board).settle(Instant::now());
        self.stay(Duration::MAX)
    }

    /// The table and the verdicts.
    fn conclude(&mut self, summary: &Summary, once: bool) -> Result<bool, End> {
        let (text, verdicts) = self.judged();
        let kept = verdicts.iter().all(|verdict| verdict.kept);
        if once {
            self.say(&text)?;
            self.counters = self.stage.counters()?;
            let Counters {
                retries, ejections, ..
            } = self.counters;
            self.say(&format!(
                "the proxy counted {retries} retries and {ejections} ejections"
            ))?;
        }
        if !summary.kept_rate() {
            self.say(&format!(
                "this machine was too busy to keep the rate: {} of {} requests were sent late, {} not at all",
                summary.delayed, summary.finished, summary.unsent
            ))?;
        }
        self.stage.dir.keep = !kept;
        if !kept {
            let line = format!(
                "the files of this tour stay in {}",
                self.stage.dir.path.display()
            );
            self.say(&line)?;
        }
        Ok(kept)
    }

    fn judged(&self) -> (String, Vec<Verdict>) {
        let board = lock(&self.board);
        let verdicts = judge(&board.phases, SLOW, V1.ports.len());
        (
            final_table(&board.phases, &self.rows()) + &verdict_lines(&verdicts),
            verdicts,
        )
    }

    fn begin_phase(&mut self, theme: Theme) {
        lock(&self.board).begin(theme, Instant::now());
    }

    fn settle_after(&mut self, time: Duration) -> Result<(), End> {
        self.stay(time)?;
        lock(&self.board).settle(Instant::now());
        Ok(())
    }

    fn say(&mut self, line: &str) -> Result<(), End> {
        Ok(self.display.say(line)?)
    }

    fn rows(&self) -> Vec<Row> {
        self.stage
            .replicas
            .iter()
            .map(|replica| Row {
                name: replica.name.clone(),
                language: replica.version.language,
                port: replica.address.port(),
                note: self
                    .notes
                    .iter()
                    .find(|(name, _)| *name == replica.name)
                    .map_or("", |(_, note)| note),
            })
            .collect()
    }

    /// Lets time pass and keeps the display fresh.
    fn stay(&mut self, time: Duration) -> Result<(), End> {
        let begun = Instant::now();
        let mut shown = Instant::now();
        while begun.elapsed() < time {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(End::Interrupted);
            }
            if !self.stage.proxy.is_running() {
                return Err(End::Failed("the proxy has ended".into()));
            }
            if shown.elapsed() >= REFRESH {
                shown = Instant::now();
                self.show()?;
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn show(&mut self) -> Result<(), End> {
        // A busy moment of the admin pages is no reason to end: the last numbers stay.
        if let Ok(counters) = self.stage.counters() {
            self.counters = counters;
        }
        let (title, (tally, over)) = {
            let mut board = lock(&self.board);
            let title = board
                .phases
                .last()
                .map_or_else(String::new, |phase| phase.theme.title());
            (title, board.recent(Instant::now()))
        };
        let rows = self.rows();
        let live = Live {
            title: &title,
            elapsed: self.started.elapsed(),
            tally: &tally,
            over,
            counters: self.counters,
            rows: &rows,
        };
        Ok(self.display.refresh(&live)?)
    }
}

/// The load, on a thread of its own.
struct Sending {
    stop: Stop,
    thread: Option<JoinHandle<std::io::Result<Summary>>>,
}

impl Sending {
    fn start(stage: &Stage, rate: f64, board: Arc<Mutex<Board>>) -> Result<Self, String> {
        let load = Load {
            connections: 64,
            answered_by: Some(HeaderName::from_static("x-replica")),
            ..Load::new(stage.listen, Protocol::Http1)
        };
        let stop = Stop::default();
        let pace = Pace::Open {
            rate,
            jitter: 1.0,
            duration: None,
            stop: stop.clone(),
        };
        let get = Template::get("accounts", "/accounts/42");
        let post = Template::new(
            Method::POST,
            "accounts",
            "/accounts/42/notes",
            r#"{"text": "a note"}"#,
        );
        let request = move |number| {
            if u64::is_multiple_of(number, POST_EVERY) {
                post.clone()
            } else {
                get.clone()
            }
        };
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn(move || load::run(&load, pace, request, |sample| lock(&board).record(sample)))
            .map_err(|error| format!("cannot start the load: {error}"))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Stops it and waits for what is in flight.
    fn finish(&mut self) -> Summary {
        self.stop.stop();
        let ended = self.thread.take().and_then(|thread| thread.join().ok());
        ended.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

fn lock(board: &Mutex<Board>) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Set by the first Ctrl-C, SIGTERM or SIGHUP.
fn watch_signals() -> Result<Arc<AtomicBool>, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let told = |error: std::io::Error| format!("cannot watch for Ctrl-C: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(told)?;
    let mut signals = {
        let _inside = runtime.enter();
        [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ]
        .into_iter()
        .map(signal)
        .collect::<Result<Vec<_>, _>>()
        .map_err(told)?
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&interrupted);
    let watch = move || {
        runtime.block_on(std::future::poll_fn(|context| {
            let any = signals
                .iter_mut()
                .any(|signal| signal.poll_recv(context).is_ready());
            if any {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        }));
        seen.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(watch)
        .map_err(told)?;
    Ok(interrupted)
}
