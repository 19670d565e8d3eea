//! HTTP libraries of Python, Node, Java and Go.

use crate::Row;
use crate::place::{NAME, Place, direct, through_environment, without_exceptions, without_proxy};
use crate::steps;
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::succeed;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What the server is spoken to in.
const HTTP1: &str = "HTTP/1.1";
const HTTP2: &str = "HTTP/2.0";

pub(crate) const ROWS: &[Row] = &[
    row(
        "Python http.client",
        "`Host` style, HTTP/1.1",
        &[Need::Python],
        || python("host"),
    ),
    row(
        "Python urllib",
        "`http_proxy` in the environment",
        &[Need::Python],
        || python("proxy"),
    ),
    row("Node http", "`Host` style, HTTP/1.1", &[Need::Node], || {
        node(Need::Node, "host-http", HTTP1)
    }),
    row(
        "Node http2",
        "`:authority`, HTTP/2 with prior knowledge",
        &[Need::Node],
        || {
            node(Need::Node, "host-http2", HTTP2);
        },
    ),
    row(
        "Node http",
        "`NODE_USE_ENV_PROXY=1`",
        &[Need::Node24],
        || node(Need::Node24, "proxy-http", HTTP1),
    ),
    row(
        "Node fetch",
        "`NODE_USE_ENV_PROXY=1`",
        &[Need::Node24],
        || node(Need::Node24, "proxy-fetch", HTTP1),
    ),
    row(
        "Java HttpClient",
        "`Host` style, HTTP/1.1",
        &[Need::Java],
        || java("host-1"),
    ),
    row(
        "Java HttpClient",
        "`Host` style, asking for an upgrade to h2c",
        &[Need::Java],
        || java("host-2"),
    ),
    row(
        "Java HttpClient",
        "`-Dhttp.proxyHost`, HTTP/1.1",
        &[Need::Java],
        || java("proxy-1"),
    ),
    row(
        "Java HttpClient",
        "`-Dhttp.proxyHost`, asking for an upgrade to h2c",
        &[Need::Java],
        || java("proxy-2"),
    ),
    row(
        "Java HttpURLConnection",
        "`-Dhttp.proxyHost`",
        &[Need::Java],
        || java("proxy-url"),
    ),
    row("Go net/http", "`Host` style, HTTP/1.1", &[Need::Go], || {
        go("host-1", HTTP1)
    }),
    row(
        "Go net/http",
        "`Host` style, HTTP/2 with prior knowledge",
        &[Need::Go],
        || go("host-2", HTTP2),
    ),
    row(
        "Go net/http",
        "`HTTP_PROXY` in the environment",
        &[Need::Go],
        || go("proxy-1", HTTP1),
    ),
];

const fn row(client: &'static str, way: &'static str, needs: &'static [Need], run: fn()) -> Row {
    Row {
        client,
        way,
        shows: steps::SHOWS,
        needs,
        run,
    }
}

/// Runs a client program against an echo server behind one proxy and checks its steps.
fn take_steps(
    mut command: Command,
    how: &str,
    version: &str,
    prepare: impl Fn(&mut Command, &Place),
) {
    let proxied = how.starts_with("proxy");
    if proxied && direct() {
        return;
    }
    let echo = Echo::start(NAME);
    let place = Place::behind(1, echo.address());
    without_proxy(&mut command);
    if proxied {
        through_environment(&mut command, place.address);
    }
    prepare(&mut command, &place);
    command.arg(how).arg(place.address.to_string()).arg(NAME);
    steps::check(&succeed(&mut command, LIMIT), version);
    assert_eq!(
        echo.requests(),
        if direct() { 27 } else { 26 },
        "each request arrived once"
    );
    assert_eq!(echo.open(), 0, "none is left open");
}

fn python(how: &str) {
    let mut command = Need::Python.command();
    command.arg(clients("python").join("http_client.py"));
    take_steps(command, how, HTTP1, |_, _| {});
}

fn node(need: Need, how: &str, version: &str) {
    let mut command = need.command();
    command.arg(clients("node").join("http_client.mjs"));
    take_steps(command, how, version, |command, _| {
        command.env(
            "NODE_USE_ENV_PROXY",
            if how.starts_with("proxy") { "1" } else { "0" },
        );
    });
}

fn java(how: &str) {
    let mut command = Need::Java.command();
    // It would not let a program set `Host` otherwise.
    command.args([
        "-Xshare:auto",
        "-XX:TieredStopAtLevel=1",
        "-Djdk.httpclient.allowRestrictedHeaders=host",
    ]);
    take_steps(command, how, HTTP1, |command, place| {
        without_exceptions(command);
        if how.starts_with("proxy") {
            command.arg(format!("-Dhttp.proxyHost={}", place.address.ip()));
            command.arg(format!("-Dhttp.proxyPort={}", place.address.port()));
            command.arg("-Dhttp.nonProxyHosts=");
        }
        command.arg(clients("java").join("HttpSteps.java"));
    });
}

fn go(how: &str, version: &str) {
    let mut command = Need::Go.command();
    command.arg("http");
    take_steps(command, how, version, |_, _| {});
}
