//! PostgreSQL: a small pool; a work is a transaction, repeated when the server says that it may be.

use super::{Engine, Fault, Row, Schema, Transaction, Value, Work};
use crate::Failure;
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, IsolationLevel, NoTls, Statement};

/// Connections of one process: enough to fill a server's group commit, few enough for its memory.
const CONNECTIONS: usize = 8;
/// Runs of a work before its conflict with others is told to the caller.
const RUNS: u32 = 5;
/// How long a work may take as a whole: as long as its caller waits for the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first wait before another run; it doubles.
const BACKOFF: Duration = Duration::from_millis(5);

/// What every connection is set to. Nobody waits for a lock longer than a caller waits for an answer, and a process that
/// was paused in the middle of a transaction holds its locks for a bounded time.
const SESSION: &str = "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'; \
    SET synchronous_commit = 'on'; SET client_min_messages = 'warning'";

/// A database in a server.
#[derive(Debug, Clone)]
pub struct Server(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    url: String,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

/// A transaction and the statements that its connection has prepared.
pub(super) struct Session<'a> {
    transaction: tokio_postgres::Transaction<'a>,
    statements: &'a mut HashMap<&'static str, Statement>,
}

impl Server {
    pub(super) async fn open(url: &str, schema: &Schema) -> Result<Self, Failure> {
        let server = Self(Arc::new(Pool {
            url: url.to_owned(),
            permits: Semaphore::new(CONNECTIONS),
            idle: Mutex::new(Vec::new()),
        }));
        let prepared = server.prepare(schema).await;
        prepared.map_err(|e| {
            Failure::new(format!(
                "cannot open the database that BANK_DATABASE names: {}; does the server run, and does it have that database and user?",
                told(&e)
            ))
        })?;
        Ok(server)
    }

    /// Creates what is missing. Replicas start together, and `IF NOT EXISTS` alone would have them collide.
    async fn prepare(&self, schema: &Schema) -> Result<(), tokio_postgres::Error> {
        let connection = connect(&self.0.url).await?;
        let tables = schema.tables.replace(
            "{position}",
            "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        );
        let script = format!(
            "BEGIN; SELECT pg_advisory_xact_lock(4140); {tables} {} COMMIT;",
            schema.postgres
        );
        connection.client.batch_execute(&script).await?;
        self.put(connection);
        Ok(())
    }

    pub(super) async fn write<W: Work>(&self, work: W) -> Result<W::Output, Fault> {
        self.run(&work, IsolationLevel::ReadCommitted, false).await
    }

    pub(super) async fn read<W: Work>(&self, work: W) -> Result<W::Output, Fault> {
        self.run(&work, IsolationLevel::RepeatableRead, true).await
    }

    async fn run<W: Work>(
        &self,
        work: &W,
        level: IsolationLevel,
        read_only: bool,
    ) -> Result<W::Output, Fault> {
        let running = Box::pin(self.repeat(work, level, read_only));
        let ended = tokio::time::timeout(PATIENCE, running).await;
        ended.unwrap_or_else(|_| Err(Fault::row("the server does not answer in time")))
    }

    async fn repeat<W: Work>(
        &self,
        work: &W,
        level: IsolationLevel,
        read_only: bool,
    ) -> Result<W::Output, Fault> {
        let permit = self.0.permits.acquire().await;
        let _permit = permit.expect("nobody closes this semaphore");
        let mut wait = BACKOFF;
        for _ in 1..RUNS {
            match self.attempt(work, level, read_only).await {
                Err(Fault::Engine { again: true, .. }) => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                outcome => return outcome,
            }
        }
        self.attempt(work, level, read_only).await
    }

    async fn attempt<W: Work>(
        &self,
        work: &W,
        level: IsolationLevel,
        read_only: bool,
    ) -> Result<W::Output, Fault> {
        let mut connection = self.take().await.map_err(fault)?;
        let (outcome, whole) = connection.attempt(work, level, read_only).await;
        if whole {
            self.put(connection);
        }
        outcome
    }

    async fn take(&self) -> Result<Connection, tokio_postgres::Error> {
        loop {
            let idle = self
                .0
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            match idle {
                Some(connection) if connection.client.is_closed() => {}
                Some(connection) => return Ok(connection),
                None => return connect(&self.0.url).await,
            }
        }
    }

    fn put(&self, connection: Connection) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < CONNECTIONS && !connection.client.is_closed() {
            idle.push(connection);
        }
    }
}

impl Connection {
    /// The work's outcome, and whether the connection can be used again.
    async fn attempt<W: Work>(
        &mut self,
        work: &W,
        level: IsolationLevel,
        read_only: bool,
    ) -> (Result<W::Output, Fault>, bool) {
        let begin = self.client.build_transaction();
        let begin = begin.isolation_level(level).read_only(read_only);
        let transaction = match begin.start().await {
            Ok(transaction) => transaction,
            Err(error) => return (Err(fault(error)), false),
        };
        let mut transaction = Transaction(Engine::Postgres(Session {
            transaction,
            statements: &mut self.statements,
        }));
        let outcome = work.run(&mut transaction).await;
        let Engine::Postgres(session) = transaction.0 else {
            return (Err(Fault::row("a transaction of another engine")), false);
        };
        match outcome {
            Ok(output) => match session.transaction.commit().await {
                Ok(()) => (Ok(output), true),
                Err(error) => (Err(fault(error)), false),
            },
            // The work's own answer says more than a rollback that fails.
            Err(why) => {
                let whole = session.transaction.rollback().await.is_ok();
                (Err(why), whole)
            }
        }
    }
}

async fn connect(url: &str) -> Result<Connection, tokio_postgres::Error> {
    let mut config: tokio_postgres::Config = url.parse()?;
    config.connect_timeout(Duration::from_secs(2));
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = told(&error), "a connection to the database ended");
        }
    });
    client.batch_execute(SESSION).await?;
    Ok(Connection {
        client,
        statements: HashMap::new(),
    })
}

impl Session<'_> {
    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Fault> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.transaction.prepare(sql).await.map_err(fault)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    pub(super) async fn query(
        &mut self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<Vec<Row>, Fault> {
        let statement = self.prepared(sql).await?;
        let rows = self
            .transaction
            .query(&statement, &parameters(values))
            .await;
        rows.map_err(fault)?.iter().map(read).collect()
    }

    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<u64, Fault> {
        let statement = self.prepared(sql).await?;
        let changed = self
            .transaction
            .execute(&statement, &parameters(values))
            .await;
        changed.map_err(fault)
    }
}

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}

fn read(row: &tokio_postgres::Row) -> Result<Row, Fault> {
    let mut values = Vec::with_capacity(row.len());
    for (at, column) in row.columns().iter().enumerate() {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(at).map(Value::from),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(at)
                .map(|value| Value::from(value.map(i64::from))),
            Type::TEXT => row.try_get::<_, Option<String>>(at).map(Value::from),
            ref other => return Err(Fault::row(format!("column {at} is of type {other}"))),
        };
        values.push(value.map_err(fault)?);
    }
    Ok(Row(values))
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) => value.to_sql_checked(kind, out),
            Self::Text(text) => text.to_sql_checked(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // `to_sql` looks again, knowing the value
    }

    to_sql_checked!();
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn fault(error: tokio_postgres::Error) -> Fault {
    let again = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    Fault::Engine {
        again: error.code().is_some_and(|code| again.contains(code)),
        text: told(&error),
    }
}

/// What the server said, which its error's own text leaves out.
fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => {
            let cause = error
                .source()
                .map_or(String::new(), |cause| format!(": {cause}"));
            format!("{error}{cause}")
        }
    }
}
