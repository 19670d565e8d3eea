//! Lines of the access log.

use crate::support::{ask, line_for, lines, log_of, logging, nobody};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::Proxy;
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::wire::Wire;
use serde_json::{Value, json};

fn expect(line: &Value, fields: &[(&str, Value)]) {
    for (field, value) in fields {
        assert_eq!(&line[*field], value, "{field} in {line}");
    }
}

pub(crate) fn a_request_that_went_well() {
    let echo = Echo::start("echo");
    let setup = logging().replicas("echo", &[echo.address()]).document(
        "Route",
        "echo",
        "{service: echo, rules: [{match: {headers: {x-no: a}}, to: echo}, {to: echo}]}",
    );
    let proxy = Proxy::start(&setup);
    let answer = ask(
        &proxy,
        "POST /well?secret=1 HTTP/1.1\r\nhost: echo\r\ncontent-length: 2\r\n\r\nhi",
    );
    assert_eq!(answer.status(), 200);
    let line = line_for(&proxy, "/well");
    expect(
        &line,
        &[
            ("listener", json!("outbound")),
            ("caller", json!("127.0.0.1")),
            ("protocol", json!("http/1.1")),
            ("method", json!("POST")),
            ("authority", json!("echo")),
            ("name", json!("/svc/echo")),
            ("route", json!("default/echo")),
            ("rule", json!(1)),
            ("replica_set", json!("/#/static/echo")),
            ("replica", json!(echo.address().to_string())),
            ("status", json!(200)),
            ("bytes_in", json!(2)),
            ("end", json!("complete")),
            ("error", Value::Null),
            ("retry_reasons", json!([])),
        ],
    );
    assert!(line["bytes_out"].as_u64() > Some(0), "{line}");
    assert!(line["connect_ms"].as_f64() > Some(0.0), "{line}");
    assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{line}");
}

pub(crate) fn answers_of_the_proxys_own() {
    let silent = Scripted::silent();
    let broken = Scripted::half_answering(true);
    let setup = logging()
        .replicas("refuses", &[nobody()])
        .replicas("broken", &[broken.address()])
        .replicas("total", &[silent.address()])
        .replicas("attempt", &[silent.address()])
        .replicas("late", &[silent.address()])
        .document(
            "Route",
            "total",
            "{service: total, timeout: 100ms, rules: [{to: total}]}",
        )
        .document(
            "Route",
            "attempt",
            "{service: attempt, attemptTimeout: 100ms, rules: [{to: attempt}]}",
        )
        .document(
            "Route",
            "fixed",
            "{service: fixed, rules: [{set: {status: 204}}]}",
        );
    let proxy = Proxy::start(&setup);
    for (host, field, status, error, timer) in [
        ("stranger", "", 404, json!("no-such-name"), Value::Null),
        ("refuses", "", 502, json!("connect"), Value::Null),
        ("total", "", 504, json!("timeout"), json!("total")),
        ("attempt", "", 504, json!("timeout"), json!("attempt")),
        (
            "late",
            "heddle-context: deadline=100\r\n",
            504,
            json!("deadline"),
            json!("deadline"),
        ),
        ("fixed", "", 204, json!("rule"), Value::Null),
        (
            "twice",
            "host: twice\r\n",
            400,
            json!("refused"),
            Value::Null,
        ),
    ] {
        let answer = ask(
            &proxy,
            format!("POST /{host} HTTP/1.1\r\nhost: {host}\r\n{field}content-length: 0\r\n\r\n"),
        );
        assert_eq!(answer.status(), status, "{host}");
        let line = line_for(&proxy, &format!("/{host}"));
        expect(
            &line,
            &[
                ("status", json!(status)),
                ("error", error),
                ("timer", timer),
            ],
        );
    }
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET /broken HTTP/1.1\r\nhost: broken\r\n\r\n");
    wire.read_to_end();
    expect(&line_for(&proxy, "/broken"), &[("end", json!("upstream"))]);
}

pub(crate) fn a_retry_shows_each_attempt() {
    let echo = Echo::start("echo");
    let proxy = Proxy::start(&logging().replicas("echo", &[nobody(), echo.address()]));
    let mut number = 0;
    eventually("an attempt fails", || {
        number += 1;
        let answer = ask(
            &proxy,
            format!("GET /{number} HTTP/1.1\r\nhost: echo\r\n\r\n"),
        );
        assert_eq!(answer.status(), 200);
        let line = line_for(&proxy, &format!("/{number}"));
        if line["retry_reasons"] == json!([]) {
            return false;
        }
        assert_eq!(line["retry_reasons"], json!(["connect"]), "{line}");
        assert_eq!(line["attempts"][1]["outcome"], "status", "{line}");
        assert_eq!(line["attempts"][1]["status"], 200, "{line}");
        true
    });
}

pub(crate) fn a_caller_that_goes_away() {
    let silent = Scripted::silent();
    let proxy = Proxy::start(&logging().replicas("echo", &[silent.address()]));
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET /gone HTTP/1.1\r\nhost: echo\r\n\r\n");
    eventually("it waits", || {
        !silent.requests().is_empty() || silent.connections() > 0
    });
    wire.reset();
    expect(
        &line_for(&proxy, "/gone"),
        &[("status", Value::Null), ("end", json!("caller"))],
    );
}

pub(crate) fn a_rotated_log_is_followed() {
    let echo = Echo::start("echo");
    let proxy = Proxy::start(&logging().replicas("echo", &[echo.address()]));
    let path = log_of(&proxy);
    let get = |n: usize| {
        assert_eq!(
            ask(&proxy, format!("GET /{n} HTTP/1.1\r\nhost: echo\r\n\r\n")).status(),
            200
        );
    };
    get(1);
    line_for(&proxy, "/1");
    let old = path.with_extension("old");
    std::fs::rename(&path, &old).expect("the folder is ours");
    eventually("there is a new file", || path.exists());
    get(2);
    line_for(&proxy, "/2");
    assert_eq!(lines(&old).len(), 1);
    assert_eq!(lines(&path).len(), 1);
}

pub(crate) fn the_last_lines_are_written_before_the_end() {
    let echo = Echo::start("echo");
    let mut proxy = Proxy::start(&logging().replicas("echo", &[echo.address()]));
    for n in 0..50 {
        assert_eq!(
            ask(&proxy, format!("GET /{n} HTTP/1.1\r\nhost: echo\r\n\r\n")).status(),
            200
        );
    }
    proxy.process().signal("TERM");
    assert_eq!(
        proxy.process().wait(std::time::Duration::from_secs(20)),
        Some(0)
    );
    assert_eq!(lines(&log_of(&proxy)).len(), 50);
}
