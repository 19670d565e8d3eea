//! slowhttptest: callers that take for ever do not take the service from the others.

use crate::Suite;
use crate::place::{in_front_of, metric, without_proxy};
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::Need;
use heddle_e2e::process::Running;
use heddle_e2e::script::Scripted;
use heddle_e2e::wire::Wire;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Slow connections of each kind, opened within two seconds.
const CONNECTIONS: u32 = 500;

/// How long they go on.
const SECONDS: u32 = 12;

/// What the suite's probe and ours wait for an answer.
const PROBE: Duration = Duration::from_secs(5);

/// How long it may take to end beyond `SECONDS`.
const LIMIT: Duration = Duration::from_secs(60);

/// What it says when all its connections were closed from the other side.
const ENDED: &str = "No open connections left";

pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "slowhttptest_headers",
        needs: &[Need::Slowhttptest],
        run: || closed_in_time(&["-H", "-i", "1"]),
    },
    Suite {
        name: "slowhttptest_body",
        needs: &[Need::Slowhttptest],
        run: || closed_in_time(&["-B", "-i", "3", "-s", "8192"]),
    },
    Suite {
        name: "slowhttptest_read",
        needs: &[Need::Slowhttptest],
        run: || {
            let kind = ["-X", "-w", "64", "-y", "128", "-n", "2", "-z", "32"];
            endured(&kind, generous().address());
        },
    },
    Suite {
        name: "slowhttptest_range",
        needs: &[Need::Slowhttptest],
        run: || {
            let kind = ["-R", "-a", "10", "-b", "1500", "-t", "HEAD"];
            endured(&kind, Echo::start("slow").address());
        },
    },
];

/// A server with a megabyte for everybody, ready at once, and all the time to write it.
fn generous() -> Scripted {
    let answer = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".as_slice(),
        &[b'x'; 1_000_000],
    ]
    .concat();
    Scripted::start(move |mut guest| {
        let stream = guest.wire.stream();
        stream
            .set_write_timeout(Some(LIMIT))
            .expect("the time is not zero");
        while let Some(head) = guest.request_head() {
            guest.wire.read_rest(head, "");
            if !guest.wire.try_send(&answer) {
                return;
            }
        }
    })
}

/// An attack whose connections the proxy's time-outs must have ended before it ends by itself.
fn closed_in_time(kind: &[&str]) {
    let (last, status) = attack(kind, Echo::start("slow").address());
    assert_eq!(status, ENDED, "the time-outs did not end them: {last:?}");
}

/// An attack that the proxy may let go on, with nearly all of its connections, or end early.
fn endured(kind: &[&str], server: SocketAddr) {
    let (last, status) = attack(kind, server);
    match status.as_str() {
        ENDED => {}
        "Hit test time limit" => assert!(last.all() >= f64::from(CONNECTIONS) * 0.9, "{last:?}"),
        _ => panic!("{status}: {last:?}"),
    }
}

/// One line of the suite's report.
#[derive(Debug, Clone, Copy)]
struct Second {
    closed: f64,
    pending: f64,
    connected: f64,
    available: f64,
}

impl Second {
    fn all(&self) -> f64 {
        self.closed + self.pending + self.connected
    }
}

/// Runs one attack on a proxy with short time-outs, asks for something all the while, and reads the
/// report: the service was available in each second. What comes back is the last second and how it ended.
fn attack(kind: &[&str], server: SocketAddr) -> (Second, String) {
    let proxy = in_front_of(
        server,
        "http1",
        "limits: {headerTimeout: 2s, bodyTimeout: 2s, idle: 5s}",
    );
    let folder = TempDir::with_prefix("heddle-slow-").expect("the system has a temporary folder");
    let mut command = Need::Slowhttptest.command();
    without_proxy(&mut command)
        .args(kind)
        .args([
            "-c",
            &CONNECTIONS.to_string(),
            "-r",
            &(CONNECTIONS / 2).to_string(),
        ])
        .args([
            "-l",
            &SECONDS.to_string(),
            "-p",
            &PROBE.as_secs().to_string(),
        ])
        .args(["-u", &format!("http://{}/", proxy.outbound()), "-g", "-o"])
        .arg(folder.path().join("report"));
    let mut running = Running::start(&mut command);
    let started = Instant::now();
    let mut answers = 0;
    while running.is_alive() {
        assert!(
            started.elapsed() < LIMIT,
            "it does not end: {}",
            running.output()
        );
        let mut wire = Wire::connect(proxy.outbound());
        wire.set_patience(PROBE);
        wire.send("GET /probe HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
        assert_eq!(
            wire.read_response().status(),
            200,
            "a probe during the attack"
        );
        answers += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(answers >= 3, "only {answers} probes");
    let seconds = report(&folder.path().join("report.csv"), &running);
    let unavailable: Vec<_> = seconds
        .iter()
        .filter(|second| second.available == 0.0)
        .collect();
    assert!(unavailable.is_empty(), "not available in {unavailable:?}");
    assert!(seconds.len() >= 3, "seconds: {seconds:?}");
    let ejections = metric(&proxy, "heddle_ejections_total", "");
    assert_eq!(ejections, 0.0, "slow callers are no fault of the endpoint");
    let output = running.output();
    let status = output
        .lines()
        .find_map(|line| line.split_once("Exit status:"))
        .unwrap_or_else(|| panic!("no exit status: {output}"));
    (seconds[seconds.len() - 1], without_colours(status.1))
}

/// The suite colours what it says wherever that goes.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    let rest = pieces.filter_map(|piece| piece.split_once('m'));
    (first + &rest.map(|(_, text)| text).collect::<String>())
        .trim()
        .to_owned()
}

/// The suite's report, second by second.
fn report(file: &Path, running: &Running) -> Vec<Second> {
    let text = std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("no report: {error}: {}", running.output()));
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("Seconds,Closed,Pending,Connected,Service Available"),
        "the report's head"
    );
    lines
        .map(|line| {
            let cells: Vec<f64> = line
                .split(',')
                .map(|cell| {
                    cell.parse()
                        .unwrap_or_else(|error| panic!("{error}: {line}"))
                })
                .collect();
            assert_eq!(cells.len(), 5, "{line}");
            Second {
                closed: cells[1],
                pending: cells[2],
                connected: cells[3],
                available: cells[4],
            }
        })
        .collect()
}
