//! Ten thousand connections that say nothing.

use crate::support::{GET, ask, crowd, is_served, served};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const MANY: usize = 10_000;
/// One of these at a time: the descriptors of this very process would run out.
static ALONE: Mutex<()> = Mutex::new(());
const KIB: usize = 1024;
/// How long everything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const OPEN: &str = "heddle_connections_open{listener=\"outbound\"}";
/// What a client says first over HTTP/2: the preface, and settings that are empty.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Many connections, on each of which `first` was said and something came back.
fn many(proxy: &Proxy, first: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    let mut answer = [0; 4096];
    // In batches: of 128 that connect at once the echo server would lose some, and be ejected for it.
    while streams.len() < MANY {
        let mut batch = crowd(proxy.outbound(), 100);
        for stream in &mut batch {
            stream
                .write_all(first)
                .expect("a new connection takes bytes");
        }
        for stream in &mut batch {
            stream
                .set_read_timeout(Some(PATIENCE))
                .expect("the time is not zero");
            let read = stream.read(&mut answer).expect("an answer");
            assert!(read > 0, "connection {} was closed", streams.len());
        }
        streams.extend(batch);
    }
    streams
}

/// Whether the proxy has closed a connection; what it said before is read.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream
        .set_nonblocking(true)
        .expect("a socket takes options");
    let mut waste = [0; 4096];
    loop {
        match stream.read(&mut waste) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// What the proxy uses for each of so many connections more, and how it is rid of them.
fn held_and_closed(first: &[u8], most: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let echo = Echo::start("echo");
    // However long it takes to open them all, none is closed meanwhile; then the time-out is set.
    let setup = |idle: &str| {
        Setup::new()
            .listener(
                "outbound",
                &format!("limits: {{idle: {idle}, connections: 10100}}"),
            )
            .replicas("echo", &[echo.address()])
    };
    let proxy = Proxy::start(&setup("10m"));
    let mut active = served(proxy.outbound());
    let before = proxy.resident();
    let mut peaks = Vec::new();
    for _ in 0..2 {
        let mut idle = many(&proxy, first);
        assert!(proxy.metric(OPEN) >= 9_900.0, "most are open");
        peaks.push(proxy.resident().saturating_sub(before) / MANY);
        for _ in 0..20 {
            assert_eq!(ask(&mut active, GET).status(), 200);
            assert!(is_served(proxy.outbound()), "beside them");
        }
        proxy.rewrite(&setup("5s"));
        within(PATIENCE, "the idle time-out closes them all", || {
            // Not to be idle itself.
            assert_eq!(ask(&mut active, GET).status(), 200);
            std::thread::sleep(Duration::from_millis(200));
            idle.retain_mut(|stream| !is_closed(stream));
            idle.is_empty()
        });
        within(PATIENCE, "they are counted as closed", || {
            proxy.metric(OPEN) <= 3.0
        });
        assert!(proxy.descriptors() < 200, "descriptors are given back");
        let generation = proxy.metric("heddle_config_generation");
        proxy.rewrite(&setup("10m"));
        within(PATIENCE, "the time-out is long again", || {
            proxy.metric("heddle_config_generation") > generation
        });
    }
    let [first, second] = peaks[..] else {
        panic!("two rounds");
    };
    assert!(first < most, "{first} bytes for each connection");
    // What the first ones had is used again.
    assert!(second < first + first / 4, "{first} bytes, then {second}");
}

#[test]
fn of_http1() {
    held_and_closed(GET.as_bytes(), 32 * KIB);
}

#[test]
fn of_http2() {
    held_and_closed(HELLO, 48 * KIB);
}

#[test]
fn more_than_a_listener_allows_are_refused_and_counted() {
    let echo = Echo::start("echo");
    let setup = Setup::new()
        .listener("outbound", "limits: {connections: 100}")
        .replicas("echo", &[echo.address()]);
    let proxy = Proxy::start(&setup);
    let mut active = served(proxy.outbound());
    let mut crowd = crowd(proxy.outbound(), 150);
    within(PATIENCE, "those beyond are closed", || {
        crowd
            .iter_mut()
            .filter_map(|stream| is_closed(stream).then_some(()))
            .count()
            >= 51
    });
    let refused = "heddle_refused_total{listener=\"outbound\",reason=\"too-many-connections\"}";
    assert_eq!(proxy.metric(refused), 51.0);
    assert_eq!(ask(&mut active, GET).status(), 200);
    drop(crowd);
    within(PATIENCE, "there is room again", || {
        is_served(proxy.outbound())
    });
}
