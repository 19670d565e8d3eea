//! Measuring Heddle: a load generator that does not deceive itself, the two ends of a
//! comparison (a backend and a bare forwarder), and the processes that are compared.
//!
//! * [`load`]: open and closed loops over HTTP/1.1 and HTTP/2, latency from the intended start.
//! * [`backend`]: a server that costs as little as one on hyper can.
//! * [`forwarder`]: a proxy with nothing in it, the floor for what Heddle adds.
//! * [`process`]: CPU time and memory of a process and its children.
//! * [`compare`]: one run over several proxies, rounds interleaved, as ratios.

pub mod backend;
pub mod compare;
pub mod forwarder;
pub mod load;
pub mod process;

/// Runs tasks on the thread that made them: what a current-thread runtime hands to HTTP/2.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// A current-thread runtime, as every part of a benchmark runs on.
///
/// # Errors
/// When the kernel gives no event queue.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
