//! The context across hops: joined by trace id, stripped unless accepted.

use crate::support::{ask, get, kind, metric};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::Scripted;
use heddle_e2e::wire::Wire;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const TRACE: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
/// `/svc/leaf => /svc/leaf-v2`, as bytes of a structured field.
const OVERRIDE: &str = "heddle-dtab: /svc/leaf => /svc/leaf-v2\r\n";

/// A service that calls `leaf` by `through` and copies `traceparent` and nothing else. It answers
/// what the leaf answered.
fn middle(through: Arc<OnceLock<SocketAddr>>) -> Scripted {
    Scripted::start(move |mut guest| {
        while let Some(head) = guest.request_head() {
            let trace = head.get("traceparent").unwrap_or_default();
            let mut wire = Wire::connect(*through.get().expect("the proxy is up"));
            wire.send(get(
                "leaf",
                "/?delay=200",
                &format!("traceparent: {trace}\r\n"),
            ));
            let answer = wire.read_response();
            let body = answer.text();
            let status = answer.status();
            guest.wire.send(format!(
                "HTTP/1.1 {status} X\r\nheddle-seen: {}\r\ncontent-length: {}\r\n\r\n{body}",
                kind(&answer),
                body.len()
            ));
        }
    })
}

struct Mesh {
    _leaves: [Echo; 2],
    _service: Scripted,
    proxy: Proxy,
}

/// One host: an inbound listener in front of `middle`, and its outbound one.
fn mesh(overrides: &str) -> Mesh {
    let leaves = [Echo::start("leaf-v1"), Echo::start("leaf-v2")];
    let through = Arc::new(OnceLock::new());
    let service = middle(through.clone());
    let setup = Setup::new()
        .listener(
            "inbound",
            &format!(
                "mode: inbound\nforwardTo: {}\noverrides: {overrides}",
                service.address()
            ),
        )
        .replicas("leaf", &[leaves[0].address()])
        .replicas("leaf-v2", &[leaves[1].address()]);
    let proxy = Proxy::start(&setup);
    through.set(proxy.outbound()).expect("set once");
    Mesh {
        _leaves: leaves,
        _service: service,
        proxy,
    }
}

#[test]
fn an_override_reaches_the_second_hop_by_the_trace_id() {
    let mesh = mesh("accept");
    let inbound = mesh.proxy.address("inbound");
    let staged = ask(inbound, get("x", "/", &format!("{TRACE}{OVERRIDE}")));
    assert_eq!(staged.json()["server"], "leaf-v2");
    // Without the override, and after the request that had one, everything is as before.
    assert_eq!(
        ask(inbound, get("x", "/", TRACE)).json()["server"],
        "leaf-v1"
    );
    // A caller without a trace id is given one, so that the service has something to copy.
    assert_eq!(
        ask(inbound, get("x", "/", OVERRIDE)).json()["server"],
        "leaf-v2"
    );
}

#[test]
fn a_stranger_overrides_nothing() {
    let mesh = mesh("strip");
    let inbound = mesh.proxy.address("inbound");
    for lines in [
        format!("{TRACE}{OVERRIDE}"),
        format!("{TRACE}l5d-dtab: /svc/leaf => /svc/leaf-v2\r\n"),
        format!("{TRACE}heddle-context: dtab=:L3N2Yy9sZWFmID0+IC9zdmMvbGVhZi12Mg==:\r\n"),
    ] {
        assert_eq!(
            ask(inbound, get("x", "/", &lines)).json()["server"],
            "leaf-v1",
            "{lines}"
        );
        assert_eq!(
            ask(mesh.proxy.outbound(), get("leaf", "/", &lines)).json()["server"],
            "leaf-v1",
            "{lines}"
        );
    }
    assert!(metric(&mesh.proxy, "heddle_overrides_stripped_total", &[]) >= 6.0);
}

#[test]
fn a_deadline_reaches_the_second_hop() {
    let mesh = mesh("strip");
    let answer = ask(
        mesh.proxy.address("inbound"),
        get(
            "x",
            "/",
            &format!("{TRACE}heddle-context: deadline=100\r\n"),
        ),
    );
    // Either hop may notice first: the service's own call, or the request as a whole.
    let seen = answer
        .head
        .get("heddle-seen")
        .unwrap_or_else(|| kind(&answer));
    assert_eq!(seen, "deadline", "{answer:?}");
    assert_eq!(answer.status(), 504);
    std::thread::sleep(Duration::from_millis(250));
    let later = ask(mesh.proxy.address("inbound"), get("x", "/", TRACE));
    assert_eq!(later.status(), 200, "the deadline went with its request");
}

#[test]
fn the_context_goes_on_upstream() {
    let echo = Echo::start("a");
    let setup = Setup::new()
        .listener("outbound", "overrides: accept")
        .replicas("a", &[echo.address()]);
    let proxy = Proxy::start(&setup);
    let lines = "heddle-context: deadline=5000\r\nheddle-dtab: /svc/b => /svc/c\r\n";
    let report = ask(proxy.outbound(), get("a", "/", lines)).json();
    let headers = report["headers"].to_string();
    assert!(headers.contains("dtab=:L3N2Yy9iPT4vc3ZjL2M=:"), "{headers}");
    assert!(
        headers.contains("deadline=4") && headers.contains("retries=2"),
        "{headers}"
    );
    assert!(!headers.contains("heddle-dtab"), "{headers}");
}
