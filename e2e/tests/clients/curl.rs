//! curl, with HTTP/1.1, HTTP/2, an upgrade that the proxy does not take, as a proxy and by CONNECT.

use crate::Row;
use crate::place::{NAME, Place, direct, through_environment, without_proxy};
use crate::steps;
use heddle_e2e::echo::{Echo, pattern};
use heddle_e2e::needs::Need;
use heddle_e2e::process::{run, succeed};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);
const STEPS: &str =
    "GET, POST with and without a length, HEAD, 3 MB answer, status, kept-alive, unknown name";

pub(crate) const ROWS: &[Row] = &[
    row("`Host` style, HTTP/1.1", STEPS, || {
        take_steps(Way::Host, "--http1.1", "HTTP/1.1")
    }),
    row("`Host` style, HTTP/2 with prior knowledge", STEPS, || {
        take_steps(Way::Host, "--http2-prior-knowledge", "HTTP/2.0");
    }),
    row("`Host` style, asking for an upgrade to h2c", STEPS, || {
        take_steps(Way::Host, "--http2", "HTTP/1.1")
    }),
    row("`http_proxy` in the environment", STEPS, || {
        take_steps(Way::Proxy, "--http1.1", "HTTP/1.1")
    }),
    row("`http_proxy` with CONNECT (`--proxytunnel`)", STEPS, || {
        take_steps(Way::Proxy, "--proxytunnel", "HTTP/1.1");
    }),
    row(
        "`http_proxy` with CONNECT to an address",
        "refused: only names that are known",
        connect_to_an_address,
    ),
    row(
        "100-continue",
        "waits for the server's go-ahead before its body",
        expect_continue,
    ),
];

const fn row(way: &'static str, shows: &'static str, run: fn()) -> Row {
    Row {
        client: "curl",
        way,
        shows,
        needs: &[Need::Curl],
        run,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Host,
    Proxy,
}

struct Curl {
    way: Way,
    option: &'static str,
    address: SocketAddr,
    folder: TempDir,
}

impl Curl {
    fn command(&self, name: &str) -> Command {
        let mut command = Need::Curl.command();
        without_proxy(&mut command);
        command.args(["--silent", "--show-error", "--max-time", "20", self.option]);
        match self.way {
            Way::Host => {
                command.args(["-H", &format!("Host: {name}")]);
            }
            Way::Proxy => through_environment(&mut command, self.address),
        }
        command
    }

    fn url(&self, name: &str, target: &str) -> String {
        match self.way {
            Way::Host => format!("http://{}{target}", self.address),
            Way::Proxy => format!("http://{name}{target}"),
        }
    }

    fn step(&self, name: &str, target: &str, arguments: &[&str], report: bool) -> Value {
        let answer = self.folder.path().join("answer");
        let mut command = self.command(name);
        command.args(arguments).arg("-o").arg(&answer);
        command.args([
            "-w",
            "%{http_code} %{http_connect} %header{heddle-err}",
            &self.url(name, target),
        ]);
        // When a tunnel is refused, curl fails with what the proxy answered to CONNECT.
        let finished = run(&mut command, LIMIT);
        let mut said = finished.stdout.splitn(3, ' ');
        let (status, connect) = (said.next(), said.next());
        let error = said.next().unwrap_or_default();
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<u16>().ok());
        assert!(
            finished.code == Some(0) || self.option == "--proxytunnel",
            "{command:?}: {}",
            finished.stderr
        );
        let content = std::fs::read(&answer).unwrap_or_default();
        // Each step writes anew, but one without a body writes nothing.
        drop(std::fs::remove_file(&answer));
        let mut result = json!({
            "status": number(status).unwrap_or(0),
            "connect": number(connect).unwrap_or(0),
            "bytes": content.len(),
            "error": (!error.is_empty()).then_some(error),
        });
        if report {
            result["report"] = serde_json::from_slice(&content).expect("the report is JSON");
        }
        result
    }

    fn repeat(&self, times: usize) -> Value {
        // curl 7.88 cannot use a connection with prior knowledge of HTTP/2 twice, whatever the server.
        let each = if self.option == "--http2-prior-knowledge" {
            1
        } else {
            times
        };
        let mut said = String::new();
        for _ in 0..times / each {
            let mut command = self.command(NAME);
            for _ in 0..each {
                command.args(["-o", "/dev/null", &self.url(NAME, "/")]);
            }
            said += &succeed(command.args(["-w", "%{http_code}/%{num_connects} "]), LIMIT);
        }
        let words: Vec<_> = said.split_whitespace().collect();
        let reused = words.iter().filter(|word| word.ends_with("/0")).count();
        assert!(reused >= each - 1, "not kept alive: {said}");
        json!({"ok": words.iter().filter(|word| word.starts_with("200/")).count()})
    }
}

