//! The decisions of Heddle, and nothing else.
//!
//! Everything here is pure and deterministic: time, randomness and bytes are
//! arguments. There is no socket, no clock, no task and no global state, so each
//! rule of the mesh can be tested as a function and replayed from a seed.
//!
//! In reading order:
//!
//! * [`name`]: paths, dtabs, name trees, binding and its explanation;
//! * [`identify`]: from a request's head to a logical name;
//! * [`context`]: what travels with a request across hops;
//! * [`finding`], [`spec`], [`config`]: the YAML that people write, what is wrong
//!   with it, and the values it becomes;
//! * [`route`]: which rule a request meets, and where that sends it;
//! * [`endpoint`], [`status`], [`ewma`], [`balance`], [`accrual`], [`leaving`]: choosing a replica;
//! * [`budget`], [`backoff`], [`classify`], [`retry`]: trying again;
//! * [`admission`]: who may go to the service behind, who waits;
//! * [`overload`]: sharing out descriptors and memory;
//! * [`patience`]: what a caller that leaves says of the endpoint;
//! * [`sticky`]: cohorts that only grow;
//! * [`answer`]: every answer that is the proxy's own;
//! * [`guard`]: which messages are let in;
//! * [`trace`]: contexts of traces;
//! * [`headers`], [`detect`], [`websocket`]: the wire, as far as it is a decision.
#![deny(missing_docs)]

pub mod accrual;
pub mod admission;
pub mod answer;
pub mod backoff;
pub mod balance;
pub mod budget;
pub mod classify;
pub mod config;
pub mod context;
pub mod detect;
pub mod endpoint;
pub mod ewma;
pub mod finding;
pub mod guard;
pub mod headers;
pub mod identify;
pub mod leaving;
pub mod name;
pub mod overload;
pub mod patience;
pub mod random;
pub mod retry;
pub mod route;
pub mod spec;
pub mod status;
pub mod sticky;
pub mod trace;
pub mod websocket;

/// Monotonic nanoseconds since an origin that the caller chooses (the proxy's is its own start).
pub type Nanos = u64;
