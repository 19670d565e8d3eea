//! Events and their effects: each topic and each read model has every event of every account, in order; each read model
//! has it once.

use super::{Evidence, Verdict};
use crate::Failure;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// An event, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Effect {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) account: String,
    pub(super) sequence: i64,
    pub(super) amount: i64,
    pub(super) balance: i64,
    #[serde(default)]
    pub(super) descriptor: Option<String>,
}

/// Reads a read model: `ACCOUNT/SEQUENCE.json`.
///
/// # Errors
///
/// A file is no event.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<String, Vec<Effect>>, Failure> {
    let mut found = BTreeMap::new();
    for account in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = account.file_name().to_string_lossy().into_owned();
        if !name.starts_with("acc-") {
            continue;
        }
        let mut effects: Vec<(String, Effect)> = Vec::new();
        for file in fs::read_dir(account.path()).into_iter().flatten().flatten() {
            let path = file.path();
            let broken =
                |why: &dyn std::fmt::Display| Failure::new(format!("{}: {why}", path.display()));
            let text = fs::read_to_string(&path).map_err(|e| broken(&e))?;
            let effect = serde_json::from_str(&text).map_err(|e| broken(&e))?;
            effects.push((file.file_name().to_string_lossy().into_owned(), effect));
        }
        effects.sort_by(|a, b| a.0.cmp(&b.0));
        found.insert(
            name,
            effects.into_iter().map(|(_, effect)| effect).collect(),
        );
    }
    Ok(found)
}

pub(super) fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    let wanted: HashMap<&str, (i64, i64)> = evidence
        .accounts
        .iter()
        .filter(|account| account.is_customers())
        .map(|account| (account.id.as_str(), (account.sequence, account.balance)))
        .collect();
    // The same event must be the same everywhere.
    let mut ids: HashMap<(&str, i64), &str> = HashMap::new();
    let places = evidence
        .models
        .iter()
        .map(|(name, model)| (name, model, true));
    let places = places.chain(
        evidence
            .topics
            .iter()
            .map(|(name, topic)| (name, topic, false)),
    );
    for (name, events, is_model) in places {
        for (account, &(sequence, balance)) in &wanted {
            let told = events.get(*account).map_or(&[][..], Vec::as_slice);
            let place = format!("{name} of {account}");
            in_order(&place, told, sequence, is_model, verdict);
            for event in told {
                let known = *ids.entry((account, event.sequence)).or_insert(&event.id);
                if known != event.id {
                    verdict.violations.push(format!(
                        "{place}: number {} is {}, elsewhere {known}",
                        event.sequence, event.id
                    ));
                }
            }
            if let Some(last) = told.iter().rev().find(|event| event.sequence == sequence)
                && last.balance != balance
            {
                verdict.violations.push(format!(
                    "{place}: the last balance is {}, the ledger has {balance}",
                    last.balance
                ));
            }
        }
        for account in events
            .keys()
            .filter(|account| !wanted.contains_key(account.as_str()))
        {
            verdict.violations.push(format!(
                "{name} has events of {account}, which is no customer's account"
            ));
        }
    }
}

/// Whether the first mention of each event comes in order, 1 to `sequence`; a read model mentions each once.
fn in_order(place: &str, told: &[Effect], sequence: i64, once: bool, verdict: &mut Verdict) {
    let mut next = 1;
    let mut balance = 0;
    for event in told {
        if event.sequence == next {
            let change = if event.kind == "posting" {
                event.amount
            } else {
                0
            };
            if event.balance != balance + change {
                verdict.violations.push(format!(
                    "{place}: number {next} says a balance of {}, not {}",
                    event.balance,
                    balance + change
                ));
            }
            balance = event.balance;
            next += 1;
        } else if event.sequence > next {
            verdict.violations.push(format!(
                "{place}: number {} came, {next} was due",
                event.sequence
            ));
            next = event.sequence + 1;
            balance = event.balance;
        } else if once {
            verdict.doubled += 1;
            verdict.violations.push(format!(
                "{place}: number {} had its effect twice",
                event.sequence
            ));
        }
    }
    if next != sequence + 1 {
        verdict.violations.push(format!(
            "{place}: ends with number {}, the ledger has {sequence}",
            next - 1
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_gaps_and_repetitions_are_told_apart() {
        let events = |numbers: &[i64]| -> Vec<Effect> {
            let effect = |&n: &i64| Effect {
                id: format!("txn-{n}"),
                kind: "posting".to_owned(),
                account: "acc-a".to_owned(),
                sequence: n,
                amount: 5,
                balance: 5 * n,
                descriptor: None,
            };
            numbers.iter().map(effect).collect()
        };
        #[rustfmt::skip]
        let rows: [(&[i64], bool, usize, usize); 6] = [
            (&[1, 2, 3],       true,  0, 0),
            (&[1, 2, 1, 2, 3], false, 0, 0), // a topic may repeat
            (&[1, 2, 2, 3],    true,  1, 1), // a read model may not
            (&[1, 3],          true,  0, 1),
            (&[1, 2],          true,  0, 1),
            (&[2, 1, 3],       false, 0, 1),
        ];
        for (numbers, once, doubled, violations) in rows {
            let mut verdict = Verdict::default();
            in_order("x", &events(numbers), 3, once, &mut verdict);
            assert_eq!(
                (verdict.doubled, verdict.violations.len()),
                (doubled, violations),
                "{numbers:?}: {verdict:?}"
            );
        }
    }
}
