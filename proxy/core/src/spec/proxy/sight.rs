//! Decoding the access log and tracing.
//!
//! Pure.

use super::super::fields::Fields;
use crate::config::{AccessLog, LogTarget, Tracing};
use std::path::Path;

/// Share of the traces that begin here. Enough to see where time goes, little enough not to notice.
const SAMPLE: f64 = 0.01;

pub(super) fn access_log(fields: Fields<'_>, folder: &Path) -> AccessLog {
    AccessLog {
        to: match fields.text("file").unwrap_or("stdout") {
            "stdout" => LogTarget::Stdout,
            "stderr" => LogTarget::Stderr,
            file => LogTarget::File(folder.join(file)),
        },
        sample: fields.number("sample").unwrap_or(1.0),
        errors_only: fields.text("only") == Some("errors"),
        query: fields.flag("query").unwrap_or(false),
    }
}

pub(super) fn tracing(fields: Fields<'_>) -> Tracing {
    Tracing {
        otlp: fields.owned("otlp").unwrap_or_default(),
        sample: fields.number("sample").unwrap_or(SAMPLE),
        service: fields
            .owned("service")
            .unwrap_or_else(|| "heddle".to_owned()),
    }
}
