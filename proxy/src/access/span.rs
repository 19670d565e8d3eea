//! Records as spans, sent to a collector over OTLP.

use super::line;
use super::record::{End, Record, Tried};
use crate::metrics::SightMetrics;
use heddle_core::Nanos;
use heddle_core::answer::RULE;
use heddle_core::config::Tracing;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Spans of one export; the SDK's own default (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
const BATCH: usize = 512;
/// Batches that may wait for the collector: 4096 spans, twice the SDK's default queue.
const BATCHES: usize = 8;
/// How long spans wait for company. The SDK waits for 5 s; nothing is gained by that here.
const LINGER: Duration = Duration::from_millis(500);
/// Time for one export.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the collector.
const LAST_EXPORT: Duration = Duration::from_millis(1500);

/// Sends spans from the runtime of the admin thread.
#[derive(Debug)]
pub(super) struct Exporter {
    batches: mpsc::Sender<Vec<SpanData>>,
    waiting: Vec<SpanData>,
    since: Instant,
    metrics: SightMetrics,
    scope: InstrumentationScope,
    ended: std::sync::mpsc::Receiver<()>,
}

impl Exporter {
    pub(super) fn start(
        tracing: &Tracing,
        runtime: &Handle,
        metrics: SightMetrics,
    ) -> Option<Self> {
        let entered = runtime.enter();
        let built = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&tracing.otlp)
            .with_timeout(TIMEOUT)
            .build();
        drop(entered);
        let mut exporter = match built {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::error!(otlp = tracing.otlp, %error, "spans are not exported");
                return None;
            }
        };
        let resource = Resource::builder_empty()
            .with_service_name(tracing.service.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        exporter.set_resource(&resource);
        let (batches, mut received) = mpsc::channel::<Vec<SpanData>>(BATCHES);
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        let counted = metrics.clone();
        runtime.spawn(async move {
            while let Some(batch) = received.recv().await {
                let spans = batch.len() as u64;
                match exporter.export(batch).await {
                    Ok(()) => counted.spans_exported.add(spans),
                    Err(error) => {
                        tracing::debug!(%error, "spans could not be exported");
                        counted.spans_failed.add(spans);
                    }
                }
            }
            // Nobody may be waiting.
            done.send(()).ok();
        });
        Some(Self {
            batches,
            waiting: Vec::new(),
            since: Instant::now(),
            metrics,
            scope: InstrumentationScope::builder("heddle")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            ended,
        })
    }

    /// Takes the spans of a request.
    pub(super) fn take(&mut self, record: &Record) {
        if self.waiting.is_empty() {
            self.since = Instant::now();
        }
        spans(record, &self.scope, &mut self.waiting);
        if self.waiting.len() >= BATCH {
            self.send();
        }
    }

    /// Sends what has waited for long enough.
    pub(super) fn flush(&mut self) {
        if !self.waiting.is_empty() && self.since.elapsed() >= LINGER {
            self.send();
        }
    }

    fn send(&mut self) {
        let batch = std::mem::take(&mut self.waiting);
        let spans = batch.len() as u64;
        if self.batches.try_send(batch).is_err() {
            self.metrics.spans_queue_full.add(spans);
        }
    }

    /// Sends what is left, within a bounded time.
    pub(super) fn end(mut self) {
        if !self.waiting.is_empty() {
            self.send();
        }
        drop(self.batches);
        // A collector that is gone is no reason to stay.
        self.ended.recv_timeout(LAST_EXPORT).ok();
    }
}

