//! How long events took from the ledger to the feed: each file of the feed's read model says when it was written, and in it
//! stands when the ledger wrote the event. Both clocks are this machine's.

use super::people::People;
use hdrhistogram::Histogram;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds of the events that the ledger wrote after `began`. Empty when the read model is not on this machine.
pub(super) fn feed(state: &Path, people: &People, began: SystemTime) -> Histogram<u64> {
    let mut found = super::report::histogram();
    let began = began.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    for account in people
        .customers
        .iter()
        .flat_map(|customer| &customer.accounts)
    {
        let files = fs::read_dir(state.join("feed").join(&account.id))
            .into_iter()
            .flatten()
            .flatten();
        for file in files {
            let Some((event, arrived)) = times(&file.path()) else {
                continue;
            };
            if event >= began {
                let took = arrived.saturating_sub(event).as_millis();
                found.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
            }
        }
    }
    found
}

/// When the ledger wrote an event, and when the feed did.
fn times(file: &Path) -> Option<(Duration, Duration)> {
    let text = fs::read_to_string(file).ok()?;
    let event: serde_json::Value = serde_json::from_str(&text).ok()?;
    let time = since_1970(event["time"].as_str()?)?;
    let written = fs::metadata(file).ok()?.modified().ok()?;
    Some((time, written.duration_since(UNIX_EPOCH).ok()?))
}

/// Reads `2026-11-24T11:37:09.042Z`, the one form of time that the bank writes.
fn since_1970(text: &str) -> Option<Duration> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Years begin in March here, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468;
    let seconds = days * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let milliseconds = seconds * 1000 + number(20, 23)?;
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_bank_writes_them() {
        for milliseconds in [0, 951_782_400_000, 1_795_520_229_042, 4_107_542_399_999] {
            let text = crate::clock::rfc3339(milliseconds);
            let read = since_1970(&text).expect("it is a time");
            assert_eq!(i64::try_from(read.as_millis()), Ok(milliseconds), "{text}");
        }
        assert_eq!(since_1970("yesterday"), None);
    }
}
