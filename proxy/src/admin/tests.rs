//! The admin server over real sockets.

use super::*;
use crate::explain::Offline;
use crate::view::EndpointView;
use heddle_core::finding::Severity;
use heddle_core::status::Status;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const YAML: &str = "
namespace: bank
discovery: {static: {accounts: [127.0.0.1:9001]}}
";

/// A proxy that is whatever the test says.
struct Fake {
    metrics: Arc<Metrics>,
    config: Arc<ProxyConfig>,
    ready: Mutex<Result<(), String>>,
    refused: Mutex<Option<Refused>>,
    drains: AtomicUsize,
}

impl Running for Fake {
    fn ready(&self) -> Result<(), String> {
        self.ready.lock().unwrap().clone()
    }

    fn config(&self) -> ConfigView {
        ConfigView {
            generation: 3,
            applied: SystemTime::now(),
            config: Arc::clone(&self.config),
            warnings: Vec::new(),
            refused: self.refused.lock().unwrap().clone(),
        }
    }

    fn refresh_gauges(&self) {
        self.metrics.discovery().replica_sets.set(77);
    }

    fn clusters(&self) -> Vec<SetView> {
        vec![set()]
    }

    fn cluster(&self, id: &Path) -> Option<SetView> {
        (id.to_string() == set().id).then(set)
    }

    fn namer(&self) -> Arc<dyn Namer + Send + Sync> {
        Arc::new(Offline::new(&self.config))
    }

    fn drain(&self) {
        self.drains.fetch_add(1, Ordering::Relaxed);
    }
}

fn set() -> SetView {
    let endpoint = |port: u16, status, ejected_ms, ewma_ms| EndpointView {
        address: ([127, 0, 0, 1], port).into(),
        weight: 1.0,
        zone: None,
        node: Some("n1".to_owned()),
        status,
        ejected_ms,
        ewma_ms,
        load: 3.5,
        in_flight: 2,
        requests: 17,
        failures: 5,
        connections: 4,
    };
    SetView {
        id: "/#/static/accounts".to_owned(),
        protocol: "same".to_owned(),
        state: "bound".to_owned(),
        balancer: "p2c-peak-ewma".to_owned(),
        endpoints: vec![
            endpoint(9001, Status::Open, None, Some(1.5)),
            endpoint(9002, Status::Busy, Some(800), None),
        ],
    }
}

