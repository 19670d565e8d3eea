//! Interim answers (1xx) on their way to the caller (RFC 9110 section 15.2).
//!
//! Over HTTP/1 they are bytes that the connection writes before the answer. Over HTTP/2 they belong to a stream: whoever
//! meets them leaves them with the connection, and the stream's task, which is being polled just then, takes them on.

use super::body::Replay;
use super::forward::remove_hop_by_hop;
use crate::router::Conn;
use bytes::Bytes;
use h2::server::SendResponse;
use http::header::{CONTENT_LENGTH, HeaderMap};
use hyper::{Request, Response, StatusCode};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

/// An interim answer.
pub(crate) type Interim = Response<()>;

/// Bytes of interim answers that a request over HTTP/2 may bring, as HTTP/2 counts them: their caller may not read,
/// and no window holds them back. Beyond, they are left out.
const ALLOWANCE: usize = 64 * 1024;
/// What HTTP/2 counts for a field beside its name and value (RFC 9113 section 6.5.2).
const FIELD: usize = 32;
/// Interim answers of a connection of HTTP/1 that wait to be taken on; more are left out.
const MAX_WAITING: usize = 64;

/// Takes the interim answers of one attempt to the caller.
pub(crate) struct ToCaller<'a> {
    pub(crate) caller: &'a Conn,
    /// The request's body, which may wait for the go-ahead.
    pub(crate) body: Option<Rc<Replay>>,
}

impl ToCaller<'_> {
    /// Takes one on. A switch of protocols is none, and a go-ahead is for those that asked.
    pub(crate) fn pass(&self, mut interim: Interim) {
        match interim.status() {
            StatusCode::SWITCHING_PROTOCOLS => return,
            StatusCode::CONTINUE => {
                let expected = self.body.as_ref().is_some_and(|body| body.go_ahead());
                // hyper's server writes its own when the body is first asked for.
                if !expected || self.caller.serial {
                    return;
                }
            }
            _ => {}
        }
        if self.caller.serial {
            let head = head(interim.status(), interim.headers());
            self.caller.state.push_interim(head);
            return;
        }
        keep_what_passes(interim.headers_mut());
        self.caller.passed.borrow_mut().push(interim);
    }
}

/// Removes the fields of an interim answer that do not go on. One that frames a body has none to frame.
fn keep_what_passes(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
}

/// An interim answer as HTTP/1 writes it.
pub(crate) fn head(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let reason = status.canonical_reason().unwrap_or("Interim");
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    let mut headers = headers.clone();
    keep_what_passes(&mut headers);
    for (name, value) in &headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// Interim answers that an endpoint's connection of HTTP/1 has read, until the request's own task takes them on.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    interims: VecDeque<Interim>,
    waker: Option<Waker>,
}

impl Arrivals {
    /// Has the interim answers to `request` come here.
    pub(crate) fn of<B>(request: &mut Request<B>) -> Arc<Self> {
        let arrivals = Arc::new(Self::default());
        let here = arrivals.clone();
        hyper::ext::on_informational(request, move |interim| {
            let mut passed = Interim::default();
            *passed.status_mut() = interim.status();
            *passed.headers_mut() = interim.headers().clone();
            here.arrived(passed);
        });
        arrivals
    }

    fn arrived(&self, interim: Interim) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.interims.len() < MAX_WAITING {
            waiting.interims.push_back(interim);
        }
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    /// Takes on what is here, and wakes the task when there is more.
    pub(crate) fn take(&self, cx: &Context<'_>, to: &ToCaller<'_>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for interim in waiting.interims.drain(..) {
            to.pass(interim);
        }
        waiting.waker = Some(cx.waker().clone());
    }
}

/// What is left of a request's allowance of interim answers.
pub(super) struct Allowance(usize);

impl Default for Allowance {
    fn default() -> Self {
        Self(ALLOWANCE)
    }
}

impl Allowance {
    /// Sends what was passed on, on the stream whose task is being polled.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        passed: Vec<Interim>,
        reply: &mut SendResponse<Bytes>,
    ) {
        // The library would write to a stream that is over.
        if reply.poll_reset(cx).is_ready() {
            return;
        }
        for interim in passed {
            let fields = interim.headers().iter();
            let size: usize = fields
                .map(|(name, value)| name.as_str().len() + value.len() + FIELD)
                .sum();
            let Some(left) = self.0.checked_sub(size + FIELD) else {
                continue;
            };
            self.0 = left;
            if let Err(error) = reply.send_informational(interim) {
                tracing::debug!(%error, "an interim answer did not reach its caller");
            }
        }
    }
}
