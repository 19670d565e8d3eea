//! Upgrades and CONNECT: bytes flow freely only after the other side has agreed.

use crate::support::{GET, NAME, get, in_front_of};
use heddle_e2e::echo::Echo;
use heddle_e2e::script::Scripted;
use heddle_e2e::wire::{Ending, Wire};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: echo\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn bytes_flow_both_ways_after_an_upgrade() {
    let server = Scripted::start(|mut guest| {
        let head = guest.request_head().expect("a request comes");
        assert_eq!(head.get("upgrade").as_deref(), Some("websocket"));
        assert!(
            head.get("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
        );
        // The first bytes of the new protocol in one piece with the head.
        guest.wire.send(format!("{SWITCHED}welcome"));
        let said = guest.wire.read_exactly(5);
        guest.wire.send(said);
        let (rest, _) = guest.wire.read_to_end();
        guest.wire.send(rest.len().to_string());
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(UPGRADE);
    let head = wire.read_head();
    assert_eq!(head.status(), 101);
    assert_eq!(head.get("upgrade").as_deref(), Some("websocket"));
    assert_eq!(
        head.get("sec-websocket-accept").as_deref(),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(wire.read_exactly(7), b"welcome");
    wire.send("hello");
    assert_eq!(wire.read_exactly(5), b"hello");
    wire.send(vec![0; 100_000]);
    wire.finish();
    let (rest, ending) = wire.read_to_end();
    assert_eq!(
        (rest, ending),
        (b"100000".to_vec(), Ending::Closed),
        "what comes after our half is finished"
    );
}

#[test]
fn what_is_sent_along_with_an_upgrade_arrives_after_it() {
    let server = Scripted::start(|mut guest| {
        guest.request_head();
        guest.wire.send(SWITCHED);
        let said = guest.wire.read_exactly(5);
        guest.wire.send(said);
        guest.hold();
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!("{UPGRADE}early"));
    assert_eq!(wire.read_head().status(), 101);
    assert_eq!(wire.read_exactly(5), b"early");
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer() {
    let server = Scripted::start(|mut guest| {
        while let Some(head) = guest.request_head() {
            let status = if head.get("upgrade").is_some() {
                "403 Forbidden"
            } else {
                "200 OK"
            };
            guest
                .wire
                .send(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno"));
        }
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(UPGRADE);
    assert_eq!(wire.read_response().status(), 403);
    wire.send(GET);
    assert_eq!(
        wire.read_response().status(),
        200,
        "the connection goes on as before"
    );
}

#[test]
fn a_request_behind_a_refused_upgrade_is_read_as_a_request() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!("{UPGRADE}{}", get("/second")));
    assert_eq!(wire.read_response().json()["target"], "/chat");
    assert_eq!(wire.read_response().json()["target"], "/second");
}

#[test]
fn an_upgrade_to_h2c_is_not_taken() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(
        "GET / HTTP/1.1\r\nhost: echo\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n",
    );
    wire.send("http2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n");
    let answer = wire.read_response();
    assert_eq!(answer.status(), 200);
    let report = answer.json();
    let fields = report["headers"].as_array().expect("a list");
    assert!(
        !fields
            .iter()
            .any(|pair| pair[0] == "upgrade" || pair[0] == "http2-settings"),
        "{report}"
    );
}

#[test]
fn connect_leads_to_a_name_that_is_known() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    for target in ["echo:80", "echo:443"] {
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(format!(
            "CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n"
        ));
        let head = wire.read_head();
        assert_eq!(head.status(), 200, "{head:?}");
        assert_eq!(
            (head.get("content-length"), head.get("transfer-encoding")),
            (None, None)
        );
        wire.send(get("/inside"));
        assert_eq!(wire.read_response().json()["target"], "/inside");
    }
}

#[test]
fn connect_leads_nowhere_else() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let address = echo.address().to_string();
    let by_name = format!("localhost:{}", echo.address().port());
    for target in [
        &*address,
        &*by_name,
        "stranger:80",
        "[::1]:80",
        "169.254.169.254:80",
        "$:80",
        "#:80",
    ] {
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(format!(
            "CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n"
        ));
        let head = wire.read_head();
        assert!((400..500).contains(&head.status()), "{target}: {head:?}");
    }
    assert_eq!(echo.connections(), 0, "nothing connected");
}
