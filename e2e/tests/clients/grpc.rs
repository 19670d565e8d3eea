//! gRPC in its four kinds, through two proxies in a row.

use crate::Row;
use crate::place::{NAME, Place, direct, without_exceptions, without_proxy};
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::{Running, succeed};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const CASES: &str = "unary, server, client and bidirectional streaming; metadata, trailers, status, 3 MiB, gzip, \
                     deadline, cancellation, unknown name";

pub(crate) const ROWS: &[Row] = &[
    row(
        "grpcio",
        "`:authority`, two proxies in a row",
        &[Need::Grpcio],
        || grpcio("host", None),
    ),
    row(
        "grpcio",
        "`grpc_proxy` with CONNECT, two proxies in a row",
        &[Need::Grpcio],
        || {
            grpcio("proxy", Some("grpc_proxy"));
        },
    ),
    row(
        "grpcio",
        "`http_proxy` with CONNECT, two proxies in a row",
        &[Need::Grpcio],
        || {
            grpcio("proxy", Some("http_proxy"));
        },
    ),
    Row {
        client: "grpcio",
        way: "`grpc_proxy` with CONNECT to an address",
        shows: "refused: only names that are known",
        needs: &[Need::Grpcio],
        run: connect_to_an_address,
    },
    row(
        "grpc-go",
        "`:authority`, two proxies in a row",
        &[Need::GrpcGo, Need::Grpcio],
        || grpc_go("host", None),
    ),
    row(
        "grpc-go",
        "`HTTPS_PROXY` with CONNECT, two proxies in a row",
        &[Need::GrpcGo, Need::Grpcio],
        || {
            grpc_go("proxy", Some("HTTPS_PROXY"));
        },
    ),
    row(
        "grpc-js",
        "`:authority`, two proxies in a row",
        &[Need::GrpcJs, Need::Grpcio],
        || grpc_js("host", None),
    ),
    row(
        "grpc-js",
        "`http_proxy` with CONNECT, two proxies in a row",
        &[Need::GrpcJs, Need::Grpcio],
        || {
            grpc_js("proxy", Some("http_proxy"));
        },
    ),
];

const fn row(client: &'static str, way: &'static str, needs: &'static [Need], run: fn()) -> Row {
    Row {
        client,
        way,
        shows: CASES,
        needs,
        run,
    }
}

fn grpcio(how: &str, variable: Option<&str>) {
    let mut command = Need::Grpcio.command();
    command.arg(clients("python").join("grpc_client.py"));
    run_cases(command, how, variable);
}

fn grpc_go(how: &str, variable: Option<&str>) {
    let mut command = Need::GrpcGo.command();
    command.arg("grpc");
    run_cases(command, how, variable);
}

fn grpc_js(how: &str, variable: Option<&str>) {
    let mut command = Need::GrpcJs.command();
    command.arg(clients("node").join("grpc_client.mjs"));
    run_cases(command, how, variable);
}

/// Starts the server in Python, and gives its address.
pub(crate) fn serve() -> (Running, SocketAddr) {
    let mut command = Need::Grpcio.command();
    let mut server = Running::start(command.arg(clients("python").join("grpc_server.py")));
    let address = server.wait_for_line("listening on ", Duration::from_secs(20));
    (
        server,
        address.parse().expect("the server prints its address"),
    )
}

fn run_cases(mut command: Command, how: &str, variable: Option<&str>) {
    if direct() && variable.is_some() {
        return;
    }
    let (_server, address) = serve();
    let place = Place::behind(2, address);
    without_proxy(&mut command);
    let target = match variable {
        Some(variable) => {
            without_exceptions(&mut command);
            command.env(variable, format!("http://{}", place.address));
            format!("{NAME}:80")
        }
        None => place.address.to_string(),
    };
    let output = succeed(command.args([how, &target, NAME]), LIMIT);
    check_all(&output, variable.is_some());
}

/// Checks what a client prints of all cases.
pub(crate) fn check_all(output: &str, by_connect: bool) {
    let results: Value =
        serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"));
    check(&results);
    if !direct() {
        check_unknown(&results["unknown"], by_connect);
    }
}

