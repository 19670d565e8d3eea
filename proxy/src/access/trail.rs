//! What a request leaves while it is worked on.

use super::record::{End, Record, Tried};
use super::unread::timer_of;
use crate::clock;
use crate::io::Order;
use crate::router::Conn;
use heddle_core::Nanos;
use heddle_core::config::Route;
use heddle_core::name::{Dtab, Path};
use heddle_core::random::Rng as _;
use heddle_core::trace::{Form, TraceContext, span_id};
use http::Request;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// A record in the making; it goes to the recorder when it is dropped.
pub(crate) struct Trail {
    conn: Rc<Conn>,
    record: RefCell<Option<Box<Record>>>,
    /// The forms in which the context came, and goes on: W3C, B3, B3 in several headers.
    forms: [bool; 3],
    received: Rc<Cell<u64>>,
    errors_only: bool,
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trail").finish_non_exhaustive()
    }
}

impl Trail {
    /// Begins one, if the configuration wants any. A request without a trace context gets one when traces
    /// are exported.
    #[inline]
    pub(crate) fn begin<B>(
        conn: &Rc<Conn>,
        request: &mut Request<B>,
        grpc: bool,
        started: Nanos,
    ) -> Option<Rc<Self>> {
        let running = conn.worker.running.borrow();
        let config = &running.config;
        if config.access_log.is_none() && config.tracing.is_none() {
            return None;
        }
        let tracing = config.tracing.as_ref();
        let (mut trace, mut forms) = read(request.headers());
        let has_parent = trace.is_some();
        let mut rng = conn.worker.rng.borrow_mut();
        let mut span = [0; 8];
        if let Some(tracing) = tracing {
            span = span_id(&mut *rng);
            let context = trace.get_or_insert_with(|| {
                forms[Form::W3c as usize] = true;
                TraceContext::begin(&mut *rng)
            });
            let sampled = context
                .sampled
                .unwrap_or(context.is_in_share(tracing.sample));
            context.sampled = Some(sampled);
            if !has_parent {
                // The service below, and whatever joins contexts, need something to go by.
                write(request.headers_mut(), context, forms);
            }
        }
        let mut sampled = |share: f64| share >= 1.0 || rng.unit() < share;
        let log = config.access_log.as_ref();
        let errors_only = log.is_some_and(|log| log.errors_only || !sampled(log.sample));
        let record = Box::new(Record {
            listener: conn.listener.running.borrow().spec.clone(),
            caller: conn.hop.peer(),
            version: request.version(),
            grpc,
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: request.headers().get(HOST).cloned(),
            unread: None,
            name: None,
            route: None,
            rule: None,
            overrides: Dtab::empty(),
            attempts: Vec::new(),
            started,
            answered: 0,
            ended: 0,
            at: SystemTime::UNIX_EPOCH,
            status: 0,
            grpc_status: None,
            bytes_in: 0,
            bytes_out: 0,
            end: End::Caller,
            timer: None,
            error: None,
            refusal: None,
            trace,
            has_parent,
            span,
            log: log.is_some(),
        });
        drop(rng);
        Some(Rc::new(Self {
            conn: conn.clone(),
            record: RefCell::new(Some(record)),
            forms,
            received: Rc::default(),
            errors_only,
        }))
    }

    fn with(&self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.record.borrow_mut().as_deref_mut() {
            change(record);
        }
    }

    /// Its name is known, and what callers may override of it.
    pub(crate) fn named(&self, name: &Path, overrides: &Dtab, route: Option<&Arc<Route>>) {
        self.with(|record| {
            record.name = Some(name.clone());
            record.overrides = overrides.clone();
            record.route = route.cloned();
        });
    }

    /// It met a rule.
    pub(crate) fn met(&self, rule: Option<usize>) {
        self.with(|record| record.rule = rule);
    }

    /// Where the bytes of its body are counted.
    pub(crate) fn received(&self) -> Rc<Cell<u64>> {
        self.received.clone()
    }

    /// An attempt begins: puts its place in the trace into the head that it sends.
    pub(crate) fn attempt(
        &self,
        set: &Path,
        replica: SocketAddr,
        now: Nanos,
        headers: &mut HeaderMap,
    ) {
        self.with(|record| {
            let mut span = [0; 8];
            if let Some(trace) = record.trace
                && record.span != [0; 8]
                && trace.sampled == Some(true)
            {
                span = span_id(&mut *self.conn.worker.rng.borrow_mut());
                write(headers, &TraceContext { span, ..trace }, self.forms);
            }
            record.attempts.push(Tried {
                set: set.clone(),
                replica,
                span,
                started: now,
                ended: 0,
                connect: 0,
                outcome: "cancelled",
                status: 0,
            });
        });
    }

    /// The attempt of this number, counted from 0, is over.
    pub(crate) fn attempted(
        &self,
        number: usize,
        outcome: &'static str,
        status: u16,
        connect: Nanos,
    ) {
        let now = clock::now();
        self.with(|record| {
            if let Some(tried) = record.attempts.get_mut(number) {
                tried.ended = now;
                tried.outcome = outcome;
                tried.status = status;
                tried.connect = connect;
            }
        });
    }

