//! The area `retry-budget`.

use super::Outcome;
use heddle_core::Nanos;
use heddle_core::budget::{RetryBudget, requeues_per_request};
use serde_json::{Value, json};
use std::time::Duration;

/// The most that one operation is repeated.
const REPEAT_MAX: u64 = 10_000_000;

pub(super) fn run(input: &Value) -> Outcome {
    match input["kind"].as_str() {
        None => operate(input).unwrap_or_else(Outcome::Malformed),
        Some("requeuesPerRequest") => {
            let (balance, share) = (
                input["balance"].as_u64(),
                input["maxRetriesPerReq"].as_f64(),
            );
            match balance.zip(share) {
                Some((balance, share)) => {
                    Outcome::Is(json!({"maxRequeues": requeues_per_request(balance, share)}))
                }
                None => {
                    Outcome::Malformed("`balance` and `maxRetriesPerReq` are numbers".to_owned())
                }
            }
        }
        Some(kind) => Outcome::Skipped(kind.to_owned()),
    }
}

fn operate(input: &Value) -> Result<Outcome, String> {
    let number = |key: &str| input[key].as_f64().ok_or(format!("`{key}` is a number"));
    let window = Duration::try_from_secs_f64(number("ttlSecs")?).unwrap_or_default();
    let (min, ratio) = (
        number("minRetriesPerSec")? as i64,
        number("percentCanRetry")?,
    );
    let Ok(budget) = RetryBudget::from_parts(window, min, ratio) else {
        return Ok(Outcome::error());
    };
    let (mut now, mut results) = (0, Vec::new());
    for op in input["ops"].as_array().into_iter().flatten() {
        if let Some(millis) = op["advanceMs"].as_u64() {
            now += millis * 1_000_000;
        } else {
            results.extend(apply(&budget, now, op)?);
        }
    }
    Ok(Outcome::Is(json!({ "results": results })))
}

/// One operation, and its result if it has one.
fn apply(budget: &RetryBudget, now: Nanos, op: &Value) -> Result<Option<Value>, String> {
    let unknown = || format!("unknown operation {op}");
    if let Some(name) = op.as_str() {
        return match name {
            "d" => {
                budget.deposit(now);
                Ok(None)
            }
            "w" => Ok(Some(budget.try_withdraw(now).into())),
            "b" => Ok(Some(budget.balance(now).into())),
            _ => Err(unknown()),
        };
    }
    let (name, times) = (
        op[0].as_str().ok_or_else(unknown)?,
        op[1].as_u64().ok_or_else(unknown)?,
    );
    if times > REPEAT_MAX {
        return Err(format!("{op} repeats more than {REPEAT_MAX} times"));
    }
    let withdraw = |deposit_first: bool| {
        let granted = (0..times).filter(|_| {
            if deposit_first {
                budget.deposit(now);
            }
            budget.try_withdraw(now)
        });
        Ok(Some(granted.count().into()))
    };
    match name {
        "d" => {
            (0..times).for_each(|_| budget.deposit(now));
            Ok(None)
        }
        "w" => withdraw(false),
        "dw" => withdraw(true),
        _ => Err(unknown()),
    }
}
