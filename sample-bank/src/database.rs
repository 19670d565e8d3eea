//! The engines under a service's tables: SQLite by default, PostgreSQL by a URL, one set of statements for both.
//!
//! Whatever is done in one transaction is a [`Work`]. On SQLite one thread does all writing and commits many works at once
//! (group commit: one sync of the disk for all of them), while readers see snapshots and never wait. On PostgreSQL each
//! work is a transaction of its own, and repeated when the server asks for that.
//!
//! Statements use the columns `BIGINT` and `TEXT` only, and parameters `$1`, `$2`, …. A statement may end with
//! ` FOR UPDATE`; SQLite has one writer and needs no such lock.

mod postgres;
mod sqlite;
mod value;

pub use value::{Row, Value};

use crate::Failure;
use crate::problem::Problem;
use std::future::Future;
use std::path::PathBuf;
use std::str::FromStr;

/// Where tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// A URL for libpq.
    Postgres(String),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            Ok(Self::Sqlite(PathBuf::from(path)))
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Ok(Self::Postgres(text.to_owned()))
        } else {
            Err(format!(
                "BANK_DATABASE is `{text}`: give sqlite:PATH or postgres://USER@HOST/NAME"
            ))
        }
    }
}

/// The tables of a service. Opening a database creates what is missing.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// For both engines. `{position}` stands for the type of a primary key that the engine counts up.
    pub tables: &'static str,
    /// For SQLite only.
    pub sqlite: &'static str,
    /// For PostgreSQL only.
    pub postgres: &'static str,
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub enum Fault {
    /// The work refused; nothing is written.
    Refused(Problem),
    /// The engine failed, as it says itself. Whether something was written is unknown only if the commit was under way.
    Engine {
        /// What it said.
        text: String,
        /// Whether the same work may succeed when it is repeated at once.
        again: bool,
    },
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl Fault {
    /// A row that is not what the schema says.
    pub(crate) fn row(text: impl Into<String>) -> Self {
        Self::Engine {
            text: text.into(),
            again: false,
        }
    }

    fn into_problem(self) -> Problem {
        match self {
            Self::Refused(problem) => problem,
            Self::Engine { text, .. } => {
                tracing::error!(error = text, "the database failed");
                Problem::unavailable(
                    "the database does not work at the moment; send the same request again, with the same idempotency key",
                )
            }
        }
    }
}

/// What is done in one transaction: it reads, decides and writes, or refuses and leaves everything as it was. It may be
/// run more than once before it is committed once.
pub trait Work: Send + Sync + 'static {
    /// What it finds or makes.
    type Output: Send + 'static;

    /// Does it.
    fn run(
        &self,
        transaction: &mut Transaction<'_>,
    ) -> impl Future<Output = Result<Self::Output, Fault>> + Send;
}

/// A transaction under way.
pub struct Transaction<'a>(Engine<'a>);

enum Engine<'a> {
    Sqlite(&'a mut rusqlite::Connection),
    Postgres(postgres::Session<'a>),
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transaction")
    }
}

impl Transaction<'_> {
    /// The rows that a statement finds.
    ///
    /// # Errors
    ///
    /// The engine failed.
    pub async fn query(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, Fault> {
        match &mut self.0 {
            Engine::Sqlite(connection) => sqlite::query(connection, sql, values),
            Engine::Postgres(session) => session.query(sql, values).await,
        }
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    ///
    /// The engine failed.
    pub async fn first(
        &mut self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<Option<Row>, Fault> {
        Ok(self.query(sql, values).await?.into_iter().next())
    }

    /// Changes rows and tells how many.
    ///
    /// # Errors
    ///
    /// The engine failed.
    pub async fn execute(&mut self, sql: &'static str, values: &[Value]) -> Result<u64, Fault> {
        match &mut self.0 {
            Engine::Sqlite(connection) => sqlite::execute(connection, sql, values),
            Engine::Postgres(session) => session.execute(sql, values).await,
        }
    }
}

/// A service's tables. Clones share them.
#[derive(Debug, Clone)]
pub enum Database {
    /// In a file of this machine.
    Sqlite(sqlite::File),
    /// In a server.
    Postgres(postgres::Server),
}

impl Database {
    /// Opens it and creates the tables that are missing.
    ///
    /// # Errors
    ///
    /// It cannot be opened: says where and why.
    pub async fn open(location: &Location, schema: &Schema) -> Result<Self, Failure> {
        match location {
            Location::Sqlite(path) => Ok(Self::Sqlite(sqlite::File::open(path, schema)?)),
            Location::Postgres(url) => {
                Ok(Self::Postgres(postgres::Server::open(url, schema).await?))
            }
        }
    }

    /// Does a work that writes. When this returns a success, it is on the disk.
    ///
    /// # Errors
    ///
    /// The work refused, or the engine failed ([`crate::problem::Code::Unavailable`]); then it may still have been
    /// committed, which a repetition with the same idempotency key finds out.
    pub async fn write<W: Work>(&self, work: W) -> Result<W::Output, Problem> {
        let outcome = match self {
            Self::Sqlite(file) => file.write(work).await,
            Self::Postgres(server) => server.write(work).await,
        };
        outcome.map_err(Fault::into_problem)
    }

    /// Does a work that only reads, on a snapshot: it neither waits for writers nor sees half of what they do.
    ///
    /// # Errors
    ///
    /// The work refused, or the engine failed.
    pub async fn read<W: Work>(&self, work: W) -> Result<W::Output, Problem> {
        let outcome = match self {
            Self::Sqlite(file) => file.read(work).await,
            Self::Postgres(server) => server.read(work).await,
        };
        outcome.map_err(Fault::into_problem)
    }

    /// Whether it answers.
    ///
    /// # Errors
    ///
    /// It does not.
    pub async fn ready(&self) -> Result<(), Problem> {
        if let Self::Sqlite(file) = self {
            file.ready().map_err(Fault::into_problem)?;
        }
        self.read(Ping).await
    }
}

struct Ping;

impl Work for Ping {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction<'_>) -> Result<(), Fault> {
        transaction.query("SELECT 1", &[]).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        for (text, good) in [
            ("sqlite:bank.db", true),
            ("postgres://bank@localhost/bank", true),
            ("postgresql://bank@localhost/bank", true),
            ("sqlite:", false),
            ("bank.db", false),
            ("mysql://localhost", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<Location>().is_ok(), good, "{text}");
        }
    }
}
