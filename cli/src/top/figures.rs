//! Pure. What two readings of `/stats.json` say: rates, shares and percentiles.

use serde_json::Value;

/// Version of the document that this reads.
const VERSION: u64 = 1;

/// One logical name on one listener.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) listener: String,
    /// Requests a second; `None` after one reading only.
    pub(super) rate: Option<f64>,
    /// Share of the requests between the readings that did not fail, 0..=1; of all requests when there was none between.
    pub(super) success: Option<f64>,
    /// Seconds at 50, 95 and 99 %, taken over the same requests.
    pub(super) percentiles: [Option<f64>; 3],
    pub(super) in_flight: u64,
    pub(super) retry_rate: Option<f64>,
    pub(super) budget: u64,
    pub(super) requests: u64,
}

/// One endpoint of one replica set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Replica {
    pub(super) set: String,
    pub(super) address: String,
    /// `open`, `busy`, `closed`, or `ejected`.
    pub(super) status: String,
    /// Until it is probed, while it is ejected.
    pub(super) ejected_seconds: Option<f64>,
    pub(super) ewma_seconds: Option<f64>,
    pub(super) in_flight: u64,
    pub(super) rate: Option<f64>,
    pub(super) failures: u64,
    pub(super) connections: u64,
    pub(super) requests: u64,
}

/// What two readings say.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) services: Vec<Service>,
    pub(super) replicas: Vec<Replica>,
    /// Why the proxy takes no traffic, if it does not.
    pub(super) not_ready: Option<String>,
    pub(super) generation: u64,
    /// Whether the last change of the configuration was refused.
    pub(super) refused: bool,
}

/// A reading that can be understood.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let hint = "is this the admin address of a running proxy, and of this version?";
    let reading: Value = serde_json::from_str(text)
        .map_err(|error| format!("its figures are not JSON: {error}; {hint}"))?;
    match reading["version"].as_u64() {
        Some(VERSION) => Ok(reading),
        version => Err(format!(
            "its figures are of version {version:?}, not {VERSION}; {hint}"
        )),
    }
}

/// How much a counter grew. One that went down began anew with another process.
pub(super) fn grown(now: u64, before: Option<u64>) -> u64 {
    match before {
        Some(before) if before <= now => now - before,
        _ => now,
    }
}

/// The quantile `q` (0..=1) of a histogram: linear within the bucket, as Prometheus has it. `counts` are not cumulated and
/// one more than `bounds`; what lies beyond the last bound is only known to be beyond it.
pub(super) fn quantile(bounds: &[f64], counts: &[u64], q: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = q * total as f64;
    let mut passed = 0.0;
    for (bucket, &count) in counts.iter().enumerate() {
        let count = count as f64;
        if count > 0.0 && passed + count >= wanted {
            let Some(&high) = bounds.get(bucket) else {
                break;
            };
            let low = match bucket {
                0 => 0.0,
                _ => bounds[bucket - 1],
            };
            return Some(low + (high - low) * ((wanted - passed) / count).max(0.0));
        }
        passed += count;
    }
    bounds.last().copied()
}

/// What `now` says, compared with the reading `before` when that is of the same process.
pub(super) fn figures(now: &Value, before: Option<&Value>) -> Figures {
    let before = before.filter(|before| before["process"] == now["process"]);
    let seconds = before.map_or(0.0, |before| {
        number(&now["monotonicSeconds"]) - number(&before["monotonicSeconds"])
    });
    let since = Since {
        before: before.filter(|_| seconds > 0.0),
        seconds,
        bounds: list(&now["latencyBounds"]).iter().map(number).collect(),
    };
    let sets = list(&now["replicaSets"]);
    Figures {
        services: list(&now["services"])
            .iter()
            .map(|service| since.service(service))
            .collect(),
        replicas: sets.iter().flat_map(|set| since.replicas(set)).collect(),
        not_ready: now["notReady"].as_str().map(shown),
        generation: count(&now["config"]["generation"]),
        refused: !now["config"]["refused"].is_null(),
    }
}

struct Since<'v> {
    before: Option<&'v Value>,
    seconds: f64,
    bounds: Vec<f64>,
}

impl Since<'_> {
    fn rate(&self, now: u64, before: Option<u64>) -> Option<f64> {
        self.before?;
        Some(grown(now, before) as f64 / self.seconds)
    }

    fn service(&self, now: &Value) -> Service {
        let was = self.before.and_then(|before| {
            list(&before["services"])
                .iter()
                .find(|was| was["name"] == now["name"] && was["listener"] == now["listener"])
        });
        let (requests, failures) = (count(&now["requests"]), count(&now["failures"]));
        let old = |key: &str| was.map(|was| count(&was[key]));
        let recent = grown(requests, old("requests"));
        let success = match (self.before.is_some(), recent) {
            (true, 1..) => share(recent, grown(failures, old("failures"))),
            _ => share(requests, failures),
        };
        let all: Vec<u64> = list(&now["latency"]["counts"]).iter().map(count).collect();
        let old_counts = was.map(|was| list(&was["latency"]["counts"]));
        let recent: Vec<u64> = all
            .iter()
            .enumerate()
            .map(|(i, &now)| grown(now, old_counts.and_then(|old| old.get(i)).map(count)))
            .collect();
        let counts = if recent.iter().any(|&count| count > 0) {
            &recent
        } else {
            &all
        };
        Service {
            name: text(&now["name"]),
            listener: text(&now["listener"]),
            rate: self.rate(requests, old("requests")),
            success,
            percentiles: [0.5, 0.95, 0.99].map(|q| quantile(&self.bounds, counts, q)),
            in_flight: count(&now["inFlight"]),
            retry_rate: self.rate(
                total(&now["retries"]),
                was.map(|was| total(&was["retries"])),
            ),
            budget: count(&now["retryBudget"]["balance"]),
            requests,
        }
    }

    fn replicas<'n>(&'n self, set: &'n Value) -> impl Iterator<Item = Replica> + 'n {
        let was = self.before.and_then(|before| {
            list(&before["replicaSets"])
                .iter()
                .find(|was| was["id"] == set["id"])
        });
        list(&set["endpoints"]).iter().map(move |now| {
            let was = was.and_then(|was| {
                list(&was["endpoints"])
                    .iter()
                    .find(|was| was["address"] == now["address"])
            });
            let requests = count(&now["requests"]);
            let ejected = now["ejectedMs"].as_f64();
            Replica {
                set: text(&set["id"]),
                address: text(&now["address"]),
                status: match ejected {
                    Some(_) => "ejected".to_owned(),
                    None => text(&now["status"]),
                },
                ejected_seconds: ejected.map(|ms| ms / 1000.0),
                ewma_seconds: now["ewmaMs"].as_f64().map(|ms| ms / 1000.0),
                in_flight: count(&now["inFlight"]),
                rate: self.rate(requests, was.map(|was| count(&was["requests"]))),
                failures: count(&now["failures"]),
                connections: count(&now["connections"]),
                requests,
            }
        })
    }
}

fn share(all: u64, failed: u64) -> Option<f64> {
    (all > 0).then(|| all.saturating_sub(failed) as f64 / all as f64)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn total(counts: &Value) -> u64 {
    counts
        .as_object()
        .map_or(0, |counts| counts.values().map(count).sum())
}

fn text(value: &Value) -> String {
    shown(value.as_str().unwrap_or_default())
}

/// Names come from strangers: nothing in them may steer the terminal.
fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
