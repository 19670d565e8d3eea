//! Bytes that are no HTTP: detected, or declared.

use crate::support::NAME;
use heddle_e2e::echo::{Echo, pattern};
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::wire::{Ending, Wire};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Sends back what comes until its peer has finished, then says goodbye.
fn echoes() -> Scripted {
    Scripted::start(|mut guest| {
        let (said, _) = guest.wire.read_to_end();
        guest.wire.send(said);
        guest.wire.send("goodbye");
    })
}

/// Speaks first, as mail and database servers do, then echoes five bytes.
fn greets() -> Scripted {
    Scripted::start(|mut guest| {
        guest.wire.send("220 welcome\r\n");
        let said = guest.wire.read_exactly(5);
        guest.wire.send(said);
    })
}

fn inbound(extra: &str, backend: SocketAddr) -> Proxy {
    let listener = format!("mode: inbound\nforwardTo: {backend}\n{extra}");
    Proxy::start(&Setup::default().listener("inbound", &listener))
}

fn named(backend: SocketAddr) -> Proxy {
    let listener = format!("mode: tcp\nto: {NAME}");
    Proxy::start(
        &Setup::default()
            .listener("inbound", &listener)
            .replicas(NAME, &[backend]),
    )
}

#[test]
fn opaque_bytes_pass_whole_in_both_directions() {
    let server = echoes();
    let cases = [
        ("detected", inbound("", server.address())),
        ("declared", inbound("protocol: tcp", server.address())),
        ("by name", named(server.address())),
    ];
    for (case, proxy) in cases {
        let mut wire = Wire::connect(proxy.address("inbound"));
        let mut said = vec![0, 1, 2, 255];
        said.extend(pattern(0, 300_000));
        wire.send(&said);
        wire.finish();
        let (heard, ending) = wire.read_to_end();
        said.extend(b"goodbye");
        assert!(
            heard == said,
            "{case}: {} bytes of {} came back",
            heard.len(),
            said.len()
        );
        assert_eq!(ending, Ending::Closed, "{case}");
    }
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let server = greets();
    let detecting = inbound("limits: {detectTimeout: 300ms}", server.address());
    for (case, proxy, at_least) in [
        ("declared", inbound("protocol: tcp", server.address()), 0),
        ("by name", named(server.address()), 0),
        ("after the time for detection", detecting, 250),
    ] {
        let started = Instant::now();
        let mut wire = Wire::connect(proxy.address("inbound"));
        assert_eq!(wire.read_line(), "220 welcome", "{case}");
        let waited = started.elapsed();
        assert!(
            waited >= Duration::from_millis(at_least),
            "{case}: {waited:?}"
        );
        assert!(
            waited < Duration::from_millis(at_least + 2000),
            "{case}: {waited:?}"
        );
        wire.send("hello");
        assert_eq!(wire.read_exactly(5), b"hello", "{case}");
    }
}

#[test]
fn a_server_may_finish_its_half_first() {
    let server = Scripted::start(|mut guest| {
        guest.wire.send("all I have");
        guest.wire.finish();
        let (said, _) = guest.wire.read_to_end();
        guest.record_text(&String::from_utf8_lossy(&said));
    });
    let proxy = named(server.address());
    let mut wire = Wire::connect(proxy.address("inbound"));
    let (heard, ending) = wire.read_to_end();
    assert_eq!((heard, ending), (b"all I have".to_vec(), Ending::Closed));
    wire.send("still here");
    wire.finish();
    eventually("the server hears the rest", || {
        server.texts() == ["still here"]
    });
}

#[test]
fn a_reset_travels() {
    let server = Scripted::start(|mut guest| {
        guest.wire.read_exactly(5);
        guest.wire.reset();
    });
    let proxy = named(server.address());
    let mut wire = Wire::connect(proxy.address("inbound"));
    wire.send("hello");
    assert_ne!(wire.expect_end(), Ending::Open);

    let server = Scripted::start(|mut guest| {
        let (_, ending) = guest.wire.read_to_end();
        guest.record_text(&format!("{ending:?}"));
    });
    let proxy = named(server.address());
    let mut wire = Wire::connect(proxy.address("inbound"));
    wire.send("hello");
    eventually("the server is connected to", || server.connections() == 1);
    std::thread::sleep(Duration::from_millis(50));
    wire.reset();
    eventually("the server sees the end", || server.texts().len() == 1);
    assert_ne!(server.texts(), ["Open"]);
}

#[test]
fn one_port_takes_http_and_bytes() {
    let echo = Echo::start(NAME);
    let proxy = inbound("", echo.address());
    let mut wire = Wire::connect(proxy.address("inbound"));
    // Byte by byte: a decision must wait for enough of them, not for a whole head.
    let request = "GET /x HTTP/1.1\r\nhost: whatever\r\n\r\n";
    wire.dribble(request, 1, Duration::from_millis(2));
    assert_eq!(wire.read_response().json()["target"], "/x");
    let mut wire = Wire::connect(proxy.address("inbound"));
    wire.send("\u{1}\u{2}\u{3}no http\r\n\r\n");
    // The server itself complains: the bytes reached it as they were.
    let (heard, _) = wire.read_to_end();
    assert!(
        String::from_utf8_lossy(&heard).starts_with("HTTP/1.1 400"),
        "{heard:?}"
    );
}

#[test]
fn a_connection_to_nobody_ends() {
    let proxy = named("127.0.0.1:1".parse().expect("an address"));
    let mut wire = Wire::connect(proxy.address("inbound"));
    wire.try_send("hello");
    assert_ne!(wire.expect_end(), Ending::Open);
}

#[test]
fn a_listener_for_http_refuses_bytes() {
    let server = echoes();
    let proxy = inbound("protocol: http", server.address());
    let mut wire = Wire::connect(proxy.address("inbound"));
    wire.send("\u{1}\u{2}\u{3}\r\n\r\n");
    let (heard, ending) = wire.read_to_end();
    assert_ne!(ending, Ending::Open);
    assert!(
        heard.is_empty() || heard.starts_with(b"HTTP/1.1 400"),
        "{heard:?}"
    );
    assert_eq!(server.connections(), 0);
}
