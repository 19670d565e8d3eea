//! What the proxy tells of single requests: the access log, traces, `heddle-err`.

mod disk;
mod log;
mod origin;
mod support;
