//! The context that a request brings, and the one that it takes along (design section 4).

use super::Conn;
use crate::access;
use crate::clock;
use crate::error::Error;
use crate::joined::{Left, Record, TraceId};
use crate::shared::RunningListener;
use heddle_core::Nanos;
use heddle_core::answer::Kind;
use heddle_core::config::{Mode, Overrides};
use heddle_core::context::{self, HopContext};
use heddle_core::name::Dtab;
use heddle_core::random::Rng;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

pub(super) const HEDDLE_CONTEXT: HeaderName = HeaderName::from_static("heddle-context");
const HEDDLE_DTAB: HeaderName = HeaderName::from_static("heddle-dtab");
const L5D_DTAB: HeaderName = HeaderName::from_static("l5d-dtab");
const L5D_CTX_DTAB: HeaderName = HeaderName::from_static("l5d-ctx-dtab");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What a request brought from the hops before.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// Overrides of names.
    pub(super) dtab: Dtab,
    /// When the caller stops waiting.
    pub(super) deadline: Option<Nanos>,
    /// Retry tokens left, shared with the other calls of the same request.
    pub(super) record: Option<Arc<Record>>,
    /// Overrides were removed.
    pub(super) stripped: bool,
    /// Whether the answer tells the caller's proxy what is left of the tokens.
    pub(super) tell: bool,
    /// Keeps the record in the table while the service works.
    left: Option<Left>,
}

impl Context {
    /// Hands over what keeps the record in the table; to be held until the response is over.
    pub(super) fn take_left(&mut self) -> Option<Left> {
        self.left.take()
    }

    /// Retry tokens left, if they are limited.
    pub(super) fn tokens(&self) -> Option<u32> {
        self.record.as_ref().and_then(|record| record.tokens())
    }

    /// Spends a token.
    pub(super) fn spend(&self) {
        if let Some(record) = &self.record {
            record.spend();
        }
    }
}

/// Whether any header may concern the context: one pass over the names, since most requests have none.
fn concerns(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        match name.as_bytes().first() {
            Some(b'h') => name.starts_with("heddle-"),
            Some(b'l') => name.starts_with("l5d-"),
            Some(b'g') => name == "grpc-timeout",
            Some(b't') => name == "traceparent",
            Some(b'b') => name == "b3",
            Some(b'x') => name == "x-b3-traceid",
            _ => false,
        }
    })
}

/// Takes the context out of a request's head.
pub(super) fn take(
    conn: &Conn,
    listener: &RunningListener,
    parts: &mut Parts,
    now: Nanos,
) -> Result<Context, Error> {
    if !concerns(&parts.headers) {
        return Ok(Context::default());
    }
    let accept = listener.spec.overrides == Overrides::Accept;
    let mut context = Context::default();
    let headers = &mut parts.headers;
    let sent = headers.remove(HEDDLE_CONTEXT);
    let dtabs = [L5D_CTX_DTAB, L5D_DTAB, HEDDLE_DTAB].map(|name| take_all(headers, &name));
    let mut hop = HopContext::default();
    if let Some(sent) = &sent {
        match HopContext::parse(sent.as_bytes()) {
            Ok(parsed) => hop = parsed,
            Err(why) if accept => {
                return Err(Error::new(
                    Kind::Refused(400),
                    format!("heddle-context cannot be read: {why}"),
                ));
            }
            Err(_) => context.stripped = true,
        }
    }
    let overridden = !hop.dtab.is_empty() || dtabs.iter().any(|values| !values.is_empty());
    if accept && overridden {
        let [ctx, l5d, own] = dtabs
            .each_ref()
            .map(|values| values.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>());
        let local = context::parse_local_dtab(&ctx, &l5d, &own)
            .map_err(|why| Error::new(Kind::Refused(400), why))?;
        context.dtab = hop.dtab.concat(&local);
    }
    context.stripped |= overridden && !accept;
    let grpc = headers
        .get(GRPC_TIMEOUT)
        .and_then(|value| context::parse_grpc_timeout(value.as_bytes()));
    let left = [hop.deadline, grpc].into_iter().flatten().min();
    context.deadline = left.map(|left| now.saturating_add(clock::nanos(left)));
    let trace = access::read_context(headers).map(|context| context.trace);
    context.tell = hop.retries.is_some();
    if matches!(listener.spec.mode, Mode::Inbound { .. }) {
        remember(conn, &mut context, hop.retries, trace, headers);
    } else {
        join(conn, &mut context, hop.retries, trace);
    }
    Ok(context)
}

