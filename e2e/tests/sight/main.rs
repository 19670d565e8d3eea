//! What the proxy tells of single requests: the access log, traces, `heddle-err`.

mod collector;
mod disk;
mod ends;
mod log;
mod origin;
mod own;
mod support;