/// A server on a free port; dropping `stop` shuts it down.
struct Server {
    address: SocketAddr,
    proxy: Arc<Fake>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn server() -> Server {
    let metrics = Metrics::new(100);
    let proxy = Arc::new(Fake {
        metrics: Arc::clone(&metrics),
        config: Arc::new(explain::tests::config(YAML)),
        ready: Mutex::new(Ok(())),
        refused: Mutex::new(None),
        drains: AtomicUsize::new(0),
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(AdminState {
        metrics,
        proxy: proxy.clone(),
    });
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(serve(listener, state, async {
        // Dropping the sender stops as well.
        drop(stopped.await);
    }));
    Server {
        address,
        proxy,
        stop,
        task,
    }
}

/// Sends bytes on a new connection, and reads all that comes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let limit = Duration::from_secs(5);
    drop(
        tokio::time::timeout(limit, read)
            .await
            .expect("an answer and an end"),
    );
    String::from_utf8(answer).unwrap()
}

impl Server {
    /// Status, head and body of the answer.
    async fn ask(&self, method: &str, target: &str, headers: &str) -> (u16, String, String) {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
        );
        let answer = exchange(self.address, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }
}

#[tokio::test]
async fn each_page_answers_as_it_should() {
    let server = server().await;
    let cases = [
        // method, target, headers, status, in the head, in the body
        (
            "GET",
            "/",
            "",
            200,
            "content-type: text/html",
            "<a href=\"clusters\">",
        ),
        (
            "GET",
            "/ready",
            "",
            200,
            "content-type: text/plain",
            "ready\n",
        ),
        ("GET", "/live", "", 200, "cache-control: no-store", "live\n"),
        ("HEAD", "/live", "", 200, "content-length: 5", ""),
        (
            "GET",
            "/metrics",
            "",
            200,
            "text/plain; version=0.0.4",
            "heddle_replica_sets 77",
        ),
        (
            "GET",
            "/config",
            "",
            200,
            "text/plain",
            "generation 3, applied 0 s ago",
        ),
        (
            "GET",
            "/config?format=json",
            "",
            200,
            "application/json",
            "\"generation\": 3",
        ),
        (
            "GET",
            "/clusters",
            "",
            200,
            "text/plain",
            "busy, ejected, probe in 800 ms",
        ),
        (
            "GET",
            "/clusters",
            "accept: application/json\r\n",
            200,
            "application/json",
            "\"ejectedMs\": 800",
        ),
        (
            "GET",
            "/clusters?format=text",
            "accept: application/json\r\n",
            200,
            "text/plain",
            "ENDPOINT",
        ),
        (
            "GET",
            "/explain?url=http://accounts/x",
            "",
            200,
            "text/plain",
            "load 3.5",
        ),
        (
            "GET",
            "/explain?url=accounts&format=json",
            "",
            200,
            "application/json",
            "\"inFlight\": 2",
        ),
        (
            "GET",
            "/explain",
            "",
            400,
            "text/plain",
            "needs the request's url=",
        ),
        (
            "GET",
            "/explain?url=accounts&colour=red",
            "",
            400,
            "text/plain",
            "does not know the parameter \"colour\"",
        ),
        (
            "GET",
            "/explain?url=a&url=b",
            "",
            400,
            "text/plain",
            "url= is given more than once",
        ),
        (
            "GET",
            "/explain?url=accounts&header=x",
            "",
            400,
            "text/plain",
            "there is no colon",
        ),
        (
            "GET",
            "/explain?url=accounts&listener=no",
            "",
            400,
            "text/plain",
            "there are outbound",
        ),
        (
            "GET",
            "/explain?url=accounts&dtab=x",
            "",
            400,
            "text/plain",
            "the dtab \"x\" is wrong",
        ),
        (
            "GET",
            "/explain?url=accounts&method=%20",
            "",
            400,
            "text/plain",
            "is not an HTTP method",
        ),
        ("GET", "/drain", "", 405, "allow: post", "POST only"),
        (
            "POST",
            "/metrics",
            "",
            405,
            "allow: get, head",
            "GET, HEAD only",
        ),
        ("DELETE", "/", "", 405, "allow: get, head", ""),
        ("GET", "/tap", "", 404, "text/plain", "GET  /clusters"),
        (
            "GET",
            "/%2e%2e/etc/passwd",
            "",
            404,
            "text/plain",
            "there is no page",
        ),
        ("GET", "//ready", "", 404, "text/plain", "there is no page"),
    ];
    for (method, target, headers, status, in_head, in_body) in cases {
        let (found, head, body) = server.ask(method, target, headers).await;
        assert_eq!(found, status, "{method} {target}\n{body}");
        assert!(
            head.contains(in_head),
            "{method} {target}: {in_head}\n{head}"
        );
        assert!(
            body.contains(in_body),
            "{method} {target}: {in_body}\n{body}"
        );
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
    assert_eq!(
        server.proxy.drains.load(Ordering::Relaxed),
        0,
        "nothing changes by GET"
    );
}

#[tokio::test]
async fn explain_takes_what_a_request_has() {
    let server = server().await;
    let target = "/explain?url=http://nobody/x&method=POST&header=x-a:%20b&header=x-c:d\
                  &dtab=%2Fsvc%2Fnobody%20%3D%3E%20%2F%23%2Fstatic%2Faccounts&listener=outbound&format=json";
    let (status, _, body) = server.ask("GET", target, "").await;
    let json: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(json["request"], "POST http://nobody/x");
    assert_eq!(
        json["replicaSets"][0]["endpoints"][0]["address"],
        "127.0.0.1:9001"
    );
    assert_eq!(json["replicaSets"][0]["endpoints"][1]["status"], "busy");
}

#[tokio::test]
async fn readiness_follows_the_proxy() {
    let server = server().await;
    *server.proxy.ready.lock().unwrap() = Err("draining: 3 requests are in flight".to_owned());
    let (status, _, body) = server.ask("GET", "/ready", "").await;
    assert_eq!(
        (status, body.as_str()),
        (503, "draining: 3 requests are in flight\n")
    );
    assert_eq!(server.ask("GET", "/live", "").await.0, 200);
    *server.proxy.ready.lock().unwrap() = Err("<script>".to_owned());
    let (_, _, stats) = server.ask("GET", "/stats.json", "").await;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["notReady"], "<script>");
}

#[tokio::test]
async fn drain_is_told_by_post_and_not_by_another_site() {
    let server = server().await;
    let cases = [
        ("", 202, 1),
        ("origin: http://localhost\r\n", 202, 2),
        ("origin: https://evil.example\r\n", 403, 2),
        ("origin: null\r\n", 403, 2),
        ("content-length: 5\r\n\r\nhello", 202, 3),
    ];
    for (headers, status, drains) in cases {
        assert_eq!(
            server.ask("POST", "/drain", headers).await.0,
            status,
            "{headers}"
        );
        assert_eq!(
            server.proxy.drains.load(Ordering::Relaxed),
            drains,
            "{headers}"
        );
    }
}

#[tokio::test]
async fn a_refused_load_is_shown_with_its_findings() {
    let server = server().await;
    let finding = Finding {
        code: "HED203",
        severity: Severity::Error,
        file: "rules.yaml".to_owned(),
        line: 4,
        column: 3,
        what: "`service` is missing".to_owned(),
        why: "a Route applies to one service".to_owned(),
        fix: "add `service: <name>`".to_owned(),
    };
    *server.proxy.refused.lock().unwrap() = Some(Refused {
        at: SystemTime::now(),
        findings: vec![finding],
    });
    let (_, _, text) = server.ask("GET", "/config", "").await;
    assert!(
        text.contains("the last load was refused 0 s ago; the one before stays:"),
        "{text}"
    );
    assert!(text.contains("rules.yaml:4:3: error[HED203]"), "{text}");
    let (_, _, body) = server.ask("GET", "/config?format=json", "").await;
    let json: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["refused"]["findings"][0]["code"], "HED203");
    assert_eq!(
        json["config"]["discovery"]["static"]["accounts"]["endpoints"][0]["address"],
        "127.0.0.1:9001"
    );
    assert_eq!(json["config"]["listeners"][0]["name"], "outbound");
    assert_eq!(json["config"]["namespace"], json!("bank"));
}

#[tokio::test]
async fn hostile_input_is_refused_and_the_server_lives_on() {
    let server = server().await;
    // The bound is looked at after each read, so a little more may pass.
    let long = "a".repeat(2 * HEAD_BYTES);
    let many: String = (0..=HEAD_FIELDS).map(|n| format!("x-{n}: 1\r\n")).collect();
    let cases = [
        ("\0\0\0\0\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), "400"),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "4"),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
            "431",
        ),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ""),
    ];
    for (request, status) in cases {
        let answer = exchange(server.address, &request).await;
        let found = answer.split(' ').nth(1).unwrap_or_default();
        assert!(
            found.starts_with(status) && !answer.contains(" 200 "),
            "{status}: {answer}"
        );
    }
    assert_eq!(server.ask("GET", "/live", "").await.0, 200);
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_room() {
    let server = server().await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // An answer shows that the connection has its place.
        stream
            .write_all(b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        assert!(stream.read_u8().await.is_ok());
        held.push(stream);
    }
    let mut waiting = TcpStream::connect(server.address).await.unwrap();
    waiting
        .write_all(b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), waiting.read_u8()).await;
    assert!(early.is_err(), "served beyond the cap");
    held.pop();
    let served = tokio::time::timeout(Duration::from_secs(5), waiting.read_u8()).await;
    assert!(served.expect("a place has become free").is_ok());
}