fn take_steps(way: Way, option: &'static str, version: &str) {
    if way == Way::Proxy && direct() {
        return;
    }
    let echo = Echo::start(NAME);
    let place = Place::behind(1, echo.address());
    let folder = TempDir::new().expect("the system has a temporary folder");
    let (large, pieces) = (folder.path().join("large"), folder.path().join("pieces"));
    std::fs::write(&large, pattern(0, 1 << 20)).expect("the folder is ours");
    std::fs::write(&pieces, pattern(0, 300_000)).expect("the folder is ours");
    let curl = Curl {
        way,
        option,
        address: place.address,
        folder,
    };
    let large = format!("@{}", large.display());
    let pieces = pieces.display().to_string();
    let mut results = Map::new();
    let mut step = |name: &str, value: Value| results.insert(name.to_owned(), value);
    step("get", curl.step(NAME, "/hello?x=1", &[], true));
    step(
        "post",
        curl.step(NAME, "/post", &["--data-binary", &large], true),
    );
    let streamed = [
        "-X",
        "POST",
        "-H",
        "Transfer-Encoding: chunked",
        "-T",
        &pieces,
    ];
    step("stream", curl.step(NAME, "/stream", &streamed, true));
    step("status", curl.step(NAME, "/?status=404", &[], false));
    step("large", curl.step(NAME, "/?bytes=3000000", &[], false));
    step(
        "head",
        curl.step(NAME, "/", &["--head", "-o", "/dev/null"], false),
    );
    step("repeat", curl.repeat(20));
    let mut unknown = curl.step("nobody", "/", &[], false);
    if option == "--proxytunnel" && !direct() {
        // The tunnel itself is refused; curl shows no header of that.
        assert_eq!(
            unknown["status"], 0,
            "a tunnel to an unknown name was opened"
        );
        unknown = json!({"status": unknown["connect"], "error": "refused tunnel"});
    }
    step("unknown", unknown);
    steps::check(&Value::Object(results).to_string(), version);
}

/// CONNECT leads to names that the proxy knows, never to whatever address a caller writes.
fn connect_to_an_address() {
    if direct() {
        return;
    }
    let echo = Echo::start(NAME);
    let place = Place::behind(1, echo.address());
    let mut command = Need::Curl.command();
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "10",
        "--proxytunnel",
        "-w",
        "%{http_connect}",
    ]);
    through_environment(&mut command, place.address);
    let finished = run(command.arg(format!("http://{}/", echo.address())), LIMIT);
    assert_ne!(
        finished.code,
        Some(0),
        "a tunnel to an arbitrary address was opened"
    );
    let status: u16 = finished.stdout.trim().parse().expect("the proxy answered");
    assert!(
        (400..500).contains(&status),
        "CONNECT to an address: {finished:?}"
    );
    assert_eq!(echo.connections(), 0, "nothing connected");
}

fn expect_continue() {
    let echo = Echo::start(NAME);
    let place = Place::behind(1, echo.address());
    let folder = TempDir::new().expect("the system has a temporary folder");
    let body = folder.path().join("body");
    std::fs::write(&body, pattern(0, 2 << 20)).expect("the folder is ours");
    let mut command = Need::Curl.command();
    without_proxy(&mut command);
    // Without an answer curl would wait ten seconds before it sends the body all the same.
    command.args([
        "--silent",
        "--show-error",
        "--verbose",
        "--http1.1",
        "--max-time",
        "8",
    ]);
    command
        .args([
            "--expect100-timeout",
            "10",
            "-H",
            "Expect: 100-continue",
            "-H",
        ])
        .arg(format!("Host: {NAME}"));
    command
        .arg("--data-binary")
        .arg(format!("@{}", body.display()))
        .arg(format!("http://{}/", place.address));
    let finished = run(&mut command, LIMIT);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("100 Continue"),
        "no go-ahead: {}",
        finished.stderr
    );
    let report: Value = serde_json::from_str(&finished.stdout).expect("the report is JSON");
    assert_eq!(report["bodyBytes"], 2 << 20);
}
