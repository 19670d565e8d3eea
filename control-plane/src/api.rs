//! The HTTP API: what is served, what is wrong with it, and who has it.

use crate::process::State;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections served at once; further ones wait.
const CONNECTIONS: usize = 64;
/// Time for a request's head, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is closed after this, so that none is held for ever.
const AGE: Duration = Duration::from_secs(300);
/// Wait after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&request, &state);
                async move { Ok::<_, Infallible>(response) }
            });
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // Whatever went wrong with the connection, it is over.
            tokio::time::timeout(AGE, serving).await.ok();
            drop(seat);
        });
    }
}

fn respond(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    if !is_asked_by_address(request) {
        let why = "this server does not answer to that name, which a web page might have pointed here; ask it by its address or as localhost\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    if request.method() != Method::GET {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "everything here is read with GET\n",
        );
    }
    match request.uri().path() {
        "/live" => text(StatusCode::OK, "live\n"),
        "/ready" => match state.is_ready() {
            true => text(StatusCode::OK, "ready\n"),
            false => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the source has not been read yet\n",
            ),
        },
        "/metrics" => answer(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            state.shared.metrics.text(),
        ),
        "/clients" => show(&state.shared.clients.to_json(state.shared.now())),
        "/mesh" => show(&state.mesh()),
        "/" => show(&json!({"pages": ["/live", "/ready", "/metrics", "/clients", "/mesh"]})),
        _ => text(StatusCode::NOT_FOUND, "no such page; `/` lists them\n"),
    }
}

/// A page of another site may point its own name here (DNS rebinding), but must send it; an address is no name.
fn is_asked_by_address<B>(request: &Request<B>) -> bool {
    let Some(host) = request.headers().get(header::HOST) else {
        return true;
    };
    let authority: Option<http::uri::Authority> =
        host.to_str().ok().and_then(|host| host.parse().ok());
    authority.is_some_and(|authority| {
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

fn show(value: &Value) -> Response<Full<Bytes>> {
    answer(
        StatusCode::OK,
        "application/json",
        format!("{value:#}\n").into_bytes(),
    )
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    answer(
        status,
        "text/plain; charset=utf-8",
        text.as_bytes().to_vec(),
    )
}

fn answer(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_web_page_could_own_are_refused() {
        let cases = [
            (None, true),
            (Some("127.0.0.1:15014"), true),
            (Some("[::1]:15014"), true),
            (Some("LocalHost"), true),
            (Some("evil.example"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some(""), false),
        ];
        for (host, passes) in cases {
            let mut request = Request::get("/");
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            assert_eq!(
                is_asked_by_address(&request.body(()).unwrap()),
                passes,
                "{host:?}"
            );
        }
    }
}
