//! The data plane's clock: monotonic nanoseconds since the process began to ask.

use heddle_core::Nanos;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::Instant;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

fn origin() -> Instant {
    *ORIGIN.get_or_init(Instant::now)
}

/// Now. Follows tokio's clock, so that paused time works in tests.
pub(crate) fn now() -> Nanos {
    Instant::now()
        .saturating_duration_since(origin())
        .as_nanos() as Nanos
}

/// The instant that `nanos` means.
pub(crate) fn instant(nanos: Nanos) -> Instant {
    origin() + Duration::from_nanos(nanos)
}

/// `duration` as nanoseconds, saturating after 584 years.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