#[tokio::test]
async fn a_slow_head_is_given_up() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /live HT").await.unwrap();
    // The server has taken the connection when it has answered a later one.
    assert_eq!(server.ask("GET", "/live", "").await.0, 200);
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest).await);
    let waited = started.elapsed();
    assert!(
        waited >= HEAD_TIMEOUT - Duration::from_secs(1),
        "{waited:?}"
    );
    assert!(
        waited <= HEAD_TIMEOUT + Duration::from_secs(1),
        "{waited:?}"
    );
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_frees_the_port() {
    let server = server().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(idle.read_u8().await.is_ok());
    drop(server.stop);
    tokio::time::timeout(Duration::from_secs(5), server.task)
        .await
        .expect("it ends")
        .unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), idle.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the idle connection stayed open");
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "the port is still open"
    );
}

#[test]
fn the_document_lists_every_page() {
    let rows = include_str!("../../../docs/admin.md")
        .lines()
        .filter(|line| line.starts_with("| `/"));
    let documented: Vec<_> = rows
        .map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`'));
            (cells.nth(1), cells.next())
        })
        .collect();
    let pages: Vec<_> = PAGES
        .iter()
        .map(|page| (Some(page.path), Some(page.method)))
        .collect();
    assert_eq!(
        documented, pages,
        "docs/admin.md and proxy/src/admin/pages.rs differ"
    );
}
