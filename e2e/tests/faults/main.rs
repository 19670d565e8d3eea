//! The proxy's own faults: what it does when it lacks descriptors, memory or time itself, and when callers are slow.
//! `docs/faults.md` says what is promised; a full disk under the log is in `sight`.

mod clock;
mod descriptors;
mod idle;
mod memory;
mod ports;
mod slow;
mod support;
