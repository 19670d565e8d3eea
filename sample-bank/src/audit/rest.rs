//! Waiting until nothing is unprocessed: no open hold, no event in the outbox, none before a subscriber.

use super::Verdict;
use super::collect::Collector;
use crate::Failure;
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Everything must be seen at rest so often in a row: an event may be between two places during one look.
const LOOKS: u32 = 3;

#[derive(Debug, Deserialize)]
struct Subscription {
    name: String,
    lag: i64,
    parked: i64,
    waiting: i64,
}

/// Waits, at most `within`; what is not at rest by then is a violation. Gives the names of the subscribers.
///
/// # Errors
///
/// Ledger or queue do not answer.
pub(super) async fn wait(
    collector: &Collector,
    within: Duration,
    verdict: &mut Verdict,
) -> Result<Vec<String>, Failure> {
    let deadline = Instant::now() + within;
    let mut quiet = 0;
    loop {
        let (subscribers, unrest) = look(collector).await?;
        quiet = if unrest.is_empty() { quiet + 1 } else { 0 };
        if quiet >= LOOKS {
            return Ok(subscribers);
        }
        if Instant::now() > deadline {
            verdict.violations.extend(
                unrest
                    .into_iter()
                    .map(|what| format!("after {} s {what}", within.as_secs())),
            );
            return Ok(subscribers);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(collector: &Collector) -> Result<(Vec<String>, Vec<String>), Failure> {
    let mut unrest = Vec::new();
    let totals: Value = collector.get("http://ledger/totals").await?;
    let holds = totals["open_holds"].as_i64().unwrap_or(-1);
    if holds != 0 {
        unrest.push(format!("{holds} holds are open"));
    }
    let outbox: Value = collector.get("http://ledger/outbox").await?;
    let unpublished = outbox["unpublished"].as_i64().unwrap_or(-1);
    if unpublished != 0 {
        unrest.push(format!("{unpublished} events are in the outbox"));
    }
    let subscriptions: Vec<Subscription> = collector.get("http://queue/subscriptions").await?;
    for one in &subscriptions {
        if one.lag != 0 {
            unrest.push(format!("{} events are before {}", one.lag, one.name));
        }
        if one.parked + one.waiting != 0 {
            unrest.push(format!(
                "{} events of {} are dead letters",
                one.parked + one.waiting,
                one.name
            ));
        }
    }
    Ok((
        subscriptions.into_iter().map(|one| one.name).collect(),
        unrest,
    ))
}
