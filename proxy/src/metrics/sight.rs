//! What is counted about the telling of requests itself.

use super::family::{Counter, Families, Family};

/// Handles of the access log and of traces.
#[derive(Debug, Clone)]
pub struct SightMetrics {
    /// Lines of the access log that were written.
    pub lines_written: Counter,
    /// Lines that the disk did not take.
    pub lines_failed: Counter,
    /// Lines for which the queue had no room.
    pub lines_queue_full: Counter,
    /// Spans that a collector took.
    pub spans_exported: Counter,
    /// Spans that no collector took.
    pub spans_failed: Counter,
    /// Spans for which a queue had no room.
    pub spans_queue_full: Counter,
}

impl SightMetrics {
    pub(super) fn new(families: &mut Families) -> Self {
        let lines: Family<Counter> = families.family(
            "heddle_access_log_lines_total",
            "Lines of the access log, by what became of them.",
            &["result"],
            0,
        );
        let spans: Family<Counter> = families.family(
            "heddle_trace_spans_total",
            "Sampled spans, by what became of them.",
            &["result"],
            0,
        );
        Self {
            lines_written: lines.get(&["written"]),
            lines_failed: lines.get(&["write-failed"]),
            lines_queue_full: lines.get(&["queue-full"]),
            spans_exported: spans.get(&["exported"]),
            spans_failed: spans.get(&["export-failed"]),
            spans_queue_full: spans.get(&["queue-full"]),
        }
    }

    /// A record found no room.
    pub(crate) fn queue_full(&self, line: bool, span: bool) {
        if line {
            self.lines_queue_full.inc();
        }
        if span {
            self.spans_queue_full.inc();
        }
    }
}
