//! Pure. The journal against the book: what was acknowledged is there once, what was refused is not there.

use super::book::Transaction;
use super::{Evidence, Verdict};
use crate::load::journal::{Entry, Kind, Outcome};
use std::collections::HashMap;

/// Where a payment of the journal is found.
#[derive(Default)]
struct Book<'a> {
    by_id: HashMap<&'a str, &'a Transaction>,
    /// Transfers by their reference.
    transfers: HashMap<&'a str, Vec<&'a Transaction>>,
    /// Captures by their hold.
    captures: HashMap<&'a str, Vec<&'a Transaction>>,
    /// Postings and holds of cards by their descriptor: how many.
    descriptors: HashMap<&'a str, (usize, usize)>,
}

pub(super) fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    let mut book = Book::default();
    for transaction in &evidence.transactions {
        book.by_id.insert(&transaction.id, transaction);
        match &transaction.hold {
            Some(hold) => book.captures.entry(hold).or_default().push(transaction),
            None if transaction.kind == "transfer" => {
                book.transfers
                    .entry(&transaction.reference)
                    .or_default()
                    .push(transaction);
            }
            None => {}
        }
    }
    // Transactions do not tell descriptors, events do; any read model has them all, which `effects` makes sure of.
    let effects = evidence
        .models
        .values()
        .next()
        .into_iter()
        .flat_map(|model| model.values().flatten());
    for effect in effects {
        if let Some(descriptor) = &effect.descriptor {
            let (postings, holds) = book.descriptors.entry(descriptor).or_default();
            match effect.kind.as_str() {
                "posting" => *postings += 1,
                "hold" => *holds += 1,
                _ => {}
            }
        }
    }
    for claim in &evidence.claims {
        match claim.kind {
            Kind::Transfer => transfer(claim, &book, verdict),
            Kind::Card => card(claim, &book, !evidence.models.is_empty(), verdict),
        }
    }
}

fn transfer(claim: &Entry, book: &Book<'_>, verdict: &mut Verdict) {
    let found = book
        .transfers
        .get(claim.mark.as_str())
        .map_or(&[][..], Vec::as_slice);
    if let Outcome::Acknowledged { id } = &claim.outcome {
        verdict.transfers += 1;
        match book.by_id.get(id.as_str()) {
            None => lost(claim, id, verdict),
            Some(transaction) if !moves(transaction, claim) => verdict.violations.push(format!(
                "{id} is not the transfer `{}` that was acknowledged",
                claim.mark
            )),
            Some(_) => {}
        }
    }
    counted(claim, found.len(), verdict);
}

fn card(claim: &Entry, book: &Book<'_>, has_events: bool, verdict: &mut Verdict) {
    let (postings, holds) = book
        .descriptors
        .get(claim.mark.as_str())
        .copied()
        .unwrap_or_default();
    if let Outcome::Acknowledged { id } = &claim.outcome {
        verdict.cards += 1;
        let captures = book
            .captures
            .get(id.as_str())
            .map_or(&[][..], Vec::as_slice);
        match captures {
            [] => lost(claim, id, verdict),
            [one] if !moves(one, claim) => verdict.violations.push(format!(
                "{} does not capture what `{}` was acknowledged for",
                one.id, claim.mark
            )),
            [_] => {}
            many => {
                verdict.doubled += 1;
                verdict
                    .violations
                    .push(format!("doubled: {id} was captured {} times", many.len()));
            }
        }
        if has_events && holds > 1 {
            verdict.doubled += 1;
            verdict
                .violations
                .push(format!("doubled: `{}` has {holds} holds", claim.mark));
        }
    } else {
        counted(claim, postings.max(holds), verdict);
    }
}

fn lost(claim: &Entry, id: &str, verdict: &mut Verdict) {
    verdict.lost += 1;
    verdict.violations.push(format!(
        "lost: `{}` was acknowledged as {id}, and the ledger does not have it",
        claim.mark
    ));
}

/// How often a payment may be there, by its answer.
fn counted(claim: &Entry, found: usize, verdict: &mut Verdict) {
    match &claim.outcome {
        Outcome::Declined { .. } | Outcome::Refused { .. } if found > 0 => verdict.violations.push(
            format!("`{}` was refused, and is there {found} times", claim.mark),
        ),
        Outcome::Unknown { .. } => verdict.unknown += 1,
        _ => {}
    }
    if found > 1 {
        verdict.doubled += 1;
        verdict
            .violations
            .push(format!("doubled: `{}` is there {found} times", claim.mark));
    }
}

/// Whether a transaction moves what a claim says.
fn moves(transaction: &Transaction, claim: &Entry) -> bool {
    let has = |account: &str, amount: i64| {
        let mut postings = transaction.postings.iter();
        postings.any(|p| p.account == account && p.amount == amount && p.currency == claim.currency)
    };
    has(&claim.account, -claim.amount) && claim.to.as_ref().is_none_or(|to| has(to, claim.amount))
}

#[cfg(test)]
mod tests {
    use super::super::book::Posting;
    use super::*;

    fn posted(id: &str, reference: &str, amount: i64) -> Transaction {
        let posting = |account: &str, amount| Posting {
            account: account.to_owned(),
            amount,
            currency: "EUR".to_owned(),
        };
        Transaction {
            id: id.to_owned(),
            kind: "transfer".to_owned(),
            reference: reference.to_owned(),
            hold: None,
            postings: vec![posting("acc-a", -amount), posting("acc-b", amount)],
        }
    }

    fn claim(outcome: Outcome) -> Entry {
        Entry {
            kind: Kind::Transfer,
            mark: "m".to_owned(),
            account: "acc-a".to_owned(),
            to: Some("acc-b".to_owned()),
            amount: 5,
            currency: "EUR".to_owned(),
            outcome,
        }
    }

    #[test]
    fn claims_are_held_against_the_book() {
        let acknowledged = || Outcome::Acknowledged {
            id: "t1".to_owned(),
        };
        let refused = || Outcome::Refused {
            status: 422,
            code: "x".to_owned(),
        };
        let unknown = || Outcome::Unknown {
            detail: String::new(),
        };
        #[rustfmt::skip]
        let rows = [
            (acknowledged(), vec![posted("t1", "m", 5)],                       0, 0, 0),
            (acknowledged(), vec![],                                           1, 0, 1),
            (acknowledged(), vec![posted("t1", "m", 5), posted("t2", "m", 5)], 0, 1, 1),
            (acknowledged(), vec![posted("t1", "m", 6)],                       0, 0, 1),
            (refused(),      vec![],                                           0, 0, 0),
            (refused(),      vec![posted("t1", "m", 5)],                       0, 0, 1),
            (unknown(),      vec![],                                           0, 0, 0),
            (unknown(),      vec![posted("t1", "m", 5)],                       0, 0, 0),
            (unknown(),      vec![posted("t1", "m", 5), posted("t2", "m", 5)], 0, 1, 1),
        ];
        for (outcome, transactions, lost, doubled, violations) in rows {
            let evidence = Evidence {
                claims: vec![claim(outcome.clone())],
                transactions,
                ..Evidence::default()
            };
            let mut verdict = Verdict::default();
            judge(&evidence, &mut verdict);
            assert_eq!(
                (verdict.lost, verdict.doubled, verdict.violations.len()),
                (lost, doubled, violations),
                "{outcome:?}: {verdict:?}"
            );
        }
    }
}
