//! Callers that read or write slowly, or not at all.

use crate::support::{GET, ask, served};
use bytes::Bytes;
use h2::Reason;
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, until, within};
use heddle_e2e::streams::{Call, StreamClient, StreamServer, Then, get};
use heddle_e2e::wire::Wire;
use http::{Request, Response};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const MIB: usize = 1024 * 1024;
/// What the source would send if anybody read it.
const WHOLE: usize = 256 * MIB;
/// What may lie between a source and a caller who reads nothing: the kernel's buffers of four sockets, mostly.
const BETWEEN: usize = 24 * MIB;
/// What the proxy may grow by meanwhile.
const GROWTH: usize = 16 * MIB;
const STALLED: &str = "heddle_stalled_total{listener=\"outbound\",side=\"response\"}";
const EJECTED: &str = "heddle_ejections_total{replica_set=\"/#/static/echo\"}";
const LIMITS: &str = "limits: {writeTimeout: 2s, bodyTimeout: 2s}";

/// A server that answers with a large body as fast as it is taken, and counts what it could write.
struct Source {
    server: Scripted,
    written: Arc<AtomicUsize>,
    /// Answers that ended, in whatever way.
    ended: Arc<AtomicUsize>,
}

impl Source {
    fn start() -> Self {
        let (written, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (count, over) = (written.clone(), ended.clone());
        let server = Scripted::start(move |mut guest| {
            while guest.request_head().is_some() {
                guest.wire.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {WHOLE}\r\n\r\n"
                ));
                let piece = vec![7; 64 * 1024];
                for _ in 0..WHOLE / piece.len() {
                    if !guest.wire.try_send(&piece) {
                        break;
                    }
                    count.fetch_add(piece.len(), SeqCst);
                }
                over.fetch_add(1, SeqCst);
            }
        });
        Self {
            server,
            written,
            ended,
        }
    }
}

fn in_front_of(backend: SocketAddr) -> Proxy {
    Proxy::start(
        &Setup::new()
            .listener("outbound", LIMITS)
            .replicas("echo", &[backend]),
    )
}

#[test]
fn an_http1_caller_that_does_not_read_is_closed_and_its_service_not_blamed() {
    let source = Source::start();
    let proxy = in_front_of(source.server.address());
    let before = proxy.resident();
    // More than the failures in a row that would eject the endpoint.
    let count = 8;
    let readers: Vec<_> = (0..count)
        .map(|_| {
            let mut wire = Wire::connect(proxy.outbound());
            wire.send(GET);
            assert_eq!(wire.read_head().status(), 200);
            wire
        })
        .collect();
    within(Duration::from_secs(20), "all are given up", || {
        proxy.metric(STALLED) == f64::from(count) && source.ended.load(SeqCst) == count as usize
    });
    let written = source.written.load(SeqCst);
    assert!(
        written < count as usize * BETWEEN,
        "read ahead {written} bytes"
    );
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < GROWTH, "grew by {grown} bytes");
    assert!(proxy.metric(EJECTED) == 0.0);
    drop(readers);
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(GET);
    assert_eq!(wire.read_head().status(), 200, "the endpoint is in use");
}

#[test]
fn an_http1_caller_that_reads_slowly_gets_all_of_it() {
    let echo = Echo::start("echo");
    let proxy = in_front_of(echo.address());
    let bytes = 12 * MIB;
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!(
        "GET /?bytes={bytes}&length=1 HTTP/1.1\r\nhost: echo\r\n\r\n"
    ));
    assert_eq!(wire.read_head().status(), 200);
    let mut left = bytes;
    let started = Instant::now();
    let mut piece = vec![0; 256 * 1024];
    // What came with the head is in the wire's own buffer; the rest is read by hand, for longer than the time-out.
    while started.elapsed() < Duration::from_secs(4) {
        let read = wire.stream().read(&mut piece).expect("bytes come");
        assert!(read > 0, "closed with {left} bytes left");
        left = left.saturating_sub(read);
        std::thread::sleep(Duration::from_millis(100));
    }
    while wire.stream().read(&mut piece).is_ok_and(|read| read > 0) && left > 64 * 1024 {
        left = left.saturating_sub(piece.len());
    }
    assert!(proxy.metric(STALLED) == 0.0);
}

/// A client whose streams and connection have so much room.
async fn client(address: SocketAddr, stream: u32, connection: u32) -> StreamClient {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(stream)
        .initial_connection_window_size(connection);
    StreamClient::connect_by(&builder, address).await.0
}

fn large() -> Request<()> {
    get("http://echo/?bytes=20000000")
}