/// Takes out all values of a header.
fn take_all(headers: &mut HeaderMap, name: &HeaderName) -> Vec<HeaderValue> {
    if !headers.contains_key(name) {
        return Vec::new();
    }
    let all = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    all
}

/// In front of a service: leaves the context for the calls that it will make.
fn remember(
    conn: &Conn,
    context: &mut Context,
    tokens: Option<u32>,
    trace: Option<TraceId>,
    headers: &mut HeaderMap,
) {
    if context.dtab.is_empty() && context.deadline.is_none() && tokens.is_none() {
        return;
    }
    let trace = trace.unwrap_or_else(|| {
        // The service needs something to copy.
        let mut rng = conn.worker.rng.borrow_mut();
        let (high, low, span) = (rng.next_u64(), rng.next_u64() | 1, rng.next_u64() | 1);
        let value = format!("00-{high:016x}{low:016x}-{span:016x}-00");
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(TRACEPARENT, value);
        }
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    });
    let record = Arc::new(Record {
        deadline: context.deadline,
        dtab: context.dtab.clone(),
        tokens: AtomicU32::new(tokens.unwrap_or(u32::MAX)),
    });
    context.left = conn.worker.shared.joined.leave(trace, record.clone());
    if context.left.is_none() {
        conn.worker.shared.metrics.refused("joined-contexts-full");
    }
    context.record = Some(record);
}

/// A service's own call: finds the context of the request that it works on.
fn join(conn: &Conn, context: &mut Context, tokens: Option<u32>, trace: Option<TraceId>) {
    let found = trace.and_then(|trace| conn.worker.shared.joined.find(&trace));
    if let Some(record) = found {
        context.dtab = record.dtab.concat(&context.dtab);
        context.deadline = [context.deadline, record.deadline]
            .into_iter()
            .flatten()
            .min();
        if let Some(tokens) = tokens {
            record.cap(tokens);
        }
        context.record = Some(record);
    } else if let Some(tokens) = tokens {
        context.record = Some(Arc::new(Record {
            deadline: None,
            dtab: Dtab::empty(),
            tokens: AtomicU32::new(tokens),
        }));
    }
}

/// Puts the context into a head that goes upstream. `tokens`: what is left for the hops below.
pub(super) fn give(
    headers: &mut HeaderMap,
    dtab: &Dtab,
    deadline: Option<Nanos>,
    tokens: u32,
    grpc: bool,
    now: Nanos,
) {
    let left = deadline.map(|deadline| Duration::from_nanos(deadline.saturating_sub(now)));
    if dtab.is_empty() && left.is_none() {
        headers.insert(HEDDLE_CONTEXT, retries_only(tokens));
        return;
    }
    let hop = HopContext {
        deadline: left,
        retries: Some(tokens),
        dtab: dtab.clone(),
    };
    if let Some(Ok(value)) = hop.show().map(|text| HeaderValue::from_str(&text)) {
        headers.insert(HEDDLE_CONTEXT, value);
    }
    if let (true, Some(left)) = (grpc, left)
        && let Ok(value) = HeaderValue::from_str(&context::show_grpc_timeout(left))
    {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

/// The commonest context: nothing but tokens.
fn retries_only(tokens: u32) -> HeaderValue {
    match tokens {
        0 => HeaderValue::from_static("retries=0"),
        1 => HeaderValue::from_static("retries=1"),
        2 => HeaderValue::from_static("retries=2"),
        3 => HeaderValue::from_static("retries=3"),
        n => HeaderValue::try_from(format!("retries={n}"))
            .unwrap_or_else(|_| HeaderValue::from_static("retries=0")),
    }
}

/// Takes what a hop below says of the tokens out of its answer.
pub(super) fn told(headers: &mut HeaderMap, context: &Context) -> Option<u32> {
    let value = headers.remove(HEDDLE_CONTEXT)?;
    let tokens = HopContext::parse(value.as_bytes()).ok()?.retries?;
    if let Some(record) = &context.record {
        record.cap(tokens);
    }
    Some(tokens)
}

/// Tells the caller's proxy what is left, if it asked by sending tokens.
pub(super) fn tell(headers: &mut HeaderMap, context: &Context) {
    if let (true, Some(tokens)) = (context.tell, context.tokens()) {
        headers.insert(HEDDLE_CONTEXT, retries_only(tokens));
    }
}
