//! Pure. What is known about one DNS question, and when to ask it again.
//!
//! The last good answer is kept whatever goes wrong afterwards: a failing server, a timeout, an empty answer
//! and "no such name" all leave it in place, because names of running services vanish far more often by
//! accident than on purpose, and the health of the endpoints decides in the end. Only a name that never had
//! an answer is negative.

use crate::discovery::guard::{self, Verdict};
use heddle_core::Nanos;
use heddle_core::config::Dns;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Records of one answer that are used; a DNS message of 64 KiB holds about as many addresses.
pub(crate) const RECORDS_MAX: usize = 4096;

/// The shortest wait between two questions for one name, whatever the configuration says.
pub(crate) const WAIT_MIN: Duration = Duration::from_millis(100);

/// The longest wait before a failing question is asked again.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(30);

/// A question: what to ask a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Question {
    /// The addresses (A and AAAA) of a host, in lower case.
    Addresses(String),
    /// The addresses and ports (SRV, then A and AAAA) of a service, in lower case.
    Services(String),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(name) => write!(f, "addresses of {name}"),
            Self::Services(name) => write!(f, "SRV records of {name}"),
        }
    }
}

/// One address of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Record {
    /// Where.
    pub ip: IpAddr,
    /// Which port; 0 in the answer to [`Question::Addresses`], which knows none.
    pub port: u16,
    /// Share relative to the other records.
    pub weight: f64,
}

/// A successful answer with at least one record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The records, in any order.
    pub records: Vec<Record>,
    /// How long they may be used before the question is asked again.
    pub ttl: Duration,
    /// What of the answer could not be found out, so that what is known of it stays.
    pub missing: Option<Missing>,
}

/// The part of an answer that is not there because a server failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// IPv4 addresses.
    V4,
    /// IPv6 addresses.
    V6,
    /// Some of the addresses.
    Some,
}

impl Missing {
    fn covers(self, ip: IpAddr) -> bool {
        match self {
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
            Self::Some => true,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The name does not exist (`NXDOMAIN`), for so long if the server said.
    NoSuchName(Option<Duration>),
    /// The name exists without such records, for so long if the server said.
    NoRecords(Option<Duration>),
    /// The resolver failed, timed out or answered nonsense; says how.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchName(_) => f.write_str("no such name (NXDOMAIN)"),
            Self::NoRecords(_) => f.write_str("the name exists but has no usable address"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// What is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// Nothing yet.
    Pending,
    /// The last good answer: distinct records in order, never empty.
    Good(Vec<Record>),
    /// There never was an answer, and this is why.
    Never(Failure),
}

/// What an answer led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Something else is known now.
    Changed,
    /// A good answer that says the same.
    Same,
    /// No answer, and the last good one stays.
    Kept,
    /// No answer, and there never was one.
    Never,
    /// The guard holds the answer.
    Held,
}

/// An answer that the guard holds.
#[derive(Debug, Clone)]
struct Held {
    records: Vec<Record>,
    since: Nanos,
}

/// One question's state.
#[derive(Debug)]
pub(crate) struct Asked {
    known: Known,
    held: Option<Held>,
    failures: u32,
    due: Option<Nanos>,
}

impl Asked {
    /// A question that is due at once.
    pub(crate) fn new(now: Nanos) -> Self {
        Self {
            known: Known::Pending,
            held: None,
            failures: 0,
            due: Some(now),
        }
    }

    /// What is known.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// When to ask, unless the question is on its way.
    pub(crate) fn due(&self) -> Option<Nanos> {
        self.due
    }

    /// Marks the question as on its way.
    pub(crate) fn sent(&mut self) {
        self.due = None;
    }

    /// Asks again at once, for instance because the servers have changed.
    pub(crate) fn hurry(&mut self, now: Nanos) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// The records that a held answer drops, with the time since which it is held.
    pub(crate) fn lost(&self) -> Option<(Nanos, Vec<Record>)> {
        let held = self.held.as_ref()?;
        let Known::Good(current) = &self.known else {
            return None;
        };
        let lost = |record: &&Record| {
            !held
                .records
                .iter()
                .any(|kept| kept.ip == record.ip && kept.port == record.port)
        };
        Some((held.since, current.iter().filter(lost).copied().collect()))
    }

    /// Uses the held answer now.
    pub(crate) fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.known = Known::Good(held.records);
        }
    }

    /// Takes what came back.
    pub(crate) fn answered(
        &mut self,
        now: Nanos,
        result: Result<Answer, Failure>,
        dns: &Dns,
    ) -> Effect {
        let result = match result {
            Ok(answer) if answer.records.is_empty() => Err(Failure::NoRecords(Some(answer.ttl))),
            other => other,
        };
        match result {
            Ok(answer) => self.good(now, answer, dns),
            Err(failure) => self.bad(now, failure, dns),
        }
    }

    fn good(&mut self, now: Nanos, answer: Answer, dns: &Dns) -> Effect {
        self.failures = 0;
        self.due = Some(after(now, within(answer.ttl, dns.min_ttl, dns.max_ttl)));
        let current = match &self.known {
            Known::Good(records) => records.as_slice(),
            Known::Pending | Known::Never(_) => &[],
        };
        let mut records = answer.records;
        if let Some(missing) = answer.missing {
            records.extend(current.iter().filter(|record| missing.covers(record.ip)));
        }
        let records = in_order(records);
        if records == current {
            self.held = None;
            return Effect::Same;
        }
        if guard::judge(current.len(), records.len()) == Verdict::Hold {
            let since = self.held.as_ref().map_or(now, |held| held.since);
            self.held = Some(Held { records, since });
            return Effect::Held;
        }
        self.held = None;
        self.known = Known::Good(records);
        Effect::Changed
    }

    fn bad(&mut self, now: Nanos, failure: Failure, dns: &Dns) -> Effect {
        let wait = match failure {
            Failure::NoSuchName(ttl) | Failure::NoRecords(ttl) => {
                self.failures = 0;
                ttl.unwrap_or(dns.min_ttl)
            }
            Failure::Broken(_) => {
                let doubled = 2_u32.saturating_pow(self.failures.min(16));
                self.failures = self.failures.saturating_add(1);
                dns.min_ttl.saturating_mul(doubled)
            }
        };
        self.due = Some(after(now, within(wait, dns.min_ttl, RETRY_MAX)));
        match &self.known {
            Known::Good(_) => Effect::Kept,
            Known::Never(_) => {
                self.known = Known::Never(failure);
                Effect::Never
            }
            Known::Pending => {
                self.known = Known::Never(failure);
                Effect::Changed
            }
        }
    }
}

/// A wait of at least `min` and at most `max`; the least counts more.
fn within(wait: Duration, min: Duration, max: Duration) -> Duration {
    wait.min(max).max(min).max(WAIT_MIN)
}

fn after(now: Nanos, wait: Duration) -> Nanos {
    now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(Nanos::MAX))
}

/// Distinct records in an order that does not depend on the server's rotation, at most [`RECORDS_MAX`].
fn in_order(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by(|a, b| {
        (a.ip, a.port)
            .cmp(&(b.ip, b.port))
            .then(b.weight.total_cmp(&a.weight))
    });
    records.dedup_by_key(|record| (record.ip, record.port));
    records.truncate(RECORDS_MAX);
    records
}

#[cfg(test)]
mod tests;
