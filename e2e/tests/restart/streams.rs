//! What lives long across a restart: streams of gRPC, and WebSockets, with foreign clients.

use crate::Case;
use crate::handover::Line;
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::Running;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::websocket::WebSocketEcho;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    Case(
        "streams::grpc_streams_finish_in_the_old_process_and_calls_go_to_the_new_one",
        &[Need::Grpcio],
        grpc_streams_finish_in_the_old_process_and_calls_go_to_the_new_one,
    ),
    Case(
        "streams::grpc_streams_that_outlive_the_drain_end_as_unavailable",
        &[Need::Grpcio],
        grpc_streams_that_outlive_the_drain_end_as_unavailable,
    ),
    Case(
        "streams::websockets_go_on_in_the_old_process",
        &[Need::Websockets],
        websockets_go_on_in_the_old_process,
    ),
    Case(
        "streams::websockets_that_outlive_the_drain_are_told_so",
        &[Need::Websockets],
        websockets_that_outlive_the_drain_are_told_so,
    ),
];

const PATIENCE: Duration = Duration::from_secs(60);

/// A foreign program that says `open` when its streams stand, and tells what came of them at its end.
struct Caller {
    running: Running,
}

impl Caller {
    fn start(need: Need, program: &str, proxy: &Proxy) -> Self {
        let mut command = need.command();
        command
            .arg(clients("python").join(program))
            .args([&proxy.outbound().to_string(), "ledger"])
            .arg(proxy.folder().join("marker"));
        let mut running = Running::start(&mut command);
        running.wait_for_line("open", PATIENCE);
        Self { running }
    }

    /// Tells it to end its streams; what came of them.
    fn finish(self, proxy: &Proxy) -> Value {
        std::fs::write(proxy.folder().join("marker"), "").expect("ours");
        self.ended()
    }

    /// Waits until its streams are ended for it; what came of them.
    fn ended(mut self) -> Value {
        assert_eq!(
            self.running.wait(PATIENCE),
            Some(0),
            "{}",
            self.running.output()
        );
        let output = self.running.output();
        let last = output.lines().find(|line| line.starts_with('{'));
        let told = last.and_then(|line| serde_json::from_str(line).ok());
        told.unwrap_or_else(|| panic!("it told nothing: {output}"))
    }
}

fn grpc_server() -> (Running, SocketAddr) {
    let mut command = Need::Grpcio.command();
    let mut server = Running::start(command.arg(clients("python").join("grpc_server.py")));
    let address = server.wait_for_line("listening on ", PATIENCE);
    (server, address.parse().expect("it prints its address"))
}

fn behind(address: SocketAddr, drain: &str) -> Proxy {
    let top = format!("drain: {drain}");
    Proxy::start(&Setup::new().top(&top).replicas("ledger", &[address]))
}

fn grpc_streams_finish_in_the_old_process_and_calls_go_to_the_new_one() {
    let (_server, address) = grpc_server();
    let mut proxy = behind(address, "30s");
    let first = proxy.process().id();
    let caller = Caller::start(Need::Grpcio, "grpc_drain.py", &proxy);
    let line = Line(&proxy);
    line.restart(first);
    // Both processes are there: the streams hold the old one, and single calls reach the new one.
    heddle_e2e::script::within(PATIENCE, "calls reach the new process", || {
        let answers = "heddle_grpc_responses_total{";
        let metrics = proxy.ask_admin("/metrics").text();
        metrics.lines().any(|line| {
            line.starts_with(answers) && line.contains("\"OK\"") && !line.ends_with(" 0")
        })
    });
    let told = caller.finish(&proxy);
    for (stream, least, trailing) in [("chat", 2, None), ("ticks", 60, Some("ticked"))] {
        let told = &told[stream];
        assert_eq!(told["code"], 0, "{stream}: {told}");
        assert_eq!(told["ordered"], true, "{stream}: {told}");
        assert!(told["messages"].as_u64() >= Some(least), "{stream}: {told}");
        assert_eq!(told["trailing"].as_str(), trailing, "{stream}: {told}");
    }
    assert_eq!(told["single"]["failed"], serde_json::json!([]), "{told}");
    drop(line);
    // Long before the drain time is over: nothing holds it any more.
    assert_eq!(proxy.process().wait(Duration::from_secs(25)), Some(0));
    assert!(!proxy.log().contains("drain time is over"));
}

fn grpc_streams_that_outlive_the_drain_end_as_unavailable() {
    const UNAVAILABLE: i64 = 14;
    let (_server, address) = grpc_server();
    let mut proxy = behind(address, "1s");
    let caller = Caller::start(Need::Grpcio, "grpc_drain.py", &proxy);
    proxy.process().signal("TERM");
    assert_eq!(proxy.process().wait(PATIENCE), Some(0));
    let told = caller.ended();
    for stream in ["chat", "ticks"] {
        let told = &told[stream];
        assert_eq!(told["code"], UNAVAILABLE, "{stream}: {told}");
        assert_eq!(told["ordered"], true, "{stream}: {told}");
    }
    assert!(proxy.log().contains("drain time is over"));
}

fn websockets_go_on_in_the_old_process() {
    let echo = WebSocketEcho::start();
    let mut proxy = behind(echo.address(), "30s");
    let first = proxy.process().id();
    let caller = Caller::start(Need::Websockets, "websocket_drain.py", &proxy);
    let line = Line(&proxy);
    line.restart(first);
    let before = echo.echoes();
    heddle_e2e::script::within(PATIENCE, "messages go on", || echo.echoes() > before + 10);
    let told = caller.finish(&proxy);
    assert_eq!(told["order"], true, "{told}");
    assert!(told["after"].is_u64(), "it ended by itself: {told}");
    assert_eq!(echo.connections(), 1);
    drop(line);
    assert_eq!(proxy.process().wait(Duration::from_secs(25)), Some(0));
}

fn websockets_that_outlive_the_drain_are_told_so() {
    let echo = WebSocketEcho::start();
    let mut proxy = behind(echo.address(), "1s");
    let caller = Caller::start(Need::Websockets, "websocket_drain.py", &proxy);
    proxy.process().signal("TERM");
    let told = caller.ended();
    // Going away (RFC 6455 section 7.4.1).
    assert_eq!(told["code"], 1001, "{told}");
    assert_eq!(told["order"], true, "{told}");
    assert_eq!(proxy.process().wait(PATIENCE), Some(0));
    heddle_e2e::script::within(PATIENCE, "the server is told as well", || {
        echo.closed() == 1
    });
}
