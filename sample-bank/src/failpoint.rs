//! Fail points: places where a test has a service die as by `kill -9`, at one of so many times.
//!
//! `BANK_FAIL_POINTS="ledger.committed=1/50,relay.published=1"`: a process dies at a random one of the first fifty times, so
//! that a test which comes by often enough can count on a death. Names that no service has are refused at the start, so
//! that a test cannot pass because of a misspelt one.

use crate::Failure;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Every fail point of the Rust services, with the boundary it stands at.
pub const POINTS: [(&str, &str); 17] = [
    ("ledger.received", "a request was read, nothing was written"),
    ("ledger.written", "written, not yet committed"),
    ("ledger.committed", "committed, not yet answered"),
    (
        "relay.read",
        "events were read from the outbox, not yet published",
    ),
    ("relay.published", "published, not yet marked in the outbox"),
    (
        "accounts.stored",
        "an account is stored, not yet open in the ledger",
    ),
    ("accounts.posted", "the ledger has posted, not yet answered"),
    ("cards.held", "the ledger has the hold, not yet answered"),
    ("cards.captured", "the ledger has captured, not yet noticed"),
    ("lock.granted", "a lock is granted, not yet answered"),
    ("queue.received", "events are read, nothing was published"),
    ("queue.published", "published, not yet answered"),
    (
        "queue.delivered",
        "an event had its effect, its offset is not committed",
    ),
    (
        "queue.kept",
        "an event is in the dead letters, its offset is not committed",
    ),
    (
        "queue.redelivered",
        "a dead letter had its effect, it is not struck off",
    ),
    (
        "queue.committed",
        "offsets were handed to the broker, perhaps not yet stored",
    ),
    ("gateway.answered", "the answer is here, not yet passed on"),
];

/// The name of the variable that arms them.
pub const VARIABLE: &str = "BANK_FAIL_POINTS";

/// One in how many, by name.
type Armed = HashMap<String, u64>;

/// How many times each is passed before this process dies there.
static ARMED: OnceLock<HashMap<String, AtomicU64>> = OnceLock::new();

/// Reads `BANK_FAIL_POINTS`, once, before a service starts.
///
/// # Errors
///
/// Names the entry that is no fail point, or that is not `name=1/N`.
pub fn arm() -> Result<(), Failure> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let armed = parse(&text).map_err(Failure::new)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut seed = u64::from(now.map_or(0, |d| d.subsec_nanos()) ^ std::process::id());
    ARMED.get_or_init(|| {
        let draw = |(name, one_in)| (name, AtomicU64::new(random(&mut seed) % one_in));
        armed.into_iter().map(draw).collect()
    });
    Ok(())
}

/// Dies here, if this fail point is armed and its turn has come: no cleaning up, no flushing, as by `kill -9`.
pub fn reach(name: &str) {
    let Some(left) = ARMED.get().and_then(|armed| armed.get(name)) else {
        return;
    };
    if left.fetch_sub(1, Relaxed) == 0 {
        let own = rustix::process::getpid();
        // The signal cannot be refused; should it be, `abort` ends the process all the same.
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        std::process::abort();
    }
}

/// SplitMix64: a few bits of chance.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn parse(text: &str) -> Result<Armed, String> {
    let mut armed = Armed::new();
    for entry in text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
    {
        let (name, chance) = entry.split_once('=').unwrap_or((entry, ""));
        let chance = chance.strip_prefix("1/").unwrap_or(chance);
        let one_in: u64 = match chance.parse() {
            Ok(one_in) if one_in > 0 => one_in,
            _ => return Err(format!("{VARIABLE}: `{entry}`: write name=1 or name=1/N")),
        };
        // Those of other services may stand in the same variable.
        let own = name
            .split_once('.')
            .is_some_and(|(service, _)| !service.is_empty());
        let known = POINTS.iter().any(|(known, _)| *known == name);
        let ours = POINTS
            .iter()
            .any(|(known, _)| known.split('.').next() == name.split('.').next());
        if !own || (ours && !known) {
            return Err(format!("{VARIABLE}: there is no fail point `{name}`"));
        }
        armed.insert(name.to_owned(), one_in);
    }
    Ok(armed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read() {
        let armed = parse("ledger.committed=1/50, relay.published=1,feed.stored=1/3").unwrap();
        assert_eq!(armed["ledger.committed"], 50);
        assert_eq!(armed["relay.published"], 1);
        assert_eq!(armed["feed.stored"], 3);
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn the_readme_lists_every_fail_point() {
        let readme = include_str!("../README.md");
        for (name, _) in POINTS {
            let quoted = format!("`{name}`");
            assert!(
                readme.contains(&quoted),
                "sample-bank/README.md lacks {name}"
            );
        }
    }

    #[test]
    fn what_is_no_fail_point_is_refused() {
        for bad in [
            "ledger.comitted=1/50",
            "ledger.committed",
            "ledger.committed=0",
            "ledger.committed=2/3",
            "committed=1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
