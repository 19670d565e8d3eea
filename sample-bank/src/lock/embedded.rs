//! Locks in a table: for a machine without etcd, shared by the replicas that share the file.
//!
//! Leases end by the wall clock of this machine. A jump of it ends some too early or too late; the fencing token still
//! stops whoever writes without holding.

use super::Held;
use crate::Failure;
use crate::clock;
use crate::database::{Database, Fault, Row, Schema, Transaction, Work};
use crate::ids;
use crate::problem::{Code, Problem};
use crate::settings::Settings;
use std::time::Duration;

/// Names that the table holds at most: tokens must grow for ever, so none is forgotten.
const NAMES: i64 = 10_000;

const SCHEMA: Schema = Schema {
    tables: "
CREATE TABLE IF NOT EXISTS lock_locks (
    name TEXT PRIMARY KEY,
    token BIGINT NOT NULL,
    owner TEXT NOT NULL,
    lease TEXT NOT NULL,
    ttl BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
",
    sqlite: "",
    postgres: "",
};

#[derive(Debug, Clone)]
pub(super) struct Store(Database);

impl Store {
    pub(super) async fn open(settings: &Settings) -> Result<Self, Failure> {
        Ok(Self(
            Database::open(&settings.database("lock")?, &SCHEMA).await?,
        ))
    }

    pub(super) async fn take(
        &self,
        name: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Held>, Problem> {
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.0.write(Take { name, owner, ttl }).await
    }

    pub(super) async fn keep(&self, name: &str, lease: &str) -> Result<Option<Held>, Problem> {
        let (name, lease) = (name.to_owned(), lease.to_owned());
        self.0.write(Keep { name, lease }).await
    }

    pub(super) async fn release(&self, name: &str, lease: &str) -> Result<bool, Problem> {
        let (name, lease) = (name.to_owned(), lease.to_owned());
        self.0.write(Release { name, lease }).await
    }

    pub(super) async fn held(&self, name: Option<&str>) -> Result<Vec<Held>, Problem> {
        self.0.read(Look(name.map(str::to_owned))).await
    }

    pub(super) async fn ready(&self) -> Result<(), Problem> {
        self.0.ready().await
    }
}

struct Take {
    name: String,
    owner: String,
    /// Milliseconds.
    ttl: i64,
}

impl Work for Take {
    type Output = Option<Held>;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Option<Held>, Fault> {
        let now = clock::now();
        let sql = "SELECT token FROM lock_locks WHERE name = $1";
        if tx.first(sql, &[(&self.name).into()]).await?.is_none() {
            self.add(tx).await?;
        }
        let lease = ids::fresh("lease-");
        let sql = "UPDATE lock_locks SET token = token + 1, owner = $1, lease = $2, ttl = $3, expires = $4 \
                   WHERE name = $5 AND expires <= $6";
        let values = [
            (&self.owner).into(),
            lease.into(),
            self.ttl.into(),
            (now + self.ttl).into(),
            (&self.name).into(),
            now.into(),
        ];
        if tx.execute(sql, &values).await? == 0 {
            return Ok(None);
        }
        find(tx, &self.name, now).await
    }
}

impl Take {
    async fn add(&self, tx: &mut Transaction<'_>) -> Result<(), Fault> {
        let row = tx.first("SELECT COUNT(*) FROM lock_locks", &[]).await?;
        if row.map_or(Ok(0), |row| row.int(0))? >= NAMES {
            let detail = format!("there are {NAMES} names of locks already: use one of them");
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        let sql = "INSERT INTO lock_locks (name, token, owner, lease, ttl, expires) \
                   VALUES ($1, 0, '', '', 0, 0) ON CONFLICT (name) DO NOTHING";
        tx.execute(sql, &[(&self.name).into()]).await.map(|_| ())
    }
}

struct Keep {
    name: String,
    lease: String,
}

impl Work for Keep {
    type Output = Option<Held>;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Option<Held>, Fault> {
        let now = clock::now();
        let sql = "UPDATE lock_locks SET expires = $1 + ttl WHERE name = $2 AND lease = $3 AND expires > $4";
        let values = [
            now.into(),
            (&self.name).into(),
            (&self.lease).into(),
            now.into(),
        ];
        if tx.execute(sql, &values).await? == 0 {
            return Ok(None);
        }
        find(tx, &self.name, now).await
    }
}

struct Release {
    name: String,
    lease: String,
}

impl Work for Release {
    type Output = bool;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<bool, Fault> {
        let sql =
            "UPDATE lock_locks SET expires = 0 WHERE name = $1 AND lease = $2 AND expires > $3";
        let values = [
            (&self.name).into(),
            (&self.lease).into(),
            clock::now().into(),
        ];
        Ok(tx.execute(sql, &values).await? == 1)
    }
}

/// Who holds one lock, or all that are held.
struct Look(Option<String>);

impl Work for Look {
    type Output = Vec<Held>;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<Held>, Fault> {
        let now = clock::now();
        if let Some(name) = &self.0 {
            return Ok(find(tx, name, now).await?.into_iter().collect());
        }
        let sql = "SELECT name, owner, token, lease, expires FROM lock_locks WHERE expires > $1 ORDER BY name";
        let rows = tx.query(sql, &[now.into()]).await?;
        rows.iter().map(|row| read(row, now)).collect()
    }
}

async fn find(tx: &mut Transaction<'_>, name: &str, now: i64) -> Result<Option<Held>, Fault> {
    let sql = "SELECT name, owner, token, lease, expires FROM lock_locks WHERE name = $1 AND expires > $2";
    let row = tx.first(sql, &[name.into(), now.into()]).await?;
    row.map(|row| read(&row, now)).transpose()
}

fn read(row: &Row, now: i64) -> Result<Held, Fault> {
    Ok(Held {
        name: row.text(0)?,
        owner: row.text(1)?,
        token: row.int(2)?,
        lease: row.text(3)?,
        expires_in_ms: row.int(4)? - now,
    })
}
