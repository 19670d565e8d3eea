//! A record as a line of JSON. `docs/observability.md` describes each field; a test compares.

use super::record::{Record, Tried};
use heddle_core::Nanos;
use heddle_core::trace::Hex;
use serde::Serialize;
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// The longest text that is written of any one thing that a caller chose; more ends in `…`.
/// Long enough for real targets, short enough that a line stays a line.
const TEXT_MAX: usize = 1024;
/// Attempts that are listed; retries are bounded by rules, this is for the odd one.
const ATTEMPTS_MAX: usize = 16;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    listener: &'a str,
    caller: String,
    protocol: Option<&'static str>,
    method: Option<Cow<'a, str>>,
    authority: Option<Cow<'a, str>>,
    path: Option<Cow<'a, str>>,
    name: Option<String>,
    route: Option<String>,
    rule: Option<usize>,
    overrides: Option<String>,
    replica_set: Option<String>,
    replica: Option<String>,
    attempts: Vec<Attempt>,
    retry_reasons: Vec<&'static str>,
    status: Option<u16>,
    grpc_status: Option<u32>,
    bytes_in: u64,
    bytes_out: u64,
    pick_ms: Option<f64>,
    connect_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    total_ms: f64,
    end: &'static str,
    timer: Option<&'static str>,
    error: Option<&'a str>,
    refusal: Option<&'static str>,
    reason: Option<Cow<'a, str>>,
    trace_id: Option<String>,
    span_id: Option<String>,
}

#[derive(Serialize)]
struct Attempt {
    replica: String,
    outcome: &'static str,
    status: Option<u16>,
    ms: Option<f64>,
}

/// Appends the line of a record, with its newline.
pub(super) fn append(out: &mut Vec<u8>, record: &Record, query: bool) {
    let last = record.attempts.last();
    let since =
        |later: Nanos| (later >= record.started && later > 0).then(|| ms(later - record.started));
    let retried = record.attempts.len().saturating_sub(1).min(ATTEMPTS_MAX);
    let line = Line {
        time: rfc3339(record.at),
        listener: &record.listener.name,
        caller: record.caller.to_string(),
        protocol: protocol(record),
        method: method(record),
        authority: authority(record),
        path: path(record, query),
        name: record
            .name
            .as_ref()
            .map(|name| bounded_owned(name.to_string()).into_owned()),
        route: record
            .route
            .as_ref()
            .map(|route| format!("{}/{}", route.namespace, route.name)),
        rule: record.rule,
        overrides: (!record.overrides.is_empty())
            .then(|| bounded_owned(record.overrides.to_string()).into_owned()),
        replica_set: last.map(|tried| tried.set.to_string()),
        replica: last.map(|tried| tried.replica.to_string()),
        attempts: record
            .attempts
            .iter()
            .take(ATTEMPTS_MAX)
            .map(attempt)
            .collect(),
        retry_reasons: record.attempts[..retried]
            .iter()
            .map(|tried| tried.outcome)
            .collect(),
        status: some(record.status),
        grpc_status: record.grpc_status,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        pick_ms: record
            .attempts
            .first()
            .and_then(|tried| since(tried.started)),
        connect_ms: last
            .filter(|tried| tried.connect > 0)
            .map(|tried| ms(tried.connect)),
        first_byte_ms: since(record.answered),
        total_ms: ms(record.ended.saturating_sub(record.started)),
        end: record.end.word(),
        timer: record.timer,
        error: record.error.as_ref().map(|(kind, _)| *kind),
        refusal: record.refusal,
        reason: record.error.as_ref().map(|(_, reason)| bounded(reason)),
        trace_id: record.trace.map(|trace| Hex(&trace.trace).to_string()),
        span_id: (record.span != [0; 8]).then(|| Hex(&record.span).to_string()),
    };
    serde_json::to_writer(&mut *out, &line)
        .expect("texts and numbers are JSON, and a Vec takes all");
    out.push(b'\n');
}

fn attempt(tried: &Tried) -> Attempt {
    Attempt {
        replica: tried.replica.to_string(),
        outcome: tried.outcome,
        status: some(tried.status),
        ms: (tried.ended > 0).then(|| ms(tried.ended.saturating_sub(tried.started))),
    }
}

fn protocol(record: &Record) -> Option<&'static str> {
    let version = match &record.unread {
        Some(unread) => unread.protocol?,
        None => record.version,
    };
    Some(match (version, record.grpc) {
        (_, true) => "grpc",
        (http::Version::HTTP_2, _) => "http/2",
        (http::Version::HTTP_10, _) => "http/1.0",
        _ => "http/1.1",
    })
}

fn method(record: &Record) -> Option<Cow<'_, str>> {
    match &record.unread {
        Some(unread) => unread.glimpse.method.as_deref().map(bounded),
        None => Some(bounded(record.method.as_str())),
    }
}

fn path(record: &Record, query: bool) -> Option<Cow<'_, str>> {
    if let Some(unread) = &record.unread {
        return unread.glimpse.target.as_deref().map(bounded);
    }
    Some(match (query, record.uri.query()) {
        (true, Some(text)) => bounded_owned(format!("{}?{text}", record.uri.path())),
        _ => bounded(record.uri.path()),
    })
}

/// Whom the request is for, as the caller wrote it.
pub(super) fn authority(record: &Record) -> Option<Cow<'_, str>> {
    if let Some(unread) = &record.unread {
        return unread.glimpse.host.as_deref().map(bounded);
    }
    match (record.uri.authority(), &record.host) {
        (Some(authority), _) => Some(bounded(authority.as_str())),
        (None, Some(host)) => Some(match String::from_utf8_lossy(host.as_bytes()) {
            Cow::Borrowed(text) => bounded(text),
            Cow::Owned(text) => bounded_owned(text),
        }),
        (None, None) => None,
    }
}

fn some(status: u16) -> Option<u16> {
    (status > 0).then_some(status)
}

/// Milliseconds, to the microsecond.
fn ms(nanos: Nanos) -> f64 {
    (nanos as f64 / 1e3).round() / 1e3
}

fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_MAX {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(TEXT_MAX)]))
}

fn bounded_owned(text: String) -> Cow<'static, str> {
    Cow::Owned(bounded(&text).into_owned())
}

/// A time in UTC with milliseconds (RFC 3339).
fn rfc3339(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let mut text = String::with_capacity("2026-01-01T00:00:00.000Z".len());
    // By hand: it is in each line, and formatting took a tenth of the line's time.
    for (number, digits, after) in [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (second / 3600, 2, ':'),
        (second / 60 % 60, 2, ':'),
        (second % 60, 2, '.'),
        (u64::from(since.subsec_millis()), 3, 'Z'),
    ] {
        for place in (0..digits).rev() {
            let digit = number / 10_u64.pow(place) % 10;
            text.push(char::from(b'0' + u8::try_from(digit).unwrap_or_default()));
        }
        text.push(after);
    }
    text
}

/// The date of a day since 1970, in the proleptic Gregorian calendar: eras of 400 years, years from March.
fn date(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let shifted = days + 719_468;
    let (era, day) = (shifted / ERA, shifted % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let january = month >= 10;
    (
        era * 400 + year + u64::from(january),
        if january { month - 9 } else { month + 3 },
        of_month,
    )
}

#[cfg(test)]
mod tests;
