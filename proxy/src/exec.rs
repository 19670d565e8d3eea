//! Spawning on the worker's own thread.

use std::future::Future;

/// hyper's executor on a `LocalSet`: a stream never leaves the core that accepted it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExec;

impl<F> hyper::rt::Executor<F> for LocalExec
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
