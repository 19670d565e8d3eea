//! A subscriber that remembers everything it is sent, and does what the test says.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;

/// One delivery.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Debug, Default)]
struct Memory {
    /// Every delivery that was accepted.
    accepted: Vec<Delivery>,
    /// First effects: by key, the numbers in their order.
    effects: HashMap<String, Vec<u64>>,
    ids: HashSet<String>,
    refusals: BTreeMap<String, usize>,
    /// Events that are refused, with a status.
    refuse: HashMap<String, u16>,
    /// Everything is answered so.
    all: Option<u16>,
    delay: Duration,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    memory: Arc<Mutex<Memory>>,
    pub(crate) address: SocketAddr,
}

impl Subscriber {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Mutex::default());
        let app = Router::new()
            .route("/events", post(take))
            .with_state(Arc::clone(&memory));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { memory, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    pub(crate) fn refuse(&self, id: &str, status: u16) {
        self.lock().refuse.insert(id.to_owned(), status);
    }

    pub(crate) fn accept(&self, id: &str) {
        self.lock().refuse.remove(id);
    }

    pub(crate) fn answer_all(&self, status: Option<u16>) {
        self.lock().all = status;
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    pub(crate) fn accepted(&self) -> Vec<Delivery> {
        self.lock().accepted.clone()
    }

    pub(crate) fn refusals(&self, id: &str) -> usize {
        self.lock().refusals.get(id).copied().unwrap_or(0)
    }

    /// First effects by key, in the order they came in.
    pub(crate) fn effects(&self) -> HashMap<String, Vec<u64>> {
        self.lock().effects.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().ids.len()
    }
}

async fn take(
    State(memory): State<Arc<Mutex<Memory>>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, key) = (text("event-id"), text("event-key"));
    let delay = memory.lock().unwrap().delay;
    tokio::time::sleep(delay).await;
    let mut memory = memory.lock().unwrap();
    if let Some(status) = memory.refuse.get(&id).copied().or(memory.all) {
        *memory.refusals.entry(id).or_default() += 1;
        return (
            StatusCode::from_u16(status).unwrap(),
            "not this one".to_owned(),
        );
    }
    if memory.ids.insert(id.clone()) {
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let number = value["n"].as_u64().unwrap();
        memory.effects.entry(key.clone()).or_default().push(number);
    }
    memory.accepted.push(Delivery {
        id,
        key,
        headers,
        body,
    });
    (StatusCode::NO_CONTENT, String::new())
}
