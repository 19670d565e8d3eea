//! Load generators: many requests, none lost.

use crate::Row;
use crate::place::{NAME, Place, without_proxy};
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::Need;
use heddle_e2e::process::succeed;
use heddle_e2e::scale;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

pub(crate) const ROWS: &[Row] = &[
    Row {
        client: "wrk",
        way: "`Host` style, HTTP/1.1",
        shows: "16 connections for 2 s, every answer 200, no socket error",
        needs: &[Need::Wrk],
        run: wrk,
    },
    Row {
        client: "h2load",
        way: "`Host` style, HTTP/1.1",
        shows: "4,000 requests over 8 connections, all succeed",
        needs: &[Need::H2load],
        // This is how it sets `Host`; the field of that name would come beside its own.
        run: || h2load(&["--h1", "-H", ":authority: echo"]),
    },
    Row {
        client: "h2load",
        way: "`:authority`, HTTP/2 with prior knowledge",
        shows: "4,000 requests over 8 connections with 16 streams each, all succeed",
        needs: &[Need::H2load],
        run: || h2load(&["-m", "16", "-H", ":authority: echo"]),
    },
    Row {
        client: "nghttp",
        way: "`:authority`, HTTP/2 with prior knowledge",
        shows: "GET with 100 kB of answer",
        needs: &[Need::Nghttp],
        run: nghttp,
    },
];

fn wrk() {
    let echo = Echo::start(NAME);
    let place = Place::behind(1, echo.address());
    let mut command = Need::Wrk.command();
    command.args([
        "-t1",
        "-c16",
        &format!("-d{}s", 2 * scale()),
        "-H",
        &format!("Host: {NAME}"),
    ]);
    let said = succeed(command.arg(format!("http://{}/", place.address)), LIMIT);
    assert!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );
    let line = said
        .lines()
        .find(|line| line.contains(" requests in "))
        .expect("wrk counts its requests");
    let done: usize = line
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number");
    let arrived = echo.requests();
    assert!(done > 100, "only {done} requests in two seconds");
    // What was in flight at the end arrived without being counted.
    assert!(
        (done..=done + 16).contains(&arrived),
        "wrk counts {done}, the server {arrived}"
    );
}

fn h2load(how: &[&str]) {
    let echo = Echo::start(NAME);
    let place = Place::behind(1, echo.address());
    let count = 4_000 * scale();
    let mut command = Need::H2load.command();
    without_proxy(&mut command);
    command
        .args(["-c", "8", "-n", &count.to_string()])
        .args(how);
    let said = succeed(command.arg(format!("http://{}/", place.address)), LIMIT);
    let expected = format!("{count} done, {count} succeeded, 0 failed, 0 errored, 0 timeout");
    assert!(said.contains(&expected), "not '{expected}' in:\n{said}");
    assert!(
        said.contains(&format!("{count} 2xx, 0 3xx, 0 4xx, 0 5xx")),
        "{said}"
    );
    assert_eq!(echo.requests(), count, "each request arrived once");
}

fn nghttp() {
    let echo = Echo::start(NAME);
    let place = Place::behind(1, echo.address());
    let mut command = Need::Nghttp.command();
    command.args(["-H", &format!(":authority: {NAME}"), "-s", "--null-out"]);
    let said = succeed(
        command.arg(format!("http://{}/?bytes=100000", place.address)),
        LIMIT,
    );
    assert!(said.contains("200") && said.contains("97K"), "{said}");
    assert_eq!(echo.requests(), 1);
}