#[tokio::test]
async fn an_http2_stream_that_is_not_read_is_reset_and_the_others_go_on() {
    let echo = Echo::start("echo");
    let proxy = in_front_of(echo.address());
    let client = client(proxy.outbound(), 65_535, 1 << 20).await;
    // Nothing is read of these, so that their windows shut.
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let (response, _) = client.open(large(), true).await.expect("a stream");
        let response = response.await.expect("a head");
        assert_eq!(response.status(), 200);
        stalled.push(response.into_body());
    }
    for _ in 0..20 {
        let answer = client.get("http://echo/").await.expect("the others go on");
        assert_eq!(answer.status(), 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for body in &mut stalled {
        let mut taken = 0;
        let error = loop {
            match tokio::time::timeout(Duration::from_secs(15), body.data()).await {
                Ok(Some(Ok(piece))) => taken += piece.len(),
                Ok(Some(Err(error))) => break error,
                other => panic!("{other:?} after {taken} bytes"),
            }
        };
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
        assert!(taken <= 65_535, "no more than there was room for");
    }
    until("all are counted", || proxy.metric(STALLED) == 6.0).await;
    until("the service is told", || echo.open() == 0).await;
    let answer = client
        .get("http://echo/")
        .await
        .expect("the same connection");
    assert_eq!(answer.status(), 200);
    assert!(proxy.metric(EJECTED) == 0.0, "no endpoint pays for it");
}

#[tokio::test]
async fn a_small_answer_that_is_not_read_is_reset_as_well() {
    let echo = Echo::start("echo");
    let proxy = in_front_of(echo.address());
    // The whole answer fits into what is kept for the stream: nothing of it but the first byte can be sent.
    let client = client(proxy.outbound(), 1, 1 << 20).await;
    let (response, _) = client
        .open(get("http://echo/?bytes=5000&length=1"), true)
        .await
        .expect("a stream");
    let mut body = response.await.expect("a head").into_body();
    let first = body.data().await.expect("a byte").expect("a byte");
    assert_eq!(first.len(), 1);
    let ended = tokio::time::timeout(Duration::from_secs(15), body.data()).await;
    let error = ended
        .expect("in time")
        .expect("no end")
        .expect_err("no byte");
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    until("it is counted", || proxy.metric(STALLED) == 1.0).await;
}

#[tokio::test]
async fn an_http2_connection_without_room_is_ended() {
    let echo = Echo::start("echo");
    let proxy = in_front_of(echo.address());
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20);
    let (client, connection) = StreamClient::connect_by(&builder, proxy.outbound()).await;
    let (response, _) = client.open(large(), true).await.expect("a stream");
    let _unread = response.await.expect("a head");
    let ended = tokio::time::timeout(Duration::from_secs(15), connection).await;
    let error = ended
        .expect("in time")
        .expect("no panic")
        .expect_err("a reason");
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    assert_eq!(
        served(proxy.outbound()).stream().peer_addr().ok(),
        Some(proxy.outbound())
    );
}

#[tokio::test]
async fn a_quiet_stream_is_not_a_stalled_one() {
    let server = StreamServer::start(|mut call: Call| async move {
        let mut stream = call
            .respond
            .send_response(Response::new(()), false)
            .expect("the stream is open");
        stream
            .send_data(Bytes::from_static(b"a"), false)
            .expect("open");
        tokio::time::sleep(Duration::from_secs(5)).await;
        stream
            .send_data(Bytes::from_static(b"b"), true)
            .expect("still open");
        Then::Stay
    })
    .await;
    let proxy = in_front_of(server.address());
    let (client, _) = StreamClient::connect(proxy.outbound()).await;
    let answer = client.get("http://echo/").await.expect("an answer");
    assert_eq!(answer.body, b"ab");
    assert!(proxy.metric(STALLED) == 0.0);
}

#[tokio::test]
async fn an_http2_upload_that_stands_still_is_reset_and_a_slow_one_is_not() {
    let echo = Echo::start("echo");
    let proxy = in_front_of(echo.address());
    let (client, _) = StreamClient::connect(proxy.outbound()).await;
    let post = || {
        Request::post("http://echo/")
            .body(())
            .expect("a valid request")
    };
    let (answer, mut slow) = client.open(post(), false).await.expect("a stream");
    let (refusal, mut still) = client.open(post(), false).await.expect("a stream");
    still
        .send_data(Bytes::from_static(b"half of"), false)
        .expect("open");
    for _ in 0..8 {
        slow.send_data(Bytes::from_static(b"piece"), false)
            .expect("open");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    slow.send_data(Bytes::new(), true).expect("open");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    let ended = tokio::time::timeout(Duration::from_secs(15), refusal).await;
    assert!(ended.expect("in time").is_err(), "reset");
    until("it is counted", || {
        proxy.metric("heddle_stalled_total{listener=\"outbound\",side=\"request\"}") == 1.0
    })
    .await;
    assert!(proxy.metric(EJECTED) == 0.0);
    let mut wire = Wire::connect(proxy.outbound());
    assert_eq!(ask(&mut wire, GET).status(), 200);
}
