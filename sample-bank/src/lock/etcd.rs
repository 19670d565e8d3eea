//! Locks in etcd: a key under a lease; the revision that created the key is the fencing token.

use super::Held;
use crate::Failure;
use crate::problem::Problem;
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, GetOptions, KeyValue, PutOptions, Txn, TxnOp,
};
use std::sync::Arc;
use std::time::Duration;

/// Where our keys are.
const PREFIX: &str = "/heddle-bank/locks/";
/// etcd is near: what takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub(super) struct Store(Arc<Client>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    pub(super) async fn connect(endpoints: &str) -> Result<Self, Failure> {
        let list: Vec<&str> = endpoints
            .split(',')
            .map(str::trim)
            .filter(|e| !e.is_empty())
            .collect();
        let options = ConnectOptions::new()
            .with_timeout(TIMEOUT)
            .with_connect_timeout(TIMEOUT);
        let client = Client::connect(list, Some(options)).await;
        client.map(|client| Self(Arc::new(client))).map_err(|e| {
            Failure::new(format!(
                "cannot reach etcd at `{endpoints}` (BANK_ETCD): {e}; give host:port, several with commas"
            ))
        })
    }

    pub(super) async fn take(
        &self,
        name: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Held>, Problem> {
        let (mut leases, mut keys) = (self.0.lease_client(), self.0.kv_client());
        // etcd counts in seconds; a lease is never shorter than asked for.
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        let lease = leases.grant(seconds, None).await.map_err(failed)?;
        let key = key(name);
        let free = Compare::version(key.as_str(), CompareOp::Equal, 0);
        let put = TxnOp::put(
            key.as_str(),
            owner,
            Some(PutOptions::new().with_lease(lease.id())),
        );
        let taken = keys.txn(Txn::new().when([free]).and_then([put])).await;
        match taken {
            Ok(answer) if answer.succeeded() => Ok(Some(Held {
                name: name.to_owned(),
                owner: owner.to_owned(),
                token: answer
                    .header()
                    .map_or(0, etcd_client::ResponseHeader::revision),
                lease: format!("{:x}", lease.id()),
                expires_in_ms: lease.ttl() * 1000,
            })),
            other => {
                // Nothing hangs on this lease; if it stays, it ends by itself.
                let _ = leases.revoke(lease.id()).await;
                other.map(|_| None).map_err(failed)
            }
        }
    }

    pub(super) async fn keep(&self, name: &str, lease: &str) -> Result<Option<Held>, Problem> {
        let Some((id, pair)) = self.holding(name, lease).await? else {
            return Ok(None);
        };
        let mut leases = self.0.lease_client();
        let (mut keeper, mut answers) = leases.keep_alive(id).await.map_err(failed)?;
        keeper.keep_alive().await.map_err(failed)?;
        let answer = tokio::time::timeout(TIMEOUT, answers.message()).await;
        let answer = answer.map_err(|_| Problem::unavailable("etcd does not answer"))?;
        let left = answer.map_err(failed)?.map_or(0, |answer| answer.ttl());
        // 0: the lease ended between the two calls.
        Ok((left > 0).then(|| shown(name, &pair, left)))
    }

    pub(super) async fn release(&self, name: &str, lease: &str) -> Result<bool, Problem> {
        let Some((id, _)) = self.holding(name, lease).await? else {
            return Ok(false);
        };
        // The key goes with its lease, in one step.
        self.0
            .lease_client()
            .revoke(id)
            .await
            .map(|_| true)
            .map_err(failed)
    }

    /// The lease's number and the lock's key, if that lease holds the lock.
    async fn holding(&self, name: &str, lease: &str) -> Result<Option<(i64, KeyValue)>, Problem> {
        let Ok(id) = i64::from_str_radix(lease, 16) else {
            return Ok(None);
        };
        let found = self
            .0
            .kv_client()
            .get(key(name), None)
            .await
            .map_err(failed)?;
        let pair = found.kvs().first().filter(|pair| pair.lease() == id);
        Ok(pair.map(|pair| (id, pair.clone())))
    }

    pub(super) async fn held(&self, name: Option<&str>) -> Result<Vec<Held>, Problem> {
        let (mut leases, mut keys) = (self.0.lease_client(), self.0.kv_client());
        let found = match name {
            Some(name) => keys.get(key(name), None).await,
            None => {
                keys.get(PREFIX, Some(GetOptions::new().with_prefix()))
                    .await
            }
        };
        let mut held = Vec::new();
        for pair in found.map_err(failed)?.kvs() {
            let left = leases
                .time_to_live(pair.lease(), None)
                .await
                .map_err(failed)?;
            let text = String::from_utf8_lossy(pair.key());
            let name = text.strip_prefix(PREFIX).unwrap_or(&text);
            held.push(shown(name, pair, left.ttl().max(0)));
        }
        Ok(held)
    }

    pub(super) async fn ready(&self) -> Result<(), Problem> {
        self.0
            .maintenance_client()
            .status()
            .await
            .map(|_| ())
            .map_err(failed)
    }
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn shown(name: &str, pair: &KeyValue, seconds_left: i64) -> Held {
    Held {
        name: name.to_owned(),
        owner: String::from_utf8_lossy(pair.value()).into_owned(),
        token: pair.create_revision(),
        lease: format!("{:x}", pair.lease()),
        expires_in_ms: seconds_left * 1000,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: Error) -> Problem {
    tracing::error!(%error, "etcd failed");
    Problem::unavailable(format!(
        "etcd does not work at the moment ({error}): ask again"
    ))
}
