//! The area `ewma`: averages, the power of two choices, and what accrual decides.

use super::Outcome;
use heddle_core::accrual::{EndpointHealth, SetHealth};
use heddle_core::balance::{prefers_first, two};
use heddle_core::config::Accrual;
use heddle_core::ewma::{Ema, PeakEwma};
use heddle_core::random::{Rng, Xoshiro};
use heddle_core::status::Status;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

pub(super) fn run(input: &Value) -> Outcome {
    let outcome = match input["kind"].as_str().unwrap_or("") {
        "ema" => ema(input),
        "peakEwma" => peak_ewma(input),
        "p2cPick" => pick(input),
        "p2cIndices" => indices(input),
        "successRateAccrual" => success_rate(input),
        "consecutiveFailuresAccrual" => consecutive_failures(input),
        kind => return Outcome::Skipped(kind.to_owned()),
    };
    outcome.map_or_else(Outcome::Malformed, Outcome::Is)
}

fn number(json: &Value, key: &str) -> Result<f64, String> {
    json[key]
        .as_f64()
        .ok_or_else(|| format!("`{key}` is a number in {json}"))
}

fn list<'j>(json: &'j Value, key: &str) -> Result<&'j Vec<Value>, String> {
    json[key]
        .as_array()
        .ok_or_else(|| format!("`{key}` is a list in {json}"))
}

fn ema(input: &Value) -> Result<Value, String> {
    let mut ema = Ema::new(number(input, "window")?);
    let mut update = |update: &Value| {
        if update == "reset" {
            ema.reset();
            return Ok(ema.last());
        }
        let (stamp, sample) = (update[0].as_u64(), update[1].as_f64());
        let (stamp, sample) = stamp
            .zip(sample)
            .ok_or_else(|| format!("no update: {update}"))?;
        Ok(ema.update(stamp, sample))
    };
    let values: Result<Vec<f64>, String> =
        list(input, "updates")?.iter().map(&mut update).collect();
    Ok(json!({"values": values?}))
}

fn peak_ewma(input: &Value) -> Result<Value, String> {
    let cost = PeakEwma::new(
        0,
        Duration::from_nanos(number(input, "decayTimeNs")? as u64),
    );
    let (mut started, mut loads) = (HashMap::new(), Vec::new());
    for op in list(input, "ops")? {
        let (now, id) = (number(op, "at")? as u64, op["id"].to_string());
        match op["op"].as_str() {
            Some("start") => {
                cost.start();
                started.insert(id, now);
            }
            Some("end") => {
                let start = started
                    .remove(&id)
                    .ok_or_else(|| format!("{id} was not started"))?;
                cost.end(start, now);
            }
            Some("observe") => cost.observe(now, number(op, "rtt")? as u64),
            Some("load") => loads.push(cost.load(now)),
            _ => return Err(format!("unknown operation {op}")),
        }
    }
    Ok(json!({ "loads": loads }))
}

fn pick(input: &Value) -> Result<Value, String> {
    let node = |key: &str| {
        let status = match input[key]["status"].as_str() {
            Some("open") => Status::Open,
            Some("busy") => Status::Busy,
            Some("closed") => Status::Closed,
            other => return Err(format!("unknown status {other:?}")),
        };
        Ok((status, number(&input[key], "load")?))
    };
    let first = prefers_first(node("a")?, node("b")?);
    Ok(json!({"pick": if first { "a" } else { "b" }}))
}

/// A generator that draws what it was told.
struct Told(VecDeque<u64>);

impl Rng for Told {
    fn next_u64(&mut self) -> u64 {
        self.0.pop_front().unwrap_or(0)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next_u64() as usize % bound
    }
}

fn indices(input: &Value) -> Result<Value, String> {
    let size = number(input, "size")? as usize;
    let mut rng = Told(
        list(input, "rngInts")?
            .iter()
            .filter_map(Value::as_u64)
            .collect(),
    );
    let indices = match size {
        0 => Vec::new(),
        1 => vec![0],
        n => {
            let (a, b) = two(n, &mut rng);
            vec![a, b]
        }
    };
    Ok(json!({ "indices": indices }))
}

/// A sequence of `"f"`, `"s"`, `["f", times]`: which are failures.
fn sequence(input: &Value) -> Result<Vec<bool>, String> {
    const TIMES_MAX: u64 = 1_000_000;
    let mut failures = Vec::new();
    for item in list(input, "sequence")? {
        let (what, times) = match item.as_array() {
            Some(pair) => (
                pair.first().and_then(Value::as_str),
                pair.get(1).and_then(Value::as_u64),
            ),
            None => (item.as_str(), Some(1)),
        };
        let failure = match what {
            Some("f") => true,
            Some("s") => false,
            _ => return Err(format!("unknown outcome {item}")),
        };
        let times = times
            .filter(|times| *times <= TIMES_MAX)
            .ok_or_else(|| format!("bad count in {item}"))?;
        failures.extend((0..times).map(|_| failure));
    }
    Ok(failures)
}

/// Finagle's policy by number of requests: an average over `window` requests that must stay at the
/// required rate once there were so many. Heddle's own accrual counts by time.
fn success_rate(input: &Value) -> Result<Value, String> {
    let (required, window) = (
        number(input, "requiredSuccessRate")?,
        number(input, "window")?,
    );
    let (mut rate, mut failed) = (Ema::new(window), 0);
    for (request, failure) in sequence(input)?.into_iter().enumerate() {
        let requests = request as u64 + 1;
        let now = rate.update(requests, if failure { 0.0 } else { 1.0 });
        failed += u64::from(failure);
        if failure && requests as f64 >= window && now < required {
            return Ok(json!({"firstMarkDeadOnFailureNumber": failed}));
        }
    }
    Ok(json!({"firstMarkDeadOnFailureNumber": null}))
}

/// Each request is made as soon as the endpoint allows one, so that after an ejection it is a probe.
fn consecutive_failures(input: &Value) -> Result<Value, String> {
    let failures = Some(number(input, "failures")? as u32);
    let rules = Accrual {
        consecutive_failures: failures,
        success_rate: None,
        ..Accrual::default()
    };
    let (endpoint, set, rng) = (
        EndpointHealth::new(0),
        SetHealth::new(2),
        &mut Xoshiro::seeded(1),
    );
    let mut ejections = Vec::new();
    for failure in sequence(input)? {
        let now = endpoint.ejected_until().unwrap_or(0);
        endpoint.try_probe(now, &rules);
        if failure {
            ejections.push(endpoint.failure(now, &rules, &set, rng).is_some());
        } else {
            endpoint.success(now, &rules, &set);
        }
    }
    Ok(json!({"markDead": ejections}))
}
