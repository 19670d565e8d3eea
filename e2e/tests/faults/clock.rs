//! Clocks that jump: the wall clock under the proxy, and its own when it is stopped.

use crate::support::{GET, ask, served};
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::{Need, require};
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use heddle_e2e::wire::Wire;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the endpoints of a set have been through.
const EJECTED: &str = "heddle_ejections_total{replica_set=\"/#/static/echo\"}";
const TIMEOUTS: &str = "heddle_attempts_total{replica_set=\"/#/static/echo\",outcome=\"timeout\"}";

/// Callers that ask one after the other on connections of their own, until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr, callers: usize) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let callers = (0..callers)
            .map(|_| {
                let (stop, answered) = (stop.clone(), answered.clone());
                std::thread::spawn(move || {
                    let mut wire = Wire::connect(address);
                    let mut failures = Vec::new();
                    while !stop.load(SeqCst) {
                        let answer =
                            ask(&mut wire, "GET /?delay=20 HTTP/1.1\r\nhost: echo\r\n\r\n");
                        if answer.status() != 200 {
                            failures.push(format!("{}: {}", answer.status(), answer.text()));
                        }
                        answered.fetch_add(1, SeqCst);
                    }
                    failures
                })
            })
            .collect();
        Self {
            stop,
            answered,
            callers,
        }
    }

    /// Waits until so many more requests have been answered.
    fn goes_on(&self, count: usize) {
        let before = self.answered.load(SeqCst);
        within(Duration::from_secs(30), "requests are answered", || {
            self.answered.load(SeqCst) >= before + count
        });
    }

    /// Stops; what failed.
    fn end(self) -> Vec<String> {
        self.stop.store(true, SeqCst);
        let ended = self.callers.into_iter().map(JoinHandle::join);
        ended
            .flat_map(|failures| failures.expect("no caller panics"))
            .collect()
    }
}

/// Where the library is that changes what programs take for the time.
fn library() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib")
        .expect("there is a /usr/lib")
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists());
    found.expect("the package of faketime holds it")
}

/// A request with a deadline, and how long its answer took.
fn with_deadline(
    address: SocketAddr,
    deadline: u64,
    delay: u64,
) -> (u16, Option<String>, Duration) {
    let mut wire = Wire::connect(address);
    let started = Instant::now();
    let answer = ask(
        &mut wire,
        format!(
            "GET /?delay={delay} HTTP/1.1\r\nhost: echo\r\nheddle-context: deadline={deadline}\r\n\r\n"
        ),
    );
    let kind = answer.head.get("heddle-err");
    (answer.status(), kind, started.elapsed())
}

/// Seconds since 1970 of each line of an access log.
fn times(log: &str) -> Vec<i64> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| seconds(line.get("time")?.as_str()?))
        .collect()
}

/// `2026-11-24T11:22:33.456Z` in seconds of its day and the days before it, months taken for 31 days: enough to
/// tell hours apart.
fn seconds(time: &str) -> Option<i64> {
    let numbers: Vec<i64> = time
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect();
    let [year, month, day, hour, minute, second, ..] = numbers[..] else {
        return None;
    };
    Some(((((year * 12 + month) * 31 + day) * 24 + hour) * 60 + minute) * 60 + second)
}

