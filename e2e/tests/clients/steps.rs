//! What is right about the steps of `e2e/clients/README.md`, whichever client took them.

use crate::place::{NAME, direct};
use heddle_e2e::echo::{checksum, pattern};
use serde_json::Value;

/// What passing them shows.
pub(crate) const SHOWS: &str =
    "GET, POST with and without a length, HEAD, 3 MB answer, status, kept-alive, unknown name";

/// Fields that belong to one connection and must not have been passed on.
const HOP_BY_HOP: [&str; 6] = [
    "proxy-connection",
    "keep-alive",
    "upgrade",
    "http2-settings",
    "proxy-authorization",
    "connection",
];

/// Asserts everything about the steps of one client.
///
/// # Panics
///
/// When a step did not give what it should; the message names the step.
pub(crate) fn check(output: &str, version: &str) {
    let results: Value = serde_json::from_str(output)
        .unwrap_or_else(|error| panic!("{error} in what the client printed: {output}"));
    for step in ["get", "post", "stream", "large", "head"] {
        assert_eq!(results[step]["status"], 200, "{step}: {}", results[step]);
        assert_eq!(
            results[step]["error"],
            Value::Null,
            "{step}: {}",
            results[step]
        );
    }
    check_get(&results["get"]["report"], version);
    check_body(&results["post"]["report"], "POST", 1 << 20);
    check_body(&results["stream"]["report"], "POST", 300_000);
    assert_eq!(
        results["status"]["status"], 404,
        "status: {}",
        results["status"]
    );
    assert_eq!(
        results["status"]["error"],
        Value::Null,
        "the server's 404 is not the proxy's"
    );
    assert_eq!(results["large"]["bytes"], 3_000_000, "large");
    assert_eq!(results["head"]["bytes"], 0, "head");
    assert_eq!(results["repeat"]["ok"], 20, "repeat");
    if !direct() {
        check_unknown(&results["unknown"]);
    }
}

fn check_get(report: &Value, version: &str) {
    assert_eq!(report["method"], "GET");
    assert_eq!(report["target"], "/hello?x=1");
    assert_eq!(
        report["version"], version,
        "what the server was spoken to in"
    );
    let host = report["authority"]
        .as_str()
        .or_else(|| field(report, "host"))
        .unwrap_or_default();
    assert_eq!(host.trim_end_matches(":80"), NAME, "{report}");
    if direct() {
        return;
    }
    for name in HOP_BY_HOP {
        assert_eq!(field(report, name), None, "{name} was passed on: {report}");
    }
    assert!(field(report, "via").is_some(), "no Via: {report}");
    assert_eq!(
        field(report, "x-forwarded-for"),
        Some("127.0.0.1"),
        "{report}"
    );
}

fn check_body(report: &Value, method: &str, length: usize) {
    assert_eq!(report["method"], method);
    assert_eq!(report["bodyBytes"], length, "{report}");
    assert_eq!(
        report["bodySum"],
        checksum(0, &pattern(0, length)),
        "the body was altered: {report}"
    );
}

fn check_unknown(result: &Value) {
    assert_eq!(result["status"], 404, "unknown: {result}");
    let error = result["error"].as_str().unwrap_or_default();
    // Of a refused CONNECT some clients show the status alone.
    assert!(
        error.starts_with("no-such-name") || error == "refused tunnel",
        "unknown: {result}"
    );
}

/// The first value of a header field that the server reported.
pub(crate) fn field<'r>(report: &'r Value, name: &str) -> Option<&'r str> {
    let fields = report["headers"].as_array()?;
    fields.iter().find(|pair| pair[0] == name)?[1].as_str()
}
