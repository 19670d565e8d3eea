//! Settlement: what was approved some seconds ago is captured. Every replica runs one; the one that holds the lock
//! `settlement` works, and the ledger refuses the one that only believes to hold it.

use crate::call::{Peers, Trace};
use crate::failpoint;
use crate::ids;
use crate::lock::Lease;
use crate::problem::{Code, Problem};
use crate::web::Stop;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::Method;
use prometheus::{IntCounter, register_int_counter};
use serde::Deserialize;
use serde_json::json;
use std::sync::LazyLock;
use std::time::Duration;

/// The lock's lease, and how long one call for it waits.
const TTL: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(3);
/// Between two looks for holds that are due.
const LOOK: Duration = Duration::from_millis(250);
/// Holds of one look; fewer are left for the next than come in between.
const BATCH: usize = 200;
/// Captures in flight: the ledger commits them together.
const AT_ONCE: usize = 8;
/// After a failure; it doubles up to the last.
const BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

static CAPTURED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "bank_holds_captured_total",
        "Card payments that this replica has captured"
    )
    .expect("each metric has a name of its own")
});

#[derive(Debug, Deserialize)]
struct Due {
    holds: Vec<Hold>,
}

#[derive(Debug, Deserialize)]
struct Hold {
    id: String,
}

/// Runs until the stop.
pub(super) async fn run(peers: Peers, after: Duration, mut stop: Stop) {
    let owner = format!("cards-{}", std::process::id());
    let mut wait = BACKOFF;
    while !stop.is_requested() {
        let lease = tokio::select! {
            () = stop.requested() => return,
            lease = Lease::acquire(&peers, "settlement", &owner, TTL, WAIT) => lease,
        };
        let held = match lease {
            Ok(lease) => settle(&peers, lease, after, &mut stop, &mut wait).await,
            Err(problem) => Err(problem),
        };
        match held {
            Ok(()) => {}
            Err(problem) if problem.code == Code::LockHeld => {} // it was waited for
            Err(problem) => {
                tracing::warn!(%problem, "settlement waits");
                stop.sleep(wait).await;
                wait = (wait * 2).min(LONGEST_BACKOFF);
            }
        }
    }
}

async fn settle(
    peers: &Peers,
    mut lease: Lease,
    after: Duration,
    stop: &mut Stop,
    wait: &mut Duration,
) -> Result<(), Problem> {
    let due = format!(
        "http://ledger/holds?state=open&older_than={}&limit={BATCH}",
        after.as_secs_f64()
    );
    let outcome = loop {
        if stop.is_requested() {
            break Ok(());
        }
        lease.keep(peers).await?; // lost: nothing to release
        match round(peers, &mut lease, &due).await {
            Ok(full) => {
                *wait = BACKOFF;
                if !full {
                    stop.sleep(LOOK).await;
                }
            }
            Err(problem) => break Err(problem),
        }
    };
    lease.release(peers).await;
    outcome
}

/// Captures what is due; true if there may be more.
async fn round(peers: &Peers, lease: &mut Lease, due: &str) -> Result<bool, Problem> {
    let due: Due = peers.get(&Trace::default(), due).await?;
    for some in due.holds.chunks(AT_ONCE * 4) {
        lease.keep(peers).await?;
        let captures: Vec<_> = some
            .iter()
            .map(|hold| capture(peers, lease, &hold.id))
            .collect();
        let captures = stream::iter(captures).buffer_unordered(AT_ONCE);
        captures.try_collect::<()>().await?;
    }
    Ok(due.holds.len() == BATCH)
}

async fn capture(peers: &Peers, lease: &Lease, hold: &str) -> Result<(), Problem> {
    // The same key from every replica: whoever comes second finds it done.
    let key = ids::fingerprint(&["capture", hold]);
    let token = lease.fencing_token();
    let headers = [
        ("idempotency-key", key.as_str()),
        ("fencing-token", token.as_str()),
    ];
    let url = format!("http://ledger/holds/{hold}/capture");
    let reply = peers
        .send(
            &Trace::default(),
            Method::POST,
            &url,
            &headers,
            Some(&json!({})),
        )
        .await?;
    failpoint::reach("cards.captured");
    match reply.success::<serde::de::IgnoredAny>("ledger") {
        Ok(_) => CAPTURED.inc(),
        // Released or expired since we looked: nothing to capture.
        Err(problem) if problem.code == Code::HoldClosed => {}
        Err(problem) => return Err(problem),
    }
    Ok(())
}