/// The wall clock at a moment of a request, counted back from its end: it cannot jump between spans.
fn wall(record: &Record, at: Nanos) -> SystemTime {
    let before = Duration::from_nanos(record.ended.saturating_sub(at));
    record
        .at
        .checked_sub(before)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A server span for the request, and below it a client span for each attempt.
fn spans(record: &Record, scope: &InstrumentationScope, out: &mut Vec<SpanData>) {
    let Some(trace) = record.trace else {
        return;
    };
    let context = |span: [u8; 8]| {
        SpanContext::new(
            TraceId::from_bytes(trace.trace),
            SpanId::from_bytes(span),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        )
    };
    let span = |id, parent, kind, (start, end), attributes, status| SpanData {
        span_context: context(id),
        parent_span_id: parent,
        parent_span_is_remote: kind == SpanKind::Server,
        span_kind: kind,
        name: record.method.as_str().to_owned().into(),
        start_time: wall(record, start),
        end_time: wall(record, end),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: scope.clone(),
    };
    let parent = if record.has_parent {
        SpanId::from_bytes(trace.span)
    } else {
        SpanId::INVALID
    };
    out.push(span(
        record.span,
        parent,
        SpanKind::Server,
        (record.started, record.ended),
        of_request(record),
        status_of(record),
    ));
    for (number, tried) in record.attempts.iter().enumerate() {
        // An attempt whose body streamed on ends with the request.
        let last = number + 1 == record.attempts.len();
        let end = if tried.ended == 0 || last {
            record.ended
        } else {
            tried.ended
        };
        out.push(span(
            tried.span,
            SpanId::from_bytes(record.span),
            SpanKind::Client,
            (tried.started, end),
            of_attempt(record, tried, number),
            if tried.outcome == "status" && tried.status < 400 {
                Status::Unset
            } else {
                Status::error(tried.outcome)
            },
        ));
    }
}

fn status_of(record: &Record) -> Status {
    match &record.error {
        Some((kind, reason)) if record.status >= 500 => Status::error(format!("{kind}: {reason}")),
        _ if record.status >= 500 || record.end == End::Upstream || record.end == End::Proxy => {
            Status::error(record.end.word())
        }
        _ => Status::Unset,
    }
}

/// Attributes of the server span, by OpenTelemetry's semantic conventions for HTTP (1.36) where they have a name.
fn of_request(record: &Record) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", record.method.as_str().to_owned()),
        KeyValue::new("url.path", record.uri.path().to_owned()),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("client.address", record.caller.to_string()),
        KeyValue::new("network.protocol.version", version(record)),
        KeyValue::new("heddle.listener", record.listener.name.clone()),
        KeyValue::new("heddle.attempts", record.attempts.len() as i64),
        KeyValue::new("heddle.end", record.end.word()),
    ];
    let mut add = |key: &'static str, value: Option<String>| {
        attributes.extend(value.map(|value| KeyValue::new(key, value)));
    };
    add(
        "server.address",
        line::authority(record).map(std::borrow::Cow::into_owned),
    );
    add("heddle.name", record.name.as_ref().map(ToString::to_string));
    add(
        "heddle.rule",
        record
            .route
            .as_ref()
            .zip(record.rule)
            .map(|(route, rule)| format!("{}/{}#{rule}", route.namespace, route.name)),
    );
    add(
        "heddle.replica_set",
        record.attempts.last().map(|tried| tried.set.to_string()),
    );
    add(
        "error.type",
        record
            .error
            .as_ref()
            .filter(|(word, _)| *word != RULE)
            .map(|(word, _)| (*word).to_owned()),
    );
    add("heddle.timer", record.timer.map(str::to_owned));
    if record.status > 0 {
        attributes.push(KeyValue::new(
            "http.response.status_code",
            i64::from(record.status),
        ));
    }
    if let Some(code) = record.grpc_status {
        attributes.push(KeyValue::new("rpc.grpc.status_code", i64::from(code)));
    }
    attributes
}

fn of_attempt(record: &Record, tried: &Tried, number: usize) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", record.method.as_str().to_owned()),
        KeyValue::new("network.peer.address", tried.replica.ip().to_string()),
        KeyValue::new("network.peer.port", i64::from(tried.replica.port())),
        KeyValue::new("server.address", tried.replica.ip().to_string()),
        KeyValue::new("server.port", i64::from(tried.replica.port())),
        KeyValue::new("heddle.replica_set", tried.set.to_string()),
        KeyValue::new("heddle.outcome", tried.outcome),
    ];
    if number > 0 {
        attributes.push(KeyValue::new("http.request.resend_count", number as i64));
    }
    if tried.status > 0 {
        attributes.push(KeyValue::new(
            "http.response.status_code",
            i64::from(tried.status),
        ));
    }
    attributes
}

fn version(record: &Record) -> &'static str {
    match record.version {
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}
