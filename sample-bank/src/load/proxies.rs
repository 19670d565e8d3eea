//! What of the time was spent in proxies, from the host proxy's own figures.
//!
//! A call passes it twice: on the listener where names are called, and on the one in front of the replica. The time of a
//! call less the time that the replica took for its answer is what the two passes cost.

use std::collections::BTreeMap;
use std::time::Duration;

/// Figures of the proxy at some time.
#[derive(Debug)]
pub(super) struct Proxies {
    http: reqwest::Client,
    url: String,
    before: Sums,
}

/// Seconds and number of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sum {
    seconds: f64,
    count: f64,
}

/// By service: as called, and as answered by replicas.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sums {
    called: BTreeMap<String, Sum>,
    answered: BTreeMap<String, Sum>,
}

/// What the calls of one service cost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cost {
    /// Its name.
    pub service: String,
    /// Calls.
    pub calls: u64,
    /// In the proxies, per call.
    pub proxies: Duration,
    /// Of the whole call, 0 to 1.
    pub share: f64,
}

impl Proxies {
    /// Reads the figures now.
    pub(super) async fn of(admin: &str) -> Self {
        let mut proxies = Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(5))
                .build()
                .unwrap_or_default(),
            url: format!("{admin}/metrics"),
            before: Sums::default(),
        };
        proxies.before = proxies.read().await;
        proxies
    }

    /// What was spent since; empty where the replicas have proxies of their own.
    pub(super) async fn since(&self) -> Vec<Cost> {
        cost(&self.before, &self.read().await)
    }

    async fn read(&self) -> Sums {
        let answer = self.http.get(&self.url).send().await;
        let text = match answer {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        parse(&text)
    }
}

fn parse(text: &str) -> Sums {
    let mut sums = Sums::default();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let Ok(value) = value.parse::<f64>() else {
            continue;
        };
        let label = |name: &str| {
            let start = series.find(&format!("{name}=\""))? + name.len() + 2;
            series[start..].split('"').next()
        };
        let is = |name: &str| series.starts_with(name);
        let sum = if is("heddle_request_duration_seconds_")
            && matches!(label("listener"), Some("outbound" | "door"))
        {
            let service = label("service")
                .unwrap_or_default()
                .trim_start_matches("/svc/");
            sums.called.entry(service.to_owned()).or_default()
        } else if is("heddle_attempt_duration_seconds_") {
            // Of a listener in front of a replica: `ledger-v1-1` answered for ledger.
            let Some(service) = label("replica_set").and_then(service_of) else {
                continue;
            };
            sums.answered.entry(service.to_owned()).or_default()
        } else {
            continue;
        };
        if series.contains("_seconds_sum") {
            sum.seconds += value;
        } else if series.contains("_seconds_count") {
            sum.count += value;
        }
    }
    sums
}

/// `feed` of `feed-v1-2`; nothing of others.
fn service_of(set: &str) -> Option<&str> {
    let (front, number) = set.rsplit_once('-')?;
    number.parse::<u32>().ok()?;
    let (service, version) = front.rsplit('/').next()?.rsplit_once('-')?;
    version.starts_with('v').then_some(service)
}

fn cost(before: &Sums, after: &Sums) -> Vec<Cost> {
    let less = |now: &BTreeMap<String, Sum>, then: &BTreeMap<String, Sum>, service: &str| {
        let (now, then) = (
            now.get(service).copied()?,
            then.get(service).copied().unwrap_or_default(),
        );
        Some(Sum {
            seconds: now.seconds - then.seconds,
            count: now.count - then.count,
        })
    };
    let costs = after.called.keys().filter_map(|service| {
        let called = less(&after.called, &before.called, service)?;
        let answered = less(&after.answered, &before.answered, service)?;
        // Streams last as long as somebody listens: their time is nobody's cost.
        if called.count < 1.0 || called.seconds <= 0.0 || service == "notifications" {
            return None;
        }
        let spent = (called.seconds - answered.seconds).max(0.0);
        Some(Cost {
            service: service.clone(),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count, at least 1"
            )]
            calls: called.count as u64,
            proxies: Duration::from_secs_f64(spent / called.count),
            share: spent / called.seconds,
        })
    });
    costs.collect()
}
