//! SQLite: one writing thread with group commit, a few readers on snapshots.

use super::{Engine, Fault, Row, Schema, Transaction, Value, Work};
use crate::Failure;
use futures_util::FutureExt;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Works that may wait for the writer; more are turned away. A second's worth of a fast disk.
const QUEUE: usize = 1024;
/// Works committed at once. More would make the first of them wait too long.
const BATCH: usize = 128;
/// Readers at the same time.
const READERS: usize = 4;
/// How long another process may hold the file's write lock.
const BUSY: Duration = Duration::from_secs(5);
/// Between two looks at that lock. SQLite's own steps grow to 100 ms, which a card payment would notice.
const BUSY_STEP: Duration = Duration::from_micros(500);

/// A database file, opened.
#[derive(Debug, Clone)]
pub struct File {
    jobs: mpsc::Sender<Box<dyn Job>>,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl File {
    pub(super) fn open(path: &Path, schema: &Schema) -> Result<Self, Failure> {
        let name = path.display();
        let failed = |e: &dyn std::fmt::Display| {
            Failure::new(format!(
                "cannot open the database {name}: {e}; does its folder exist, and may this user write there?"
            ))
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
        }
        let mut writer = connect(path).map_err(|e| failed(&e))?;
        prepare(&mut writer, schema).map_err(|e| failed(&e))?;
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let writing = thread::Builder::new().name("writer".to_owned());
        let writing = writing.spawn(move || write_all(writer, waiting));
        writing.map_err(|e| failed(&e))?;
        Ok(Self {
            jobs,
            readers: Arc::new(Readers {
                path: path.to_owned(),
                permits: Semaphore::new(READERS),
                idle: Mutex::new(Vec::new()),
            }),
        })
    }

    pub(super) async fn write<W: Work>(&self, work: W) -> Result<W::Output, Fault> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Pending {
            work,
            outcome: None,
            answer,
        });
        self.jobs.try_send(job).map_err(|_| {
            Fault::row(format!(
                "{QUEUE} works wait for the writer already, or it is gone"
            ))
        })?;
        answered
            .await
            .unwrap_or_else(|_| Err(Fault::row("the writer is gone")))
    }

    pub(super) async fn read<W: Work>(&self, work: W) -> Result<W::Output, Fault> {
        let readers = self.readers.clone();
        let permit = self.readers.permits.acquire().await;
        let _permit = permit.expect("nobody closes this semaphore");
        let reading = tokio::task::spawn_blocking(move || readers.read(&work));
        reading
            .await
            .unwrap_or_else(|e| Err(Fault::row(format!("the reader failed: {e}"))))
    }

    /// The writer lives.
    pub(super) fn ready(&self) -> Result<(), Fault> {
        if self.jobs.is_closed() {
            return Err(Fault::row("the writer is gone"));
        }
        Ok(())
    }
}

impl Readers {
    fn read<W: Work>(&self, work: &W) -> Result<W::Output, Fault> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.path).map_err(fault)?;
                connection
                    .pragma_update(None, "query_only", true)
                    .map_err(fault)?;
                connection
            }
        };
        connection.execute_batch("BEGIN").map_err(fault)?;
        let outcome = complete(work, &mut connection);
        // A connection that cannot end its transaction is not kept.
        connection.execute_batch("COMMIT").map_err(fault)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(connection);
        outcome
    }
}

/// A work on its way through the writer.
trait Job: Send {
    /// Runs the work; true if what it wrote is to stay.
    fn attempt(&mut self, connection: &mut Connection) -> bool;
    /// Tells whoever waits: what the work said, or why its batch failed.
    fn finish(self: Box<Self>, failed: Option<&str>);
}

struct Pending<W: Work> {
    work: W,
    outcome: Option<Result<W::Output, Fault>>,
    answer: oneshot::Sender<Result<W::Output, Fault>>,
}

impl<W: Work> Job for Pending<W> {
    fn attempt(&mut self, connection: &mut Connection) -> bool {
        let outcome = complete(&self.work, connection);
        let good = outcome.is_ok();
        self.outcome = Some(outcome);
        good
    }

    fn finish(self: Box<Self>, failed: Option<&str>) {
        let outcome = match (failed, self.outcome) {
            (Some(text), _) => Err(Fault::row(text)),
            (None, Some(outcome)) => outcome,
            (None, None) => Err(Fault::row("the work did not run")),
        };
        let _ = self.answer.send(outcome); // nobody waits any longer: fine, it is committed
    }
}

/// The writer: takes what waits, runs all of it in one transaction, syncs once, answers.
fn write_all(mut connection: Connection, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(job) = waiting.try_recv()
        {
            batch.push(job);
        }
        let failed = commit(&mut connection, &mut batch)
            .err()
            .map(|e| e.to_string());
        for job in batch {
            job.finish(failed.as_deref());
        }
    }
}

fn commit(connection: &mut Connection, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    run(connection, "BEGIN IMMEDIATE")?;
    let written = attempt_all(connection, batch).and_then(|()| run(connection, "COMMIT"));
    if written.is_err() && !connection.is_autocommit() {
        run(connection, "ROLLBACK")?;
    }
    written
}

