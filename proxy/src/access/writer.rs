//! The thread that writes.

use super::file::Output;
use super::record::Record;
use super::span::Exporter;
use super::{LOOK, Orders, Wanted, line, lock};
use crate::metrics::SightMetrics;
use heddle_core::config::AccessLog;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Bytes of lines that are written at once.
const BATCH: usize = 64 * 1024;
/// How often the file's name is looked at, for rotation.
const FILE_LOOK: Duration = Duration::from_millis(500);
/// How often a failing disk is spoken of.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Writes records until it is told to stop, and what is left then.
pub(super) fn run(
    records: &Receiver<Box<Record>>,
    orders: &Orders,
    metrics: &SightMetrics,
    runtime: Option<&Handle>,
) {
    let mut writer = Writer::new(metrics, runtime);
    loop {
        // Read before the queue, so that nothing that came before the order is left.
        let stop = orders.stop.load(Relaxed);
        if orders.changed.swap(false, Relaxed) {
            let wanted = lock(&orders.wanted).clone();
            writer.configure(wanted);
        }
        writer.look(orders.reopen.swap(false, Relaxed));
        let mut any = false;
        while let Ok(record) = records.try_recv() {
            any = true;
            writer.take(&record);
        }
        writer.flush();
        if stop {
            writer.end();
            return;
        }
        if !any || writer.lines.is_empty() {
            std::thread::sleep(LOOK);
        }
    }
}

struct Writer<'a> {
    metrics: &'a SightMetrics,
    runtime: Option<&'a Handle>,
    wanted: Wanted,
    log: Option<(AccessLog, Output)>,
    exporter: Option<Exporter>,
    lines: Vec<u8>,
    looked: Instant,
    complained: Option<Instant>,
}

impl<'a> Writer<'a> {
    fn new(metrics: &'a SightMetrics, runtime: Option<&'a Handle>) -> Self {
        Self {
            metrics,
            runtime,
            wanted: Wanted::default(),
            log: None,
            exporter: None,
            lines: Vec::with_capacity(BATCH),
            looked: Instant::now(),
            complained: None,
        }
    }

    fn configure(&mut self, wanted: Wanted) {
        if wanted.log != self.wanted.log {
            self.flush();
            let same = self
                .log
                .take()
                .filter(|(old, _)| wanted.log.as_ref().is_some_and(|new| new.to == old.to));
            self.log = wanted.log.clone().map(|log| match same {
                Some((_, output)) => (log, output),
                None => {
                    let output = Output::open(&log.to);
                    (log, output)
                }
            });
        }
        if wanted.tracing != self.wanted.tracing {
            self.exporter = None;
            if let (Some(tracing), Some(runtime)) = (&wanted.tracing, self.runtime) {
                self.exporter = Exporter::start(tracing, runtime, self.metrics.clone());
            }
        }
        self.wanted = wanted;
    }

    /// Follows a rotated file.
    fn look(&mut self, now: bool) {
        let Some((_, output)) = &mut self.log else {
            return;
        };
        if now {
            output.reopen();
        } else if self.looked.elapsed() >= FILE_LOOK {
            self.looked = Instant::now();
            output.look();
        }
    }

    fn take(&mut self, record: &Record) {
        if let (true, Some((log, _))) = (record.log, &self.log) {
            line::append(&mut self.lines, record, log.query);
            if self.lines.len() >= BATCH {
                self.flush();
            }
        }
        if let (true, Some(exporter)) = (record.is_sampled(), &mut self.exporter) {
            exporter.take(record);
        }
    }

    fn flush(&mut self) {
        if let Some(exporter) = &mut self.exporter {
            exporter.flush();
        }
        if self.lines.is_empty() {
            return;
        }
        if let Some((_, output)) = &mut self.log {
            let (written, result) = output.write(&self.lines);
            self.metrics.lines_written.add(written.lines);
            self.metrics.lines_failed.add(written.lost);
            if let Err(error) = result
                && self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN)
            {
                self.complained = Some(Instant::now());
                tracing::warn!(%error, lost = written.lost, "the access log cannot be written; lines are dropped and counted");
            }
        }
        self.lines.clear();
    }

    fn end(mut self) {
        self.flush();
        if let Some(exporter) = self.exporter.take() {
            exporter.end();
        }
    }
}
