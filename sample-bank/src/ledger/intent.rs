//! What every request that moves money has in common: it is done once, by its key, and not by a holder of a lost lock.

use super::rows::Rows;
use crate::clock;
use crate::database::{Fault, Transaction};
use crate::failpoint;
use crate::problem::{Code, Problem};
use serde::Serialize;

/// The number that a lock's holder got with it; it grows with each holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) lock: String,
    pub(super) token: i64,
}

impl Fence {
    /// Reads `LOCK:NUMBER`.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let parts = text.rsplit_once(':');
        let read = parts.and_then(|(lock, token)| {
            let token: i64 = token.parse().ok().filter(|token| *token > 0)?;
            let lock = Some(lock).filter(|lock| crate::money::is_id(lock, ""))?;
            Some(Self {
                lock: lock.to_owned(),
                token,
            })
        });
        read.ok_or_else(|| {
            Problem::malformed("fencing-token must be LOCK:NUMBER, as the lock service gave it")
        })
    }
}

/// Who asks for what, and since when.
#[derive(Debug, Clone)]
pub(super) struct Intent {
    pub(super) key: String,
    /// Of everything that the request says.
    pub(super) digest: String,
    pub(super) fence: Option<Fence>,
    pub(super) trace: Option<String>,
    /// Milliseconds since 1970.
    pub(super) now: i64,
}

/// What a request is answered, now and whenever it is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// Whether it was answered so before.
    pub(super) replayed: bool,
}

impl Intent {
    pub(super) fn new(
        key: String,
        digest: String,
        fence: Option<Fence>,
        trace: Option<String>,
    ) -> Self {
        Self {
            key,
            digest,
            fence,
            trace,
            now: clock::now(),
        }
    }

    /// Takes the key, or finds the answer that it has had. Whoever comes second with a key waits here for the first: on
    /// SQLite because there is one writer, on PostgreSQL at the key's unique index.
    pub(super) async fn begin(&self, tx: &mut Transaction<'_>) -> Result<Option<Answer>, Fault> {
        if tx.take_key(&self.key, &self.digest, self.now).await? {
            self.pass(tx).await?;
            return Ok(None);
        }
        let Some((digest, status, body)) = tx.key(&self.key).await? else {
            return Err(Fault::row("a key vanished that was there a moment ago"));
        };
        if digest != self.digest {
            return Err(Problem::new(
                Code::IdempotencyKeyReused,
                "this idempotency-key came with another request before: use a new key for a new intention",
            )
            .into());
        }
        let status = u16::try_from(status).map_err(|_| Fault::row("a kept status is no status"))?;
        Ok(Some(Answer {
            status,
            body,
            replayed: true,
        }))
    }

    /// Remembers the highest token of the lock, and refuses a lower one.
    async fn pass(&self, tx: &mut Transaction<'_>) -> Result<(), Fault> {
        let Some(fence) = &self.fence else {
            return Ok(());
        };
        let highest = tx.fence(&fence.lock).await?;
        if fence.token < highest {
            return Err(Problem::new(
                Code::StaleFencingToken,
                format!(
                    "the lock `{}` has had token {highest} since your {}: you lost it; take it again and look again",
                    fence.lock, fence.token
                ),
            )
            .with("highest", highest)
            .into());
        }
        if fence.token > highest {
            tx.raise_fence(&fence.lock, fence.token).await?;
        }
        Ok(())
    }

    /// Keeps the answer with the key.
    pub(super) async fn end(
        &self,
        tx: &mut Transaction<'_>,
        status: u16,
        answer: &impl Serialize,
    ) -> Result<Answer, Fault> {
        let body = serde_json::to_string(answer);
        let body = body.map_err(|e| Fault::row(format!("the answer cannot be written: {e}")))?;
        tx.keep_answer(&self.key, status, &body).await?;
        failpoint::reach("ledger.written");
        Ok(Answer {
            status,
            body,
            replayed: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fencing_tokens_are_read() {
        let fence = Fence::parse("settlement:12").unwrap();
        assert_eq!((fence.lock.as_str(), fence.token), ("settlement", 12));
        for bad in [
            "",
            "12",
            ":12",
            "settlement:",
            "settlement:0",
            "settlement:-1",
            "settlement:1x",
            "a b:1",
        ] {
            assert_eq!(
                Fence::parse(bad).unwrap_err().code,
                Code::Malformed,
                "{bad}"
            );
        }
    }
}
