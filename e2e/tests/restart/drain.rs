//! What a drain does to connections of each kind.

use crate::Case;
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::wire::Wire;
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[Case(
    "drain::idle_connections_are_told_with_their_next_answer",
    &[],
    idle_connections_are_told_with_their_next_answer,
)];

const GET: &str = "GET / HTTP/1.1\r\nhost: ledger\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(30);

fn close() -> Option<String> {
    Some("close".to_owned())
}

fn idle_connections_are_told_with_their_next_answer() {
    let echo = Echo::start("one");
    let setup = Setup::new()
        .top("drain: 3s")
        .replicas("ledger", &[echo.address()]);
    let mut proxy = Proxy::start(&setup);
    let (mut used, mut idle) = (
        Wire::connect(proxy.outbound()),
        Wire::connect(proxy.outbound()),
    );
    for wire in [&mut used, &mut idle] {
        wire.send(GET);
        assert_eq!(wire.read_response().head.get("connection"), None);
    }
    let mut busy = Wire::connect(proxy.outbound());
    busy.send("POST /?delay=1000 HTTP/1.1\r\nhost: ledger\r\ncontent-length: 2\r\n\r\nhi");
    heddle_e2e::script::within(PATIENCE, "the request arrives", || echo.open() == 1);
    proxy.process().signal("TERM");
    proxy.wait_for_log("draining");
    assert_eq!(proxy.ask_admin("/ready").status(), 503);
    used.send("POST / HTTP/1.1\r\nhost: ledger\r\ncontent-length: 2\r\n\r\nhi");
    let last = used.read_response();
    assert_eq!((last.status(), last.head.get("connection")), (200, close()));
    used.expect_end();
    let last = busy.read_response();
    assert_eq!((last.status(), last.head.get("connection")), (200, close()));
    // Connections that come late are served as well, once.
    let mut late = Wire::connect(proxy.outbound());
    late.send(GET);
    assert_eq!(late.read_response().head.get("connection"), close());
    idle.expect_end();
    assert_eq!(proxy.process().wait(PATIENCE), Some(0));
}
