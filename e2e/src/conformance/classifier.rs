//! The area `classifier`.

use super::Outcome;
use serde_json::Value;

pub(super) fn run(_input: &Value) -> Outcome {
    Outcome::Skipped("not wired yet".to_owned())
}
