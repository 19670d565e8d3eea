//! Requests of the tests, and what they expect of answers.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use std::future::Future;
use std::time::Duration;

/// Runs a test's asynchronous part.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let done = runtime.block_on(Box::pin(work));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// A client that goes nowhere but to where it is told.
pub(crate) fn client() -> Client {
    Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client without TLS needs nothing")
}

/// An answer, read.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) replayed: bool,
    pub(crate) kind: String,
}

impl Answer {
    /// The code of a problem.
    pub(crate) fn code(&self) -> &str {
        let name = self.body["type"].as_str().unwrap_or_default();
        name.strip_prefix("urn:heddle-bank:").unwrap_or_default()
    }

    /// The body, if the status is as expected.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Asserts a problem.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.body);
        assert_eq!(self.kind, "application/problem+json");
        assert!(
            self.body["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
        assert_eq!(self.body["status"], status);
    }
}

/// Sends, and reads the answer as JSON.
///
/// # Errors
///
/// No answer, or none that ends.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let header = |name: &str| {
        let value = response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (status, kind) = (response.status().as_u16(), header("content-type"));
    let replayed = header("idempotency-replayed") == "true";
    let body = response.bytes().await?;
    let body = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    Ok(Answer {
        status,
        body,
        replayed,
        kind,
    })
}

/// One request to one replica.
pub(crate) async fn ask(
    client: &Client,
    method: &str,
    url: &str,
    key: Option<&str>,
    body: Option<&Value>,
) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client.request(method, url);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    send(request).await.unwrap_or_else(|e| panic!("{url}: {e}"))
}

/// `GET`, and the JSON of a 200.
pub(crate) async fn get(client: &Client, url: &str) -> Value {
    ask(client, "GET", url, None, None).await.expect(200)
}

/// Waits, within bounds, until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    for _ in 0..1200 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("after a minute it is not so that {what}");
}
