//! Services that answer what no service should: the caller gets 502 and why, nobody gets somebody else's answer, and
//! what was wrong is counted.

mod http1;
mod http2;
mod place;
mod reuse;
