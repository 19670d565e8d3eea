//! The way from service to service, as small as can be: a proxy that knows where names are, and a queue that remembers.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One request that came by.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

/// What happens to requests with a fencing token.
#[derive(Debug, Clone)]
pub(crate) struct Slow {
    /// Those with the first one that comes by are on their way until the watched value is true.
    pub(crate) first: Arc<OnceLock<String>>,
    pub(crate) arrive: watch::Receiver<bool>,
    /// Those with another one and with this in their path are lost.
    pub(crate) lost: String,
}

/// The proxy: services call `http://NAME/…` through it, one replica after the other.
#[derive(Debug, Clone)]
pub(crate) struct Street(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: u16,
    names: Mutex<HashMap<String, Vec<u16>>>,
    turn: AtomicUsize,
    passed: Mutex<Vec<Passed>>,
    events: Mutex<Vec<Value>>,
    away: AtomicBool,
    slow: Mutex<Option<Slow>>,
    client: reqwest::Client,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl Street {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let street = Self(Arc::new(Inner {
            port: listener.local_addr().expect("it has an address").port(),
            names: Mutex::default(),
            turn: AtomicUsize::new(0),
            passed: Mutex::default(),
            events: Mutex::default(),
            away: AtomicBool::new(false),
            slow: Mutex::default(),
            client: crate::http::client(),
            serving: Mutex::default(),
        }));
        let routes = Router::new().fallback(pass).with_state(street.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes)
                .await
                .expect("loopback can be served");
        });
        *street.0.serving.lock().unwrap() = Some(serving);
        street
    }

    /// `http_proxy` of the services.
    pub(crate) fn proxy(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    /// Where a name leads.
    pub(crate) fn name(&self, name: &str, ports: &[u16]) {
        self.0
            .names
            .lock()
            .unwrap()
            .insert(name.to_owned(), ports.to_vec());
    }

    /// Whether the queue answers.
    pub(crate) fn queue_is_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// Delays and loses requests with fencing tokens, until told otherwise.
    pub(crate) fn is_slow(&self, slow: Option<Slow>) {
        *self.0.slow.lock().unwrap() = slow;
    }

    /// Whether a request is lost; waits as long as it is on its way.
    async fn loses(&self, path: &str, headers: &HeaderMap) -> bool {
        let slow = self.0.slow.lock().unwrap().clone();
        let (Some(mut slow), Some(token)) = (slow, headers.get("fencing-token")) else {
            return false;
        };
        let token = String::from_utf8_lossy(token.as_bytes()).into_owned();
        if *slow.first.get_or_init(|| token.clone()) != token {
            return path.contains(&slow.lost);
        }
        // The test that delays it may be over.
        let _ = slow.arrive.wait_for(|arrive| *arrive).await;
        false
    }

    /// What the queue has, in the order in which it came.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.0.events.lock().unwrap().clone()
    }

    /// What came by for a name.
    pub(crate) fn passed(&self, name: &str) -> Vec<Passed> {
        let passed = self.0.passed.lock().unwrap();
        passed
            .iter()
            .filter(|request| request.name == name)
            .cloned()
            .collect()
    }

    fn publish(&self, body: &Bytes) -> Response {
        if self.0.away.load(Ordering::SeqCst) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let Ok(Value::Array(events)) = serde_json::from_slice(body) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let count = events.len();
        self.0.events.lock().unwrap().extend(events);
        axum::Json(json!({"published": count})).into_response()
    }
}

async fn pass(State(street): State<Street>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let name = head.uri.host().unwrap_or_default().to_owned();
    let path = head
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let Ok(body) = axum::body::to_bytes(body, 1 << 20).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    street.0.passed.lock().unwrap().push(Passed {
        name: name.clone(),
        path: path.clone(),
        headers: head.headers.clone(),
    });
    if name == "queue" {
        return street.publish(&body);
    }
    if street.loses(&path, &head.headers).await {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let ports = street
        .0
        .names
        .lock()
        .unwrap()
        .get(&name)
        .cloned()
        .unwrap_or_default();
    if ports.is_empty() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let port = ports[street.0.turn.fetch_add(1, Ordering::Relaxed) % ports.len()];
    let mut headers = head.headers;
    for hop in [
        "host",
        "connection",
        "proxy-connection",
        "transfer-encoding",
        "content-length",
    ] {
        headers.remove(hop);
    }
    let url = format!("http://127.0.0.1:{port}{path}");
    let sent = street
        .0
        .client
        .request(head.method, url)
        .headers(headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = sent else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    for (name, value) in &headers {
        if !["connection", "transfer-encoding", "content-length"].contains(&name.as_str()) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}
