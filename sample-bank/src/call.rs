//! Calls to other services by name, `http://ledger/…`. The way there is the mesh's affair: `http_proxy` names the proxy.

use crate::problem::Problem;
use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::time::Duration;

/// How long a connection to the proxy may take: it is on this machine.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take as a whole. Longer than any wait that a service of the bank plans for.
const TOTAL: Duration = Duration::from_secs(10);
/// Idle connections end sooner here than at the proxy, so that none is used while it closes.
const IDLE: Duration = Duration::from_secs(4);

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// `traceparent` of the request being served, to be copied into every call made for it. It is the only thing that a
/// service must do for the mesh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace(pub Option<HeaderValue>);

impl Trace {
    /// As text, when it is.
    pub fn text(&self) -> Option<&str> {
        self.0.as_ref()?.to_str().ok()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get(TRACEPARENT).cloned()))
    }
}

/// What a call brought back, whatever its status.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Of HTTP.
    pub status: StatusCode,
    /// Of the answer.
    pub headers: HeaderMap,
    /// The whole of it.
    pub body: Bytes,
}

impl Reply {
    /// The JSON of a success.
    ///
    /// # Errors
    ///
    /// The peer's problem, or [`crate::problem::Code::Unavailable`] for what is no answer of the bank.
    pub fn success<T: DeserializeOwned>(&self, peer: &str) -> Result<T, Problem> {
        if !self.status.is_success() {
            return Err(Problem::from_answer(
                peer,
                self.status,
                &self.headers,
                &self.body,
            ));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            Problem::unavailable(format!("{peer} answered something else: {error}"))
        })
    }
}

/// The other services of the bank.
#[derive(Debug, Clone)]
pub struct Peers {
    http: reqwest::Client,
}

impl Peers {
    /// Peers behind the proxy that `http_proxy` names; without it, their names must resolve.
    pub fn new() -> Self {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none());
        Self {
            http: client
                .build()
                .expect("a client without TLS needs nothing from outside"),
        }
    }

    /// The client itself, for bodies that stream.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// `GET`, and the JSON of a success.
    ///
    /// # Errors
    ///
    /// See [`Reply::success`]; and no answer came.
    pub async fn get<T: DeserializeOwned>(&self, trace: &Trace, url: &str) -> Result<T, Problem> {
        self.send(trace, Method::GET, url, &[], None::<&()>)
            .await?
            .success(peer(url))
    }

    /// One call with any method, headers and JSON.
    ///
    /// # Errors
    ///
    /// No answer came, or its body broke off. The peer may have done what was asked.
    pub async fn send(
        &self,
        trace: &Trace,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Reply, Problem> {
        let mut request = self.http.request(method, url);
        if let Some(value) = &trace.0 {
            request = request.header(TRACEPARENT, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let lost = |error: reqwest::Error| {
            Problem::unavailable(format!(
                "{} gave no answer ({}); send the same request again, with the same idempotency key",
                peer(url),
                cause(&error)
            ))
        };
        let response = request.send().await.map_err(lost)?;
        Ok(Reply {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await.map_err(lost)?,
        })
    }
}

impl Default for Peers {
    fn default() -> Self {
        Self::new()
    }
}

/// The name in a URL.
fn peer(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':', '?']).next().unwrap_or(rest)
}

/// The innermost reason: the outer ones only say that a request failed.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
}
