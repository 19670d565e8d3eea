//! WebSocket libraries.

use crate::Row;
use crate::place::{NAME, Place, without_proxy};
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::succeed;
use heddle_e2e::script::eventually;
use heddle_e2e::websocket::WebSocketEcho;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// The minute of the 36,000 echoes, and far more than the others take.
const LIMIT: Duration = Duration::from_secs(60);
const SHOWS: &str = "200 echoes in order, a message of 1 MiB, ping and pong, close code and reason";

pub(crate) const ROWS: &[Row] = &[
    Row {
        client: "ws (Node)",
        way: "`Host` style",
        shows: SHOWS,
        needs: &[Need::Ws],
        run: ws,
    },
    Row {
        client: "ws (Node)",
        way: "`Host` style, 40 connections",
        shows: "36,000 echoes within a minute, in order, each message once",
        needs: &[Need::Ws],
        run: many,
    },
    Row {
        client: "websockets (Python)",
        way: "`Host` style",
        shows: SHOWS,
        needs: &[Need::Websockets],
        run: websockets,
    },
];

fn ws() {
    let mut command = Need::Ws.command();
    command.arg(clients("node").join("websocket_client.mjs"));
    talk(command);
}

fn websockets() {
    let mut command = Need::Websockets.command();
    command.arg(clients("python").join("websocket_client.py"));
    talk(command);
}

/// 40 connections that speak at once, 900 messages each in lockstep.
fn many() {
    const CONNECTIONS: usize = 40;
    const EACH: usize = 900;
    let server = WebSocketEcho::start();
    let place = Place::behind(1, server.address());
    let mut command = Need::Ws.command();
    without_proxy(&mut command);
    command
        .arg(clients("node").join("websocket_load.mjs"))
        .args([&place.address.to_string(), NAME])
        .args([CONNECTIONS.to_string(), EACH.to_string()]);
    let output = succeed(&mut command, LIMIT);
    let result: Value =
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
    let echoes = CONNECTIONS * EACH;
    assert_eq!(
        result,
        json!({"echoes": echoes, "wrong": 0, "closed": CONNECTIONS})
    );
    assert_eq!(server.echoes(), echoes, "each message arrived once");
    assert_eq!(server.connections(), CONNECTIONS);
    eventually("the server sees all connections end", || {
        server.closed() == CONNECTIONS
    });
}

fn talk(mut command: Command) {
    let server = WebSocketEcho::start();
    let place = Place::behind(1, server.address());
    without_proxy(&mut command);
    let output = succeed(command.args([&place.address.to_string(), NAME]), LIMIT);
    let result: Value =
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
    let close = json!({"code": 4001, "reason": "enough"});
    let expected =
        json!({"echoes": 200, "order": true, "big": true, "pong": "are you there", "close": close});
    assert_eq!(result, expected);
    assert_eq!(server.echoes(), 201, "each message arrived once");
    eventually("the server sees the connection end", || {
        server.closed() == 1
    });
}
