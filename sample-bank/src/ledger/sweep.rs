//! What the ledger does by itself: holds expire, old keys are forgotten.

use super::Ledger;
use super::holds::Expire;
use crate::clock;
use crate::database::{Fault, Transaction, Work};
use crate::web::Stop;
use std::time::Duration;

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Holds that one round lets expire at most; the rest waits for the next.
const HOLDS: usize = 100;
/// How long a key is known, in milliseconds: a week. Nobody repeats a request for that long.
const KEYS: i64 = 7 * 24 * 3600 * 1000;

/// Runs until the stop.
pub(super) async fn run(ledger: Ledger, mut stop: Stop) {
    while stop.sleep(ROUND).await {
        for _ in 0..HOLDS {
            match ledger.database.write(Expire).await {
                Ok(true) => ledger.written.notify_one(),
                Ok(false) => break,
                Err(problem) => {
                    tracing::warn!(%problem, "holds do not expire at the moment");
                    break;
                }
            }
        }
        if let Err(problem) = ledger.database.write(Forget).await {
            tracing::warn!(%problem, "old keys are kept for the moment");
        }
    }
}

/// Forgets old keys.
struct Forget;

impl Work for Forget {
    type Output = ();

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Fault> {
        let before = clock::now() - KEYS;
        let sql = "DELETE FROM ledger_keys WHERE time < $1";
        tx.execute(sql, &[before.into()]).await.map(|_| ())
    }
}
