//! A subscription: which topic goes to which URL, and how.

use super::publish::check_name;
use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bounds of what a subscription may ask for.
const CONCURRENCY: (usize, usize) = (1, 256);
const TIMEOUT: (u64, u64) = (10, 60_000);
const ATTEMPTS: (u32, u32) = (1, 1000);
const BACKOFF: (u64, u64) = (1, 10_000);
/// Longest URL, in bytes.
const URL_LIMIT: usize = 1000;

/// As `PUT /subscriptions/{name}` takes it; what is missing has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscription {
    /// Also the name of its consumer group, and of its dead letters after `dead.`.
    #[serde(default)]
    pub(super) name: String,
    /// The topic.
    pub(super) topic: String,
    /// Where events are sent, by `POST`.
    pub(super) to: String,
    /// Requests in flight at most, per replica of the queue.
    #[serde(default = "concurrency")]
    pub(super) concurrency: usize,
    /// How long one request may take, in milliseconds.
    #[serde(default = "timeout")]
    timeout_ms: u64,
    /// Tries that count against an event before it is parked.
    #[serde(default = "attempts")]
    pub(super) attempts: u32,
    /// The wait after the first try, in milliseconds; it doubles with each, to ten seconds at most.
    #[serde(default = "backoff")]
    backoff_ms: u64,
    /// Nothing is delivered while it is.
    #[serde(default)]
    pub(super) paused: bool,
    /// Of a replay: the offset where each partition begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<BTreeMap<i32, i64>>,
}

fn concurrency() -> usize {
    16
}

fn timeout() -> u64 {
    5000
}

fn attempts() -> u32 {
    8
}

fn backoff() -> u64 {
    100
}

impl Subscription {
    /// A subscription with the defaults.
    pub(super) fn new(name: &str, topic: &str, to: &str) -> Self {
        Self {
            name: name.to_owned(),
            topic: topic.to_owned(),
            to: to.to_owned(),
            concurrency: concurrency(),
            timeout_ms: timeout(),
            attempts: attempts(),
            backoff_ms: backoff(),
            paused: false,
            from: None,
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(super) fn backoff(&self) -> Duration {
        Duration::from_millis(self.backoff_ms)
    }

    /// Refuses what cannot be carried out.
    pub(super) fn check(&self) -> Result<(), Problem> {
        check_name("subscription", &self.name)?;
        check_name("topic", &self.topic)?;
        let url = self.to.starts_with("http://") && self.to.len() <= URL_LIMIT;
        if !url || self.to.parse::<http::Uri>().is_err() {
            return Err(Problem::malformed(
                "`to` is the URL that events are sent to, like http://feed/events",
            ));
        }
        within("concurrency", self.concurrency, CONCURRENCY)?;
        within("timeout_ms", self.timeout_ms, TIMEOUT)?;
        within("attempts", self.attempts, ATTEMPTS)?;
        within("backoff_ms", self.backoff_ms, BACKOFF)
    }
}

fn within<N: PartialOrd + std::fmt::Display>(
    field: &str,
    value: N,
    (least, most): (N, N),
) -> Result<(), Problem> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(Problem::malformed(format!(
        "`{field}` is {value}: give {least} to {most}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_carried_out_is_refused() {
        let good = Subscription::new("feed", "feed.items", "http://feed/events");
        assert!(good.check().is_ok());
        let with = |change: fn(&mut Subscription)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed
        };
        for (bad, word) in [
            (with(|s| s.name = "Feed".into()), "subscription"),
            (with(|s| s.topic = "dead.feed".into()), "topic"),
            (with(|s| s.to = "ftp://feed".into()), "`to`"),
            (with(|s| s.to = "http://a b".into()), "`to`"),
            (with(|s| s.concurrency = 0), "concurrency"),
            (with(|s| s.timeout_ms = 60_001), "timeout_ms"),
            (with(|s| s.attempts = 0), "attempts"),
            (with(|s| s.backoff_ms = 0), "backoff_ms"),
        ] {
            let problem = bad.check().unwrap_err();
            assert!(problem.detail.contains(word), "{problem}");
        }
    }

    #[test]
    fn defaults_fill_what_is_missing() {
        let text = r#"{"topic":"feed.items","to":"http://feed/events"}"#;
        let mut read: Subscription = serde_json::from_str(text).unwrap();
        read.name = "feed".into();
        assert_eq!(
            read,
            Subscription::new("feed", "feed.items", "http://feed/events")
        );
        assert!(serde_json::from_str::<Subscription>(r#"{"topic":"a","to":"b","x":1}"#).is_err());
    }
}
