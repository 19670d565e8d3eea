//! Interim answers (100 and 103) of Node's servers over both protocols, as clients see them.

use crate::Row;
use crate::place::{NAME, Place, without_proxy};
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::{Running, run, succeed};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const LINK: &str = "</a.css>; rel=preload";
const SHOWS: &str = "hints (103) and the go-ahead (100) of Node's servers, HTTP/1.1 and HTTP/2";
const PRIOR: &str = "interim answers, HTTP/2 with prior knowledge";

pub(crate) const ROWS: &[Row] = &[
    row(
        "curl",
        "interim answers, HTTP/1.1",
        &[Need::Curl, Need::Node],
        || {
            curl("--http1.1");
        },
    ),
    row("curl", PRIOR, &[Need::Curl, Need::Node], || {
        curl("--http2-prior-knowledge");
    }),
    row("Node http2", PRIOR, &[Need::Node], || {
        let mut command = Need::Node.command();
        command.arg(clients("node").join("interim.mjs")).arg("ask");
        tells(command);
    }),
    row(
        "Go net/http",
        "interim answers, HTTP/1.1",
        &[Need::Go, Need::Node],
        || {
            go("host-1");
        },
    ),
    row("Go net/http", PRIOR, &[Need::Go, Need::Node], || {
        go("host-2")
    }),
];

const fn row(client: &'static str, way: &'static str, needs: &'static [Need], run: fn()) -> Row {
    Row {
        client,
        way,
        shows: SHOWS,
        needs,
        run,
    }
}

/// Has `ask` go to a proxy in front of a server of each protocol.
fn each(ask: impl Fn(SocketAddr)) {
    for protocol in ["http1", "http2"] {
        let mut command = Need::Node.command();
        command.arg(clients("node").join("interim.mjs"));
        let mut server = Running::start(command.args(["serve", protocol]));
        let address = server.wait_for_line("listening on ", LIMIT);
        let address = address.parse().expect("the server says where it listens");
        let place = Place::speaking(address, protocol);
        ask(place.address);
    }
}

fn go(how: &str) {
    let mut command = Need::Go.command();
    command.args(["interim", how]);
    tells(command);
}

/// A client that tells what came.
fn tells(command: Command) {
    let (program, arguments) = (command.get_program(), command.get_args());
    let arguments: Vec<_> = arguments.collect();
    each(|address| {
        let mut command = Command::new(program);
        without_proxy(&mut command);
        command.args(&arguments);
        let said = succeed(command.arg(address.to_string()).arg(NAME), LIMIT);
        let seen: Value = serde_json::from_str(&said).expect("it says so in JSON");
        let interim = json!([[103, LINK], [100, null]]);
        let expected = json!({"interim": interim, "status": 200, "body": "5"});
        assert_eq!(seen, expected);
    });
}

fn curl(version: &str) {
    each(|address| {
        let mut command = Need::Curl.command();
        without_proxy(&mut command);
        // Without the go-ahead, curl would wait longer than it may take.
        command.args(["--silent", "--show-error", "--verbose", version]);
        command.args(["--max-time", "8", "--expect100-timeout", "10"]);
        command.args(["-H", "Expect: 100-continue", "--data-binary", "hello", "-H"]);
        command.arg(format!("Host: {NAME}"));
        let finished = run(command.arg(format!("http://{address}/")), LIMIT);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert_eq!(finished.stdout, "5");
        let heard: Vec<&str> = finished
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("< "))
            .map(str::trim_end)
            .collect();
        let position = |begin: &str| heard.iter().position(|line| line.starts_with(begin));
        let word = if version == "--http1.1" {
            "HTTP/1.1"
        } else {
            "HTTP/2"
        };
        let order = [
            position(&format!("{word} 103")),
            position(&format!("link: {LINK}")),
            position(&format!("{word} 100")),
            position(&format!("{word} 200")),
        ];
        assert!(order[0].is_some() && order.is_sorted(), "{heard:?}");
    });
}
