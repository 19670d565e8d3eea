//! What is told about each request: the access log, and spans.
//!
//! A request leaves a [`Trail`] while it is worked on. When the last one who holds it lets go, in
//! whatever way the request ended, the trail becomes a [`Record`] in a bounded queue. A thread of
//! its own, the [`writer`], takes records from there, formats lines and writes them, and makes spans
//! of those that are sampled. A worker never waits for it: what finds the queue full is dropped and
//! counted. Nobody is woken either: the writer looks every [`LOOK`].
//!
//! Off, it costs a request one branch.

mod file;
mod line;
mod record;
mod span;
mod trail;
mod unread;
mod writer;

pub(crate) use record::{End, Record};
pub(crate) use trail::{Own, Trail, read_context};
pub(crate) use unread::{Told, Unread, tell, tell_on};

use crate::metrics::SightMetrics;
use heddle_core::config::{AccessLog, ProxyConfig, Tracing};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Records that may wait: what two busy workers leave in two looks of the writer, in 128 KiB.
const QUEUE: usize = 8192;
/// How often the writer looks for records.
const LOOK: Duration = Duration::from_millis(25);
/// How long the end of the process waits for the last lines: a disk that hangs must not hold it up.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What one configuration wants to be told.
#[derive(Debug, Clone, PartialEq, Default)]
struct Wanted {
    log: Option<AccessLog>,
    tracing: Option<Tracing>,
}

/// Takes the records of all workers.
#[derive(Debug)]
pub(crate) struct Recorder {
    metrics: SightMetrics,
    orders: Arc<Orders>,
    thread: Mutex<Option<Running>>,
    queue: std::sync::OnceLock<SyncSender<Box<Record>>>,
}

#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    done: std::sync::mpsc::Receiver<()>,
}

/// What the writer is told.
#[derive(Debug, Default)]
struct Orders {
    wanted: Mutex<Wanted>,
    changed: AtomicBool,
    reopen: AtomicBool,
    stop: AtomicBool,
}

impl Recorder {
    pub(crate) fn new(metrics: SightMetrics) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            orders: Arc::default(),
            thread: Mutex::default(),
            queue: std::sync::OnceLock::new(),
        })
    }

    /// Takes over a configuration; starts the writer when there is something to write for the first time.
    /// To be called where tokio's runtime of the admin thread is known.
    pub(crate) fn configure(&self, config: &ProxyConfig) {
        let wanted = Wanted {
            log: config.access_log.clone(),
            tracing: config.tracing.clone(),
        };
        let off = wanted == Wanted::default();
        *lock(&self.orders.wanted) = wanted;
        self.orders.changed.store(true, Relaxed);
        let mut thread = lock(&self.thread);
        if off || thread.is_some() {
            return;
        }
        let (sender, records) = sync_channel(QUEUE);
        let (ended, done) = sync_channel(1);
        let (orders, metrics) = (self.orders.clone(), self.metrics.clone());
        let runtime = tokio::runtime::Handle::try_current().ok();
        let started = std::thread::Builder::new()
            .name("sight".to_owned())
            .spawn(move || {
                writer::run(&records, &orders, &metrics, runtime.as_ref());
                // Nobody may be waiting.
                ended.send(()).ok();
            });
        match started {
            Ok(handle) => {
                *thread = Some(Running {
                    thread: handle,
                    done,
                });
                // Set once: only whoever holds the lock comes here, and only without a thread.
                self.queue.set(sender).ok();
            }
            Err(error) => tracing::error!(%error, "the thread of the access log cannot be started"),
        }
    }

    /// Hands over a record, or drops it.
    pub(crate) fn push(&self, record: Box<Record>) {
        let (log, span) = (record.log, record.is_sampled());
        let taken = self
            .queue
            .get()
            .is_some_and(|queue| queue.try_send(record).is_ok());
        if !taken {
            self.metrics.queue_full(log, span);
        }
    }

    /// Opens the log's file again, for log rotation.
    pub(crate) fn reopen(&self) {
        self.orders.reopen.store(true, Relaxed);
    }

    /// Writes what is left, within a bounded time.
    pub(crate) fn stop(&self) {
        self.orders.stop.store(true, Relaxed);
        let Some(running) = lock(&self.thread).take() else {
            return;
        };
        if running.done.recv_timeout(LAST_WORDS).is_ok() && running.thread.join().is_err() {
            tracing::error!("the thread of the access log ended by a panic");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
