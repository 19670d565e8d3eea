//! Reloading: files are watched, and what they say is applied when it is valid.

mod changes;
mod fingerprint;

pub(crate) use changes::Changes;
pub(crate) use fingerprint::Target;
