//! What of the time was spent in proxies, from their own figures.
//!
//! A call passes two: on the listener where names are called, and on the one in front of the replica, which are of one proxy
//! where the host has one for all. The time of a call less the time that the replica took for its answer is what they cost.

use super::people::Description;
use std::collections::BTreeMap;
use std::time::Duration;

/// More answers than calls by this factor are more than repeated tries explain.
const COPIED: f64 = 1.02;

/// Figures of the proxies at some time.
#[derive(Debug)]
pub(super) struct Proxies {
    http: reqwest::Client,
    urls: Vec<String>,
    /// Whose replica listens on a port.
    replicas: BTreeMap<String, String>,
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
    pub(super) async fn of(bank: &Description) -> Self {
        let mut proxies = Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(5))
                .build()
                .unwrap_or_default(),
            urls: std::iter::once(&bank.admin)
                .chain(&bank.beside)
                .map(|page| format!("{page}/metrics"))
                .collect(),
            replicas: bank.replicas.clone(),
            before: Sums::default(),
        };
        proxies.before = proxies.read().await;
        proxies
    }

    /// What was spent since.
    pub(super) async fn since(&self) -> Vec<Cost> {
        cost(&self.before, &self.read().await)
    }

    async fn read(&self) -> Sums {
        let mut sums = Sums::default();
        for url in &self.urls {
            let text = match self.http.get(url).send().await {
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(_) => String::new(),
            };
            parse(&text, &self.replicas, &mut sums);
        }
        sums
    }
}

/// Adds what one proxy tells.
fn parse(text: &str, replicas: &BTreeMap<String, String>, sums: &mut Sums) {
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
            // By the listener in front of a replica, which knows it by its address: `/$/inet/127.0.0.1/21000`.
            let port = label("replica_set").and_then(|set| set.rsplit('/').next());
            let Some(service) = port.and_then(|port| replicas.get(port)) else {
                continue;
            };
            sums.answered.entry(service.clone()).or_default()
        } else {
            continue;
        };
        if series.contains("_seconds_sum") {
            sum.seconds += value;
        } else if series.contains("_seconds_count") {
            sum.count += value;
        }
    }
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
        // Copies are answered and not called: what they took cannot be told from the rest.
        if answered.count > called.count * COPIED {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_cost_what_a_call_took_longer_than_its_answer() {
        let replicas = BTreeMap::from([("21000".to_owned(), "ledger".to_owned())]);
        let text = |called: f64, answered: f64, count: u64| {
            format!(
                "heddle_request_duration_seconds_sum{{listener=\"outbound\",service=\"/svc/ledger\"}} {called}\n\
                 heddle_request_duration_seconds_count{{listener=\"outbound\",service=\"/svc/ledger\"}} {count}\n\
                 heddle_request_duration_seconds_sum{{listener=\"ledger-v1-1\",service=\"/svc/ledger-v1-1\"}} 9\n\
                 heddle_attempt_duration_seconds_sum{{replica_set=\"/$/inet/127.0.0.1/21000\"}} {answered}\n\
                 heddle_attempt_duration_seconds_count{{replica_set=\"/$/inet/127.0.0.1/21000\"}} {count}\n\
                 heddle_attempt_duration_seconds_sum{{replica_set=\"/#/static/ledger-v1\"}} 9\n"
            )
        };
        let sums = |texts: &[String]| {
            let mut sums = Sums::default();
            for text in texts {
                parse(text, &replicas, &mut sums);
            }
            sums
        };
        // Two proxies, of which one does nothing after the start.
        let idle = text(1.0, 0.5, 10);
        let before = sums(&[idle.clone(), text(1.0, 0.5, 10)]);
        let after = sums(&[idle, text(3.0, 1.5, 20)]);
        let costs = cost(&before, &after);
        assert_eq!(costs.len(), 1);
        let Cost {
            service,
            calls,
            proxies,
            share,
        } = &costs[0];
        assert_eq!(
            (service.as_str(), *calls, proxies.as_millis()),
            ("ledger", 10, 100)
        );
        assert!((share - 0.5).abs() < 1e-9);
    }
}
