//! Counters and gauges of the control plane.

use crate::session::Flavor;
use crate::snapshot::Kind;
use prometheus::{
    Encoder as _, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Streams, by flavor.
    pub(crate) clients: IntGaugeVec,
    /// Answers sent, by kind.
    pub(crate) responses: IntCounterVec,
    /// Answers that clients refused, by kind.
    pub(crate) refusals: IntCounterVec,
    /// Streams that were turned away or ended for what they asked.
    pub(crate) turned_away: IntCounter,
    /// Snapshots published.
    pub(crate) snapshots: IntCounter,
    /// Documents that count.
    pub(crate) documents: IntGauge,
    /// Documents that count in an older form.
    pub(crate) kept: IntGauge,
    /// What is wrong with the documents, by severity.
    pub(crate) findings: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help));
        let counters = |name: &str, help: &str, label: &str| {
            register(
                &registry,
                IntCounterVec::new(Opts::new(name, help), &[label]),
            )
        };
        let gauges = |name: &str, help: &str, label: &str| {
            register(&registry, IntGaugeVec::new(Opts::new(name, help), &[label]))
        };
        Self {
            clients: gauges(
                "heddle_control_plane_clients",
                "xDS streams that are open",
                "flavor",
            ),
            responses: counters(
                "heddle_control_plane_responses_total",
                "Answers sent to clients",
                "kind",
            ),
            refusals: counters(
                "heddle_control_plane_refusals_total",
                "Answers that clients refused (NACK)",
                "kind",
            ),
            turned_away: counter(
                "heddle_control_plane_turned_away_total",
                "Streams turned away, or ended for asking too much",
            ),
            snapshots: counter(
                "heddle_control_plane_snapshots_total",
                "Snapshots published",
            ),
            documents: gauge("heddle_control_plane_documents", "Documents that count"),
            kept: gauge(
                "heddle_control_plane_documents_kept",
                "Documents that count in an older form, since the new one is refused",
            ),
            findings: gauges(
                "heddle_control_plane_findings",
                "What is wrong with the documents",
                "severity",
            ),
            registry,
        }
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("memory takes all that is written");
        text
    }
}

/// The label of a flavor.
pub(crate) fn flavor(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::World => "world",
        Flavor::Delta => "delta",
    }
}

/// Counts under a kind's label.
pub(crate) fn of_kind(counters: &IntCounterVec, kind: Kind) -> IntCounter {
    counters.with_label_values(&[kind.label()])
}

fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    let metric = metric.expect("the name is a constant, which every start tries");
    registry
        .register(Box::new(metric.clone()))
        .expect("each name is registered once");
    metric
}
