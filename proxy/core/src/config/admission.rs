//! How much work a listener lets through to the service behind it.

use std::time::Duration;

/// Admission in front of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Requests that the service works on at once, over all workers; `None`: as many as come.
    /// Default none, since only the service's owner knows what it can do.
    pub concurrency: Option<usize>,
    /// Requests that may wait for their turn. Default 1000: at the default wait, a service that
    /// answers 1000 requests a second empties it in time.
    pub queue: usize,
    /// How long one may wait. Default 1 s: most callers have given up by then.
    pub queue_wait: Duration,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            concurrency: None,
            queue: 1000,
            queue_wait: Duration::from_secs(1),
        }
    }
}
