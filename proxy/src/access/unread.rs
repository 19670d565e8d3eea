//! What is told of messages and connections that were refused before there was a request.

use super::record::{End, Record};
use crate::clock;
use crate::router::Conn;
use crate::shared::RunningListener;
use crate::worker::Worker;
use heddle_core::Nanos;
use heddle_core::answer::Kind;
use heddle_core::guard::{Glimpse, Refusal};
use heddle_core::name::Dtab;
use http::{Method, Uri, Version};
use std::net::IpAddr;
use std::time::SystemTime;

/// What stands in a record for a request that was not read.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// The protocol, if it was known by then.
    pub(crate) protocol: Option<Version>,
    pub(crate) glimpse: Glimpse,
}

/// A refusal to be told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) kind: Kind,
    /// The label under which it is counted.
    pub(crate) class: &'static str,
    pub(crate) text: &'static str,
    /// The status of the answer; 0: none was sent.
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
    /// When the message began.
    pub(crate) started: Nanos,
    pub(crate) unread: Unread,
}

impl Told {
    /// A connection that is closed without an answer.
    pub(crate) fn unanswered(kind: Kind, class: &'static str, text: &'static str) -> Self {
        Self {
            kind,
            class,
            text,
            status: 0,
            bytes: 0,
            started: clock::now(),
            unread: Unread::default(),
        }
    }

    /// A message whose refusal is answered with so many bytes of a body.
    pub(crate) fn answered(refusal: Refusal, bytes: u64) -> Self {
        Self {
            status: refusal.status,
            bytes,
            ..Self::unanswered(Kind::Refused(refusal.status), refusal.reason, refusal.text)
        }
    }

    /// A refusal that ended a whole HTTP/2 connection.
    pub(crate) fn ended(refusal: Refusal) -> Self {
        let mut told = Self::unanswered(Kind::Refused(400), refusal.reason, refusal.text);
        told.unread.protocol = Some(Version::HTTP_2);
        told
    }
}

/// Tells of a refusal on a connection.
pub(crate) fn tell_on(conn: &Conn, told: Told) {
    let listener = conn.listener.running.borrow().clone();
    tell(&conn.worker, &listener, conn.hop.peer(), told);
}

/// Tells of a refusal, if the access log is on. Whoever refuses ends the connection.
pub(crate) fn tell(worker: &Worker, listener: &RunningListener, caller: IpAddr, told: Told) {
    if worker.running.borrow().config.access_log.is_none() {
        return;
    }
    let answered = if told.status > 0 { clock::now() } else { 0 };
    worker.shared.recorder.push(Box::new(Record {
        listener: listener.spec.clone(),
        caller,
        version: told.unread.protocol.unwrap_or(Version::HTTP_11),
        grpc: false,
        method: Method::default(),
        uri: Uri::default(),
        host: None,
        unread: Some(Box::new(told.unread)),
        name: None,
        route: None,
        rule: None,
        overrides: Dtab::empty(),
        attempts: Vec::new(),
        started: told.started,
        answered,
        ended: clock::now(),
        at: SystemTime::now(),
        status: told.status,
        grpc_status: None,
        bytes_in: 0,
        bytes_out: told.bytes,
        end: End::Proxy,
        timer: timer_of(told.kind.label(), Some(told.class)),
        error: Some((told.kind.label(), told.text.into())),
        refusal: Some(told.class),
        trace: None,
        has_parent: false,
        span: [0; 8],
        log: true,
    }));
}

/// The timer behind an answer of the proxy's own, where none has named itself before.
pub(super) fn timer_of(kind: &str, class: Option<&str>) -> Option<&'static str> {
    match (kind, class) {
        (_, Some("header-timeout")) => Some("header"),
        (_, Some("body-timeout")) => Some("body"),
        (_, Some("queue-wait")) => Some("queue"),
        (_, Some("held")) => Some("held"),
        ("timeout", _) => Some("bind"),
        ("deadline", _) => Some("deadline"),
        _ => None,
    }
}
