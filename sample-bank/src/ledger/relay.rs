//! The relay: what the outbox has, the queue gets. Every replica runs one; the one that holds the lock `outbox` works.
//!
//! An event is deleted from the outbox after the queue has it, so whatever dies in between, it is published at least once.
//! Two relays at once, one of which has lost the lock without knowing, publish some events twice, which consumers know by
//! their ids; none of them can be left out, since both read what is not yet deleted.

use super::Ledger;
use super::reads::Waiting;
use crate::call::{Peers, Trace};
use crate::database::{Fault, Transaction, Work};
use crate::event::{Event, POSTINGS};
use crate::failpoint;
use crate::lock::Lease;
use crate::problem::{Code, Problem};
use crate::web::Stop;
use http::Method;
use prometheus::{IntCounter, IntGauge, register_int_counter, register_int_gauge};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

/// Most events of one call, and most bytes of their JSON: below the limit of a body.
const BATCH: i64 = 80;
const BATCH_BYTES: usize = 48 * 1024;
/// Between two looks at an empty outbox: other replicas write into it as well.
const LOOK: Duration = Duration::from_millis(25);
/// The lock's lease: for as long events wait after their relay has died. And how long one call for the lock waits.
const TTL: Duration = Duration::from_secs(3);
const WAIT: Duration = Duration::from_secs(3);
/// After a failure; it doubles up to the second.
const BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

static PUBLISHED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "bank_outbox_published_total",
        "Events that the queue has taken from this replica"
    )
    .expect("each metric has a name of its own")
});
static UNPUBLISHED: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("bank_outbox_unpublished", "Events that wait in the outbox")
        .expect("each metric has a name of its own")
});
static OLDEST: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "bank_outbox_oldest_milliseconds",
        "Age of the oldest event in the outbox"
    )
    .expect("each metric has a name of its own")
});

/// Runs until the stop.
pub(super) async fn run(ledger: Ledger, peers: Peers, mut stop: Stop) {
    let owner = format!("ledger-{}", std::process::id());
    let mut wait = BACKOFF;
    while !stop.is_requested() {
        let lease = tokio::select! {
            () = stop.requested() => return,
            lease = Lease::acquire(&peers, "outbox", &owner, TTL, WAIT) => lease,
        };
        let held = match lease {
            Ok(lease) => publish(&ledger, &peers, lease, &mut stop, &mut wait).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = held {
            if problem.code == Code::LockHeld {
                continue; // it was waited for
            }
            tracing::warn!(%problem, "the relay waits");
            stop.sleep(wait).await;
            wait = (wait * 2).min(LONGEST_BACKOFF);
        }
    }
}

async fn publish(
    ledger: &Ledger,
    peers: &Peers,
    mut lease: Lease,
    stop: &mut Stop,
    wait: &mut Duration,
) -> Result<(), Problem> {
    let outcome = loop {
        if stop.is_requested() {
            break Ok(());
        }
        lease.keep(peers).await?; // lost: nothing to release
        match step(ledger, peers).await {
            Ok(true) => *wait = BACKOFF,
            Ok(false) => tokio::select! {
                () = stop.requested() => {}
                () = ledger.written.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            },
            Err(problem) => break Err(problem),
        }
    };
    lease.release(peers).await;
    outcome
}

/// Publishes one batch; true if there was any.
async fn step(ledger: &Ledger, peers: &Peers) -> Result<bool, Problem> {
    let batch = ledger.database.read(Oldest).await?;
    if batch.is_empty() {
        UNPUBLISHED.set(0);
        OLDEST.set(0);
        return Ok(false);
    }
    let (unpublished, oldest) = ledger.database.read(Waiting).await?;
    UNPUBLISHED.set(unpublished);
    OLDEST.set(oldest);
    failpoint::reach("relay.read");
    let (positions, events): (Vec<i64>, Vec<Value>) = batch.into_iter().unzip();
    let url = format!("http://queue/topics/{POSTINGS}");
    let reply = peers
        .send(&Trace::default(), Method::POST, &url, &[], Some(&events))
        .await?;
    reply.success::<serde::de::IgnoredAny>("queue")?;
    failpoint::reach("relay.published");
    let count = positions.len() as u64;
    ledger.database.write(Published(positions)).await?;
    PUBLISHED.inc_by(count);
    Ok(true)
}

/// The oldest events of the outbox with their positions, as the queue takes them.
struct Oldest;

impl Work for Oldest {
    type Output = Vec<(i64, Value)>;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Self::Output, Fault> {
        let sql = "SELECT o.position, e.event FROM ledger_outbox o \
                   JOIN ledger_entries e ON e.account = o.account AND e.sequence = o.sequence \
                   ORDER BY o.position LIMIT $1";
        let mut bytes = 0;
        let mut batch = Vec::new();
        for row in tx.query(sql, &[BATCH.into()]).await? {
            let text = row.text(1)?;
            bytes += text.len() + 200; // id, key and punctuation
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            let event: Event = serde_json::from_str(&text)
                .map_err(|e| Fault::row(format!("an event cannot be read: {e}")))?;
            batch.push((
                row.int(0)?,
                json!({"id": event.id, "key": event.account, "value": event}),
            ));
        }
        Ok(batch)
    }
}

/// What the queue has.
struct Published(Vec<i64>);

impl Work for Published {
    type Output = ();

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Fault> {
        // One by one: on PostgreSQL a lesser position may become visible later, and must not go with these.
        for position in &self.0 {
            let sql = "DELETE FROM ledger_outbox WHERE position = $1";
            tx.execute(sql, &[(*position).into()]).await?;
        }
        Ok(())
    }
}