#[test]
fn jumps_of_the_wall_clock_change_what_is_logged_and_nothing_else() {
    if !require(&[Need::Faketime]) {
        return;
    }
    let echoes = [Echo::start("a"), Echo::start("b"), Echo::start("c")];
    let addresses = echoes.each_ref().map(Echo::address);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = folder.path().join("clock");
    let log = folder.path().join("access.log");
    std::fs::write(&clock, "+0\n").expect("the folder is ours");
    let setup = Setup::new()
        .top(&format!("accessLog: {{file: {}}}", log.display()))
        .replicas("echo", &addresses)
        .document(
            "Route",
            "echo",
            "{service: echo, rules: [{to: echo}], attemptTimeout: 5s}",
        )
        .under(&[
            "env",
            &format!("LD_PRELOAD={}", library().display()),
            &format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]);
    let proxy = Proxy::start(&setup);
    let load = Load::start(proxy.outbound(), 4);
    let idle = served(proxy.outbound());
    for jump in ["+3600", "-3600", "+86400", "-86400", "+0"] {
        load.goes_on(50);
        // Both are in flight over the jump.
        let address = proxy.outbound();
        let patient = std::thread::spawn(move || with_deadline(address, 8000, 1000));
        let hasty = std::thread::spawn(move || with_deadline(address, 500, 9000));
        std::thread::sleep(Duration::from_millis(200));
        std::fs::write(&clock, format!("{jump}\n")).expect("the folder is ours");
        let (status, kind, _) = patient.join().expect("no panic");
        assert_eq!((status, kind), (200, None), "after {jump}");
        let (status, kind, took) = hasty.join().expect("no panic");
        assert_eq!(status, 504, "after {jump}");
        assert!(kind.is_some_and(|kind| kind.starts_with("deadline")));
        assert!(
            took >= Duration::from_millis(450) && took < Duration::from_secs(6),
            "after {jump}: {took:?}"
        );
    }
    load.goes_on(50);
    assert_eq!(load.end(), Vec::<String>::new());
    let mut idle = idle;
    assert_eq!(
        ask(&mut idle, GET).status(),
        200,
        "no idle time-out by a jump"
    );
    assert!(proxy.metric(EJECTED) == 0.0 && proxy.metric(TIMEOUTS) == 0.0);
    within(
        Duration::from_secs(10),
        "the log follows the wall clock",
        || {
            let times = times(&std::fs::read_to_string(&log).unwrap_or_default());
            let span = times.iter().max().zip(times.iter().min());
            span.is_some_and(|(last, first)| last - first > 2 * 86_400 - 600)
        },
    );
}

#[test]
fn a_proxy_that_stood_still_goes_on_where_it_was() {
    let echoes = [Echo::start("a"), Echo::start("b"), Echo::start("c")];
    let addresses = echoes.each_ref().map(Echo::address);
    let setup = Setup::new().replicas("echo", &addresses).document(
        "Route",
        "echo",
        "{service: echo, rules: [{to: echo}], attemptTimeout: 2s}",
    );
    let mut proxy = Proxy::start(&setup);
    let load = Load::start(proxy.outbound(), 8);
    let mut idle = served(proxy.outbound());
    for _ in 0..2 {
        load.goes_on(100);
        proxy.process().signal("STOP");
        // Longer than the attempt time-out of all that is in flight.
        std::thread::sleep(Duration::from_secs(4));
        proxy.process().signal("CONT");
        load.goes_on(100);
    }
    // The answers had come in time: they lay in the sockets.
    assert_eq!(load.end(), Vec::<String>::new());
    assert_eq!(ask(&mut idle, GET).status(), 200);
    assert!(proxy.metric(EJECTED) == 0.0, "no endpoint pays for it");
    assert_eq!(proxy.ask_admin("/ready").status(), 200);
}

#[test]
fn a_timeout_that_passed_while_the_proxy_stood_still_fires_once() {
    let echo = Echo::start("echo");
    let setup = Setup::new().replicas("echo", &[echo.address()]).document(
        "Route",
        "echo",
        "{service: echo, rules: [{to: echo}], attemptTimeout: 2s}",
    );
    let mut proxy = Proxy::start(&setup);
    let mut wire = served(proxy.outbound());
    wire.send("GET /?delay=60000 HTTP/1.1\r\nhost: echo\r\n\r\n");
    within(Duration::from_secs(10), "it is in flight", || {
        echo.open() == 1
    });
    proxy.process().signal("STOP");
    std::thread::sleep(Duration::from_secs(4));
    proxy.process().signal("CONT");
    assert_eq!(wire.read_response().status(), 504);
    assert_eq!(proxy.metric(TIMEOUTS), 1.0);
    assert!(proxy.metric(EJECTED) == 0.0);
    assert_eq!(ask(&mut wire, GET).status(), 200);
}
