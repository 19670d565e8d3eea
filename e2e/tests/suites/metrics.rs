//! promtool over the metrics of a proxy that has seen traffic of every kind.

use crate::Suite;
use crate::place::in_front_of;
use crate::table::only_exceptions;
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::Need;
use heddle_e2e::process::Running;
use heddle_e2e::wire::Wire;
use std::collections::BTreeSet;
use std::io::{Seek, Write};
use std::process::Stdio;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

const NAME: &str = "promtool";

pub(crate) const SUITES: &[Suite] = &[Suite {
    name: NAME,
    needs: &[Need::Promtool],
    run: promtool,
}];

fn promtool() {
    let echo = Echo::start("counted");
    let proxy = in_front_of(echo.address(), "http1", "");
    for (request, status) in [
        ("GET /?status=200 HTTP/1.1\r\nhost: a\r\n\r\n", 200),
        ("GET /?status=404 HTTP/1.1\r\nhost: b\r\n\r\n", 404),
        ("GET /?status=503 HTTP/1.1\r\nhost: c\r\n\r\n", 503),
        (
            "POST / HTTP/1.1\r\nhost: d\r\ncontent-length: 2\r\n\r\nhi",
            200,
        ),
        ("GET / HTTP/1.1\r\nhost: e\r\nhost: f\r\n\r\n", 400),
    ] {
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(request);
        assert_eq!(wire.read_response().status(), status, "{request}");
    }
    let text = proxy.ask_admin("/metrics").text();
    assert!(text.lines().count() > 100, "the metrics: {text}");
    let (code, output) = check(&text);
    let findings: BTreeSet<String> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    // 3 is what it ends with where it only has advice; 0 where it has none.
    assert!(
        matches!(code, Some(0 | 3)),
        "promtool ended with {code:?}: {output}"
    );
    only_exceptions(NAME, &findings, str::to_owned);
    it_finds_what_is_wrong();
}

/// That the suite is worth something: it does not like a counter without `_total`.
fn it_finds_what_is_wrong() {
    let (code, output) = check("# HELP requests Requests.\n# TYPE requests counter\nrequests 1\n");
    assert_ne!(code, Some(0), "{output}");
}

/// What promtool says of metrics, and how it ends.
fn check(metrics: &str) -> (Option<i32>, String) {
    let mut file = tempfile::tempfile().expect("the system has a temporary folder");
    file.write_all(metrics.as_bytes())
        .and_then(|()| file.rewind())
        .expect("the file is ours");
    let mut command = Need::Promtool.command();
    let mut running = Running::with_input(command.args(["check", "metrics"]), Stdio::from(file));
    let code = running.wait(LIMIT);
    (code, running.output())
}
