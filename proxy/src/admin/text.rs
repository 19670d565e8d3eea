//! `/config` and `/clusters`, for people and for programs.

use super::ConfigView;
use crate::view::{EndpointView, SetView, status_word};
use heddle_core::finding::Finding;
use heddle_core::status::Status;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn clusters(sets: &[SetView]) -> String {
    if sets.is_empty() {
        return "no replica set is in use: nothing has been routed yet\n".to_owned();
    }
    let mut text = String::new();
    for set in sets {
        let open = set
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.status == Status::Open)
            .count();
        let _ = writeln!(
            text,
            "{}  {}, protocol {}, {}, {open} of {} endpoints open",
            set.id,
            set.state,
            set.protocol,
            set.balancer,
            set.endpoints.len()
        );
        let rows: Vec<_> = set.endpoints.iter().map(row).collect();
        table(&mut text, &HEADS, &rows);
        text.push('\n');
    }
    text
}

const HEADS: [&str; 11] = [
    "ENDPOINT",
    "STATUS",
    "WEIGHT",
    "EWMA",
    "LOAD",
    "IN FLIGHT",
    "REQUESTS",
    "FAILURES",
    "CONNECTIONS",
    "ZONE",
    "NODE",
];

fn row(endpoint: &EndpointView) -> [String; HEADS.len()] {
    let status = match endpoint.ejected_ms {
        Some(left) => format!(
            "{}, ejected, probe in {left} ms",
            status_word(endpoint.status)
        ),
        None => status_word(endpoint.status).to_owned(),
    };
    let label = |label: &Option<String>| label.clone().unwrap_or_else(|| "-".to_owned());
    [
        endpoint.address.to_string(),
        status,
        endpoint.weight.to_string(),
        endpoint
            .ewma_ms
            .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3} ms")),
        format!("{:.1}", endpoint.load),
        endpoint.in_flight.to_string(),
        endpoint.requests.to_string(),
        endpoint.failures.to_string(),
        endpoint.connections.to_string(),
        label(&endpoint.zone),
        label(&endpoint.node),
    ]
}

/// Columns as wide as their widest cell, indented by two.
fn table<const N: usize>(text: &mut String, heads: &[&str; N], rows: &[[String; N]]) {
    let heads = heads.map(ToOwned::to_owned);
    let width: [usize; N] = std::array::from_fn(|column| {
        rows.iter()
            .chain([&heads])
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    for row in [&heads].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(width) {
            let _ = write!(line, "  {cell:width$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

pub(super) fn clusters_json(sets: &[SetView]) -> Value {
    json!({ "replicaSets": sets })
}

pub(super) fn config(view: &ConfigView) -> String {
    let mut text = format!(
        "generation {}, applied {} s ago\n",
        view.generation,
        age(view.applied)
    );
    text.push_str("files:\n");
    for file in &view.config.files_read {
        let _ = writeln!(text, "  {}", file.display());
    }
    match &view.refused {
        Some(refused) => {
            let _ = writeln!(
                text,
                "the last load was refused {} s ago; the one before stays:",
                age(refused.at)
            );
            findings(&mut text, &refused.findings);
        }
        None => text.push_str("the last load was applied\n"),
    }
    if !view.warnings.is_empty() {
        text.push_str("warnings:\n");
        findings(&mut text, &view.warnings);
    }
    let _ = writeln!(
        text,
        "configuration:\n{:#}",
        crate::view::config_json(&view.config)
    );
    text
}

fn findings(text: &mut String, findings: &[Finding]) {
    for finding in findings {
        let _ = writeln!(text, "  {finding}");
    }
}

pub(super) fn config_json(view: &ConfigView) -> Value {
    let findings = |findings: &[Finding]| findings.iter().map(Finding::to_json).collect::<Vec<_>>();
    let files: Vec<_> = view
        .config
        .files_read
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    json!({
        "generation": view.generation,
        "appliedUnixSeconds": unix_seconds(view.applied),
        "files": files,
        "warnings": findings(&view.warnings),
        "refused": view.refused.as_ref().map(|refused| json!({
            "atUnixSeconds": unix_seconds(refused.at),
            "findings": findings(&refused.findings),
        })),
        "config": crate::view::config_json(&view.config),
    })
}

fn age(then: SystemTime) -> u64 {
    SystemTime::now()
        .duration_since(then)
        .map_or(0, |age| age.as_secs())
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
