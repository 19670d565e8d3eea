//! What systemd is told: that the proxy is ready, reloads, ends, and that its workers answer.
//!
//! Without `NOTIFY_SOCKET` nothing is said. (`sd_notify(3)`.)

use crate::app::App;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;

/// Says `states`; what is not received is systemd's loss.
pub(crate) fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be notified");
    }
}

/// The proxy serves.
pub(crate) fn ready() {
    say(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// A new configuration is being loaded; [`ready`] ends it.
pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        say(&[NotifyState::Reloading, now]);
    }
}

/// The proxy ends.
pub(crate) fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Another process is the service's main one from here on.
pub(crate) fn main_process(id: u32) {
    say(&[NotifyState::MainPid(id)]);
}

/// Feeds the watchdog at twice the pace that is asked for, as long as every worker answers. One that
/// is stuck makes it fire, and systemd starts the proxy again.
pub(crate) async fn feed_watchdog(app: Arc<App>) {
    let Some(pace) = pace(
        std::env::var("WATCHDOG_USEC").ok().as_deref(),
        std::env::var("WATCHDOG_PID").ok().as_deref(),
        std::process::id(),
    ) else {
        return;
    };
    let mut beat = tokio::time::interval(pace);
    loop {
        beat.tick().await;
        if app.workers_answer(pace).await {
            say(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("a worker does not answer; the watchdog is not fed");
        }
    }
}

/// Half the interval, if it is meant for this process.
fn pace(micros: Option<&str>, meant_for: Option<&str>, own: u32) -> Option<Duration> {
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 1)?;
    let ours = meant_for.is_none_or(|id| id.parse() == Ok(own));
    ours.then(|| Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_at_half_its_interval() {
        let second = Some(Duration::from_secs(1));
        for (micros, meant_for, expect) in [
            (Some("2000000"), Some("7"), second),
            (Some("2000000"), None, second),
            (Some("2000000"), Some("8"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(
                pace(micros, meant_for, 7),
                expect,
                "{micros:?} {meant_for:?}"
            );
        }
    }
}
