//! What bounds handshakes: time, number; and what is told of those that are none.

use crate::certificates::{Authority, Kind};
use crate::support::{curl, finished, metric, tls};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use heddle_e2e::wire::{Ending, Wire};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Duration;

/// Handshakes that a listener has under way at most (docs/tls.md).
const MOST: usize = 1024;
/// More than the 10 s of a handshake, on a busy machine.
const SOON: Duration = Duration::from_secs(40);

const FAILURES: &str = "heddle_tls_handshake_failures_total";

fn bank(authority: &Authority, echo: &Echo) -> Setup {
    authority.issue("bank", &["bank.example"], Kind::Server);
    let listener = format!(
        "identify: [{{static: bank}}]\n{}",
        tls(authority, "bank", "")
    );
    Setup::new()
        .listener("outbound", &listener)
        .replicas("bank", &[echo.address()])
}

pub(crate) fn a_handshake_that_does_not_go_on_ends() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    let proxy = Proxy::start(&bank(&authority, &echo));
    // A record of 512 bytes is announced, and four of them come.
    let begun: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];
    for beginning in [&b""[..], begun] {
        let mut wire = Wire::connect(proxy.outbound());
        wire.set_patience(SOON);
        wire.send(beginning);
        let (bytes, ending) = wire.read_to_end();
        assert!(
            bytes.is_empty() && ending != Ending::Open,
            "{beginning:?}: {bytes:?} {ending:?}"
        );
    }
    assert_eq!(metric(&proxy, FAILURES, &["\"timeout\""]), 2.0);
}

/// Whether this process and the proxy that it starts may have so many connections.
pub(crate) fn descriptors() -> Result<(), String> {
    let limits = std::fs::read_to_string("/proc/self/limits").map_err(|error| error.to_string())?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    let enough = soft.is_some_and(|soft| {
        soft == "unlimited" || soft.parse::<usize>().is_ok_and(|soft| soft >= 2 * MOST)
    });
    enough
        .then_some(())
        .ok_or_else(|| format!("more file descriptors are needed: {line:?}"))
}

pub(crate) fn handshakes_under_way_are_capped_and_others_follow() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    let proxy = Proxy::start(&bank(&authority, &echo));
    let silent: Vec<_> = (0..MOST + 50)
        .map(|_| TcpStream::connect(proxy.outbound()).expect("loopback takes it"))
        .collect();
    within(SOON, "those above the cap are closed", || {
        metric(&proxy, FAILURES, &["too-many-handshakes"]) >= 50.0
    });
    drop(silent);
    within(SOON, "there is room again", || {
        finished(&mut curl(proxy.outbound(), "bank.example", &authority.ca())).code == Some(0)
    });
}

pub(crate) fn plaintext_is_answered_and_told() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    let proxy = Proxy::start(&bank(&authority, &echo).top("accessLog: {file: ./access.log}"));
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET / HTTP/1.1\r\nhost: bank.example\r\n\r\n");
    let answer = wire.read_response();
    assert_eq!(answer.status(), 400);
    let why = "this port speaks TLS, and the request came without: write https://";
    let told = format!("refused; reason=\"{why}\"");
    assert_eq!(answer.head.get("heddle-err"), Some(told));
    assert_eq!(answer.json()["detail"], why);
    let log = proxy.folder().join("access.log");
    let mut line = Value::Null;
    within(SOON, "there is a line", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        line = serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap_or_default();
        line.is_object()
    });
    assert_eq!(
        (&line["status"], &line["refusal"], &line["reason"]),
        (&json!(400), &json!("plaintext-http"), &json!(why)),
        "{line}"
    );
}

pub(crate) fn the_end_of_a_certificate_that_is_gone_is_not_shown() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    let setup = bank(&authority, &echo);
    authority.issue("next", &["bank.example"], Kind::Server);
    let proxy = Proxy::start(&setup);
    let shown = |file: &str| {
        metric(
            &proxy,
            "heddle_tls_certificate_expiry_timestamp_seconds",
            &[file],
        ) > 0.0
    };
    assert!(shown("bank.pem") && !shown("next.pem"));
    let next = format!(
        "identify: [{{static: bank}}]\n{}",
        tls(&authority, "next", "")
    );
    proxy.rewrite(&setup.listener("outbound", &next));
    within(SOON, "the new one is shown", || shown("next.pem"));
    assert!(!shown("bank.pem"));
}
