//! A request's way from its head to an answer: identify, find the rule, bind, attempt, answer.
//!
//! The order of concerns, outermost first, and why:
//! * the caller's context comes before everything, since the deadline bounds it all;
//! * faults stand where the service would, so they are above retries and are not retried;
//! * the total time-out is above the retry loop, so that waits and retries count;
//! * the budget is asked by the loop, per logical name, so one bad name cannot spend another's;
//! * the attempt time-out is below the loop and above the pool: connecting counts, and time-outs
//!   are charged to the endpoint (Finagle: accrual is above the time-out filter).

mod admission;
mod entry;
mod exchange;
mod fault;
mod finish;
mod hop;
mod mirror;
mod names;
mod own;
mod plan;
mod retry;

pub(crate) use admission::Admission;
pub(crate) use entry::{ListenerState, PathEntry};
pub(crate) use exchange::{Answering, handle};
pub(crate) use names::Slot;
pub(crate) use own::connect_target;

use crate::http::{Hop, Interim};
use crate::io::ConnState;
use crate::tls::Secured;
use crate::worker::{Registered, Worker};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// One downstream connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: Rc<ListenerState>,
    pub(crate) hop: Hop,
    pub(crate) state: Arc<ConnState>,
    /// Whether one request follows another, as in HTTP/1.
    pub(crate) serial: bool,
    /// What the TLS handshake settled; `None`: plaintext.
    pub(crate) secured: Option<Rc<Secured>>,
    /// What each request takes along so that interim responses come back; made once.
    pub(crate) interim: OnceCell<http::Extensions>,
    /// Interim answers for the stream of HTTP/2 whose task is being polled; it takes them before it is done.
    pub(crate) passed: RefCell<Vec<Interim>>,
    /// Held as long as anything of the connection is left, tunnels included: so long it counts.
    pub(crate) registered: Option<Rc<Registered>>,
}