/// Each work has a savepoint, so that one which refuses leaves the others alone.
fn attempt_all(connection: &mut Connection, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    for job in batch {
        run(connection, "SAVEPOINT work")?;
        if !job.attempt(connection) {
            run(connection, "ROLLBACK TO work")?; // fails if the engine gave up the whole transaction
        }
        run(connection, "RELEASE work")?;
    }
    Ok(())
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

/// Runs a work, which on this engine never waits for anything.
fn complete<W: Work>(work: &W, connection: &mut Connection) -> Result<W::Output, Fault> {
    let mut transaction = Transaction(Engine::Sqlite(connection));
    let running = work.run(&mut transaction).now_or_never();
    running.unwrap_or_else(|| {
        Err(Fault::row(
            "a work waited for something other than the database",
        ))
    })
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(64);
    let mut since = Instant::now();
    connection.busy_handler(Some(move |tries| {
        if tries == 0 {
            since = Instant::now();
        }
        thread::sleep(BUSY_STEP);
        since.elapsed() < BUSY
    }))?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, schema: &Schema) -> rusqlite::Result<()> {
    // Replicas start together; the switch to WAL does not ask the busy handler.
    let until = Instant::now() + BUSY;
    while let Err(e) = connection.pragma_update(None, "journal_mode", "wal") {
        if e.sqlite_error_code() != Some(rusqlite::ErrorCode::DatabaseBusy)
            || Instant::now() > until
        {
            return Err(e);
        }
        thread::sleep(BUSY_STEP);
    }
    // FULL: a commit is on the disk before it is answered.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    let tables = schema
        .tables
        .replace("{position}", "INTEGER PRIMARY KEY AUTOINCREMENT");
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {tables} {} COMMIT;",
        schema.sqlite
    ))
}

pub(super) fn query(
    connection: &Connection,
    sql: &str,
    values: &[Value],
) -> Result<Vec<Row>, Fault> {
    let mut statement = connection.prepare_cached(&own(sql)).map_err(fault)?;
    let columns = statement.column_count();
    let mut rows = statement.query(params_from_iter(values)).map_err(fault)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(fault)? {
        let mut read = Vec::with_capacity(columns);
        for column in 0..columns {
            read.push(match row.get_ref(column).map_err(fault)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(value) => Value::Int(value),
                ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                other => {
                    return Err(Fault::row(format!(
                        "column {column} is {}",
                        other.data_type()
                    )));
                }
            });
        }
        found.push(Row(read));
    }
    Ok(found)
}

pub(super) fn execute(connection: &Connection, sql: &str, values: &[Value]) -> Result<u64, Fault> {
    let mut statement = connection.prepare_cached(&own(sql)).map_err(fault)?;
    let changed = statement.execute(params_from_iter(values)).map_err(fault)?;
    Ok(changed as u64)
}

/// The statement as SQLite writes it.
fn own(sql: &str) -> String {
    sql.strip_suffix(" FOR UPDATE")
        .unwrap_or(sql)
        .replace('$', "?")
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Int(value) => ToSqlOutput::Borrowed(ValueRef::Integer(*value)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn fault(error: rusqlite::Error) -> Fault {
    Fault::row(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, Location};
    use crate::problem::{Code, Problem};

    const SCHEMA: Schema = Schema {
        tables: "CREATE TABLE IF NOT EXISTS t (n BIGINT PRIMARY KEY);",
        sqlite: "",
        postgres: "",
    };

    /// Writes a number, and then refuses, fails, or does not.
    struct Add(i64, Option<&'static str>);

    impl Work for Add {
        type Output = ();

        async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Fault> {
            tx.execute("INSERT INTO t VALUES ($1)", &[self.0.into()])
                .await?;
            match self.1 {
                None => Ok(()),
                Some("refuse") => Err(Problem::malformed("odd").into()),
                Some(sql) => tx.execute(sql, &[]).await.map(|_| ()),
            }
        }
    }

    struct Numbers;

    impl Work for Numbers {
        type Output = Vec<i64>;

        async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<i64>, Fault> {
            let rows = tx.query("SELECT n FROM t ORDER BY n", &[]).await?;
            rows.iter().map(|row| row.int(0)).collect()
        }
    }

    async fn open(folder: &Path) -> Database {
        let location = Location::Sqlite(folder.join("t.db"));
        Database::open(&location, &SCHEMA).await.unwrap()
    }

    /// Holds the file's write lock, as another process would, so that works gather in the queue.
    fn other_writer(folder: &Path) -> Connection {
        let other = Connection::open(folder.join("t.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    }

    #[tokio::test]
    async fn works_of_one_batch_do_not_undo_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path()).await;
        let other = other_writer(folder.path());
        let works = (0..40).map(|n| {
            let end = match n % 4 {
                1 => Some("refuse"),
                2 => Some("INSERT INTO t VALUES (0)"), // fails: it is there
                _ => None,
            };
            database.write(Add(n, end))
        });
        let freeing = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            other.execute_batch("ROLLBACK").unwrap();
        };
        let (outcomes, ()) = tokio::join!(futures_util::future::join_all(works), freeing);
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let wanted = [None, Some(Code::Malformed), Some(Code::Unavailable), None];
            assert_eq!(
                outcome.err().map(|problem| problem.code),
                wanted[n % 4],
                "{n}"
            );
        }
        let kept = database.read(Numbers).await.unwrap();
        assert_eq!(
            kept,
            (0..40)
                .filter(|n| n % 4 == 0 || n % 4 == 3)
                .collect::<Vec<i64>>()
        );
    }

    #[tokio::test]
    async fn readers_wait_for_no_writer() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path()).await;
        database.write(Add(1, None)).await.unwrap();
        let other = other_writer(folder.path());
        other.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        assert_eq!(
            database.read(Numbers).await.unwrap(),
            [1],
            "half of a transaction is not seen"
        );
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(database.read(Numbers).await.unwrap(), [1, 2]);
    }

    #[tokio::test]
    async fn readers_do_not_write() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path()).await;
        let refused = database.read(Add(1, None)).await.unwrap_err();
        assert_eq!(refused.code, Code::Unavailable);
        assert!(database.read(Numbers).await.unwrap().is_empty());
    }
}
