//! Holding what arrives for the service behind until that service answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Whether the service behind may be given work. Shared by the workers and whoever started the service.
#[derive(Debug)]
pub struct Hold {
    held: AtomicBool,
    why: watch::Sender<Option<Arc<str>>>,
}

impl Default for Hold {
    /// Nothing is held.
    fn default() -> Self {
        Self {
            held: AtomicBool::new(false),
            why: watch::Sender::new(None),
        }
    }
}

impl Hold {
    /// Holds from the start; `why` is one sentence for `/ready`.
    pub fn because(why: impl Into<Arc<str>>) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicBool::new(true),
            why: watch::Sender::new(Some(why.into())),
        })
    }

    /// Lets everything through that waits, and what comes. There is no way back: a service that
    /// stops answering is told by its answers.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
        self.why.send_replace(None);
    }

    /// Gives another reason for `/ready`, while it is held.
    pub fn explain(&self, why: impl Into<Arc<str>>) {
        self.why.send_if_modified(|current| {
            if current.is_some() {
                *current = Some(why.into());
            }
            false
        });
    }

    /// Whether it holds: one load.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Why it holds; `None` when it does not.
    pub(crate) fn why(&self) -> Option<String> {
        self.why.borrow().as_deref().map(str::to_owned)
    }

    /// Resolves when nothing is held.
    pub(crate) async fn released(&self) {
        // The sender is `self`, so it outlives this.
        self.why.subscribe().wait_for(Option::is_none).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_until_it_is_released() {
        let hold = Hold::because("the service does not answer yet");
        assert!(hold.is_held());
        hold.explain("still not");
        assert_eq!(hold.why().as_deref(), Some("still not"));
        let waiting = tokio::spawn({
            let hold = hold.clone();
            async move { hold.released().await }
        });
        hold.release();
        waiting.await.unwrap();
        assert!(!hold.is_held());
        assert_eq!(hold.why(), None);
        hold.explain("too late");
        assert_eq!(hold.why(), None);
    }
}