    /// An answer's head goes to the caller.
    pub(crate) fn answered(&self, status: u16) {
        let now = clock::now();
        self.with(|record| {
            record.status = status;
            record.answered = now;
        });
    }

    /// An answer of the proxy's own goes to the caller.
    pub(crate) fn own(&self, own: Own) {
        self.answered(own.status);
        self.with(|record| {
            // Whoever else could run out of time has said so.
            record.timer = record.timer.or(timer_of(own.word, own.class));
            record.error = Some((own.word, own.reason));
            record.refusal = own.class;
        });
        self.over(End::Complete, own.grpc, own.bytes);
    }

    /// The connection ends with the answer, by the proxy's will.
    pub(crate) fn last(&self) {
        self.with(|record| record.end = End::Proxy);
    }

    /// The proxy resets it on purpose, instead of an answer.
    pub(crate) fn reset(&self, word: &'static str, reason: String) {
        self.with(|record| record.error = Some((word, reason.into())));
        self.over(End::Proxy, None, 0);
    }

    /// A timer ended it.
    pub(crate) fn timer(&self, which: &'static str) {
        self.with(|record| record.timer = Some(which));
    }

    /// Its answer is over.
    pub(crate) fn over(&self, end: End, grpc: Option<u32>, bytes: u64) {
        self.with(|record| {
            record.end = end;
            record.grpc_status = grpc.or(record.grpc_status);
            record.bytes_out = bytes;
        });
    }

    /// It was a tunnel: bytes from and to the caller, unless it broke.
    pub(crate) fn tunnelled(&self, bytes: Option<(u64, u64)>) {
        if let Some((received, sent)) = bytes {
            self.received.set(received);
            self.over(End::Complete, None, sent);
        }
    }
}

/// An answer of the proxy's own.
#[derive(Debug)]
pub(crate) struct Own {
    /// What `heddle-err` begins with.
    pub(crate) word: &'static str,
    pub(crate) class: Option<&'static str>,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) status: u16,
    pub(crate) grpc: Option<u32>,
    /// Of its body.
    pub(crate) bytes: u64,
}

/// What looks like a side that went away may be the end of a connection by the proxy.
fn see_who_ended(record: &mut Record, conn: &Conn) {
    // A body that is broken off ends the exchange with the service, too.
    if let Some(refusal) = conn.state.watch.refused_body() {
        record.end = End::Proxy;
        record.timer = timer_of("refused", Some(refusal.reason));
        record.error = Some(("refused", refusal.text.into()));
        record.refusal = Some(refusal.reason);
    } else if record.end == End::Caller && conn.state.ordered() == Order::Close {
        record.end = End::Proxy;
        if conn.worker.shared.draining.load(Relaxed) {
            record.timer = Some("drain");
        } else if conn.state.is_unread() {
            record.timer = Some("write");
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        if matches!(record.end, End::Caller | End::Upstream) {
            see_who_ended(&mut record, &self.conn);
        }
        record.log &= !self.errors_only || record.is_error();
        if !record.log && !record.is_sampled() {
            return;
        }
        record.ended = clock::now();
        record.at = SystemTime::now();
        record.bytes_in = self.received.get();
        self.conn.worker.shared.recorder.push(record);
    }
}

/// The context that a head brings, and in which forms; W3C counts before B3.
fn read(headers: &HeaderMap) -> (Option<TraceContext>, [bool; 3]) {
    let bytes = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    let w3c = bytes(&TRACEPARENT).and_then(TraceContext::from_traceparent);
    let b3 = bytes(&B3).and_then(TraceContext::from_b3);
    let many = bytes(&B3_TRACE)
        .zip(bytes(&B3_SPAN))
        .and_then(|(trace, span)| {
            let debug = bytes(&B3_FLAGS) == Some(b"1");
            TraceContext::from_b3_many(trace, span, bytes(&B3_SAMPLED), debug)
        });
    let forms = [w3c.is_some(), b3.is_some(), many.is_some()];
    (w3c.or(b3).or(many), forms)
}

/// The context that a head brings.
pub(crate) fn read_context(headers: &HeaderMap) -> Option<TraceContext> {
    read(headers).0
}

/// Writes a context in these forms.
fn write(headers: &mut HeaderMap, context: &TraceContext, forms: [bool; 3]) {
    let mut put = |name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    };
    if forms[Form::W3c as usize] {
        put(TRACEPARENT, context.traceparent());
    }
    if forms[Form::B3 as usize] {
        put(B3, context.b3());
    }
    if forms[Form::B3Many as usize] {
        put(
            B3_TRACE,
            heddle_core::trace::Hex(&context.trace).to_string(),
        );
        put(B3_SPAN, heddle_core::trace::Hex(&context.span).to_string());
        if let Some(sampled) = context.sampled {
            put(B3_SAMPLED, u8::from(sampled).to_string());
        }
        headers.remove(B3_PARENT);
    }
}