/// The tunnel that grpcio asks for leads to no address, not even to one that an endpoint has.
fn connect_to_an_address() {
    if direct() {
        return;
    }
    let echo = Echo::start(NAME);
    let place = Place::behind(1, echo.address());
    let mut command = Need::Grpcio.command();
    without_proxy(&mut command);
    without_exceptions(&mut command);
    command.env("grpc_proxy", format!("http://{}", place.address));
    command.arg(clients("python").join("grpc_client.py"));
    let output = succeed(
        command.args(["refused", &echo.address().to_string(), ""]),
        LIMIT,
    );
    let result: Value =
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
    assert_eq!(result["code"], UNAVAILABLE, "{result}");
    let details = result["details"].as_str().unwrap_or_default();
    assert!(
        details.contains("proxy returned response code 4"),
        "{result}"
    );
    assert_eq!(echo.connections(), 0, "nothing connected");
}

/// gRPC's status codes.
const OK: i64 = 0;
const CANCELLED: i64 = 1;
const DEADLINE_EXCEEDED: i64 = 4;
const FAILED_PRECONDITION: i64 = 9;
const UNIMPLEMENTED: i64 = 12;
const UNAVAILABLE: i64 = 14;

fn check(results: &Value) {
    let unary = json!({"code": OK, "reply": "hello", "initial": "why", "trailing": "why", "binary": [0, 255, 10]});
    has(results, "unary", &unary);
    has(results, "large", &json!({"code": OK, "bytes": 3 << 20}));
    if results.get("gzip").is_some() {
        has(results, "gzip", &json!({"code": OK, "bytes": 100_000}));
    }
    has(
        results,
        "download",
        &json!({"code": OK, "messages": 1000, "ordered": true, "trailing": "down"}),
    );
    has(
        results,
        "upload",
        &json!({"code": OK, "reply": "500 messages, 500000 bytes"}),
    );
    has(
        results,
        "chat",
        &json!({"code": OK, "messages": 200, "ordered": true}),
    );
    let details = "not so: 100 % über\n";
    has(
        results,
        "fail",
        &json!({"code": FAILED_PRECONDITION, "details": details, "trailing": "failed"}),
    );
    has(results, "unimplemented", &json!({"code": UNIMPLEMENTED}));
    has(results, "deadline", &json!({"code": DEADLINE_EXCEEDED}));
    has(results, "cancel", &json!({"code": CANCELLED, "heard": 1}));
    let waited = results["deadline"]["seconds"]
        .as_f64()
        .expect("seconds are a number");
    assert!(
        (0.3..2.0).contains(&waited),
        "a deadline of 0.4 s ended after {waited} s"
    );
    check_look(&results["look"]);
}

/// What the server saw of a call: both values of a repeated key, and the deadline of ten seconds.
fn check_look(look: &Value) {
    assert_eq!(look["code"], OK, "look: {look}");
    let metadata = look["report"]["metadata"]
        .as_array()
        .expect("metadata is a list");
    let asked: Vec<_> = metadata
        .iter()
        .filter(|pair| pair[0] == "x-ask")
        .filter_map(|pair| pair[1].as_str())
        .collect();
    assert_eq!(asked.join(",").replace(' ', ""), "a,b", "look: {look}");
    let left = look["report"]["seconds"]
        .as_f64()
        .expect("the deadline arrived");
    assert!(
        (5.0..10.2).contains(&left),
        "of ten seconds the server saw {left}"
    );
}

fn check_unknown(result: &Value, connect: bool) {
    if connect {
        // The CONNECT was refused: for gRPC the server cannot be reached.
        assert_eq!(result["code"], UNAVAILABLE, "unknown: {result}");
    } else {
        assert_eq!(result["code"], UNIMPLEMENTED, "unknown: {result}");
        let error = result["error"].as_str().unwrap_or_default();
        assert!(error.starts_with("no-such-name"), "unknown: {result}");
    }
}

fn has(results: &Value, case: &str, expected: &Value) {
    for (key, value) in expected.as_object().expect("an object is expected") {
        assert_eq!(
            &results[case][key], value,
            "{case}.{key}: {}",
            results[case]
        );
    }
}
