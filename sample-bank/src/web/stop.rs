//! The signal to stop, for everything in a process that runs in a loop.

use crate::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Told once: `SIGTERM`, `SIGINT` or `SIGHUP` (the terminal is gone) came. Clones hear it as well.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for the signals. Needs a runtime.
    ///
    /// # Errors
    ///
    /// The signals cannot be listened for.
    pub fn on_signal() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|e| Failure::new(format!("cannot listen for signals: {e}")))
        };
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut hangup = listen(SignalKind::hangup())?;
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
            tell.send_replace(true);
        });
        Ok(Self(told))
    }

    /// A stop that the caller requests by sending `true`.
    pub fn by(told: watch::Receiver<bool>) -> Self {
        Self(told)
    }

    /// Waits until a stop is requested.
    pub async fn requested(&mut self) {
        // A sender that is gone will never say it: that is a stop as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether a stop is requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for `time`, or for the stop; false when it is time to stop.
    pub async fn sleep(&mut self, time: std::time::Duration) -> bool {
        tokio::select! {
            () = self.requested() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}
