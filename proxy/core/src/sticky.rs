//! Pure. Sticky shares: the same key meets the same arm, on every proxy and after every restart.
//!
//! Weighted rendezvous hashing: each arm scores `-weight / ln(u)` with `u` in (0, 1) from a hash of
//! service, arm and key, and the best score wins. Raising the weight of one arm raises its scores
//! only, so keys move to that arm and between no others: a cohort of a canary only grows.
//!
//! Source: "Weight Distributed Hash Tables" (Schindelhauer and Schomaker 2005), logarithmic method;
//! Thaler and Ravishankar 1998 for rendezvous hashing.

use crate::random::mix64;

/// The index of the arm that `key` belongs to; `None` when no arm has a positive weight.
///
/// `service` makes services independent of each other: being in the 5 % of one says nothing about
/// another. Arms are told apart by name, so their order does not matter.
///
/// ```
/// use heddle_core::sticky::pick;
/// let arms = [("accounts-v1", 95.0), ("accounts-v2", 5.0)];
/// let first = pick("bank/accounts", &arms, b"alice");
/// assert!(first.is_some());
/// assert_eq!(first, pick("bank/accounts", &arms, b"alice"));
/// ```
pub fn pick(service: &str, arms: &[(impl AsRef<str>, f64)], key: &[u8]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, (name, weight)) in arms.iter().enumerate() {
        if *weight <= 0.0 || !weight.is_finite() {
            continue;
        }
        let score = -weight / unit(hash(&[service.as_bytes(), name.as_ref().as_bytes(), key])).ln();
        if best.is_none_or(|(_, high)| score > high) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// The hash of a list of byte strings: FNV-1a (64 bits) over each string followed by its length as
/// eight little-endian bytes, and SplitMix64's finaliser over the result.
///
/// It is part of the contract between proxies of different versions: changing it moves users
/// between cohorts.
pub fn hash(parts: &[&[u8]]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    mix64(parts.iter().fold(OFFSET, |hash, part| {
        let hash = part.iter().fold(hash, step);
        (part.len() as u64).to_le_bytes().iter().fold(hash, step)
    }))
}

/// A number strictly between 0 and 1 from the upper 53 bits of a hash.
pub(crate) fn unit(hash: u64) -> f64 {
    ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Rng, Xoshiro};

    fn arms(weights: &[f64]) -> Vec<(String, f64)> {
        weights
            .iter()
            .enumerate()
            .map(|(arm, weight)| (format!("accounts-v{}", arm + 1), *weight))
            .collect()
    }

    fn keys(n: u64) -> impl Iterator<Item = Vec<u8>> {
        (0..n).map(|user| format!("user-{user}").into_bytes())
    }

    #[test]
    fn no_arm_without_weight() {
        assert_eq!(pick("s", &arms(&[]), b"k"), None);
        assert_eq!(
            pick("s", &arms(&[0.0, -1.0, f64::NAN, f64::INFINITY]), b"k"),
            None
        );
        assert!(keys(1000).all(|key| pick("s", &arms(&[0.0, 1.0]), &key) == Some(1)));
    }

    /// Other versions of Heddle count on these numbers.
    #[test]
    fn the_hash_is_what_it_was() {
        assert_eq!(hash(&[]), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(
            hash(&[b"bank/accounts", b"accounts-v1", b"alice"]),
            0x9cbb_50a8_e4cf_be8b
        );
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }

    #[test]
    fn shares_are_within_the_error_of_sampling() {
        let n = 20_000_u64;
        for weights in [
            &[95.0, 5.0][..],
            &[1.0, 1.0, 1.0],
            &[0.5, 0.25, 0.25],
            &[99.9, 0.1],
        ] {
            let sum: f64 = weights.iter().sum();
            let arms = arms(weights);
            let mut counts = vec![0_u64; weights.len()];
            keys(n).for_each(|key| counts[pick("bank/accounts", &arms, &key).unwrap()] += 1);
            for (count, weight) in counts.iter().zip(weights) {
                let (mean, p) = (n as f64 * weight / sum, weight / sum);
                let sigma = (n as f64 * p * (1.0 - p)).sqrt();
                assert!(
                    (*count as f64 - mean).abs() < 4.0 * sigma + 1.0,
                    "{weights:?}: {counts:?}"
                );
            }
        }
    }

    #[test]
    fn raising_a_weight_only_adds_keys_to_that_arm() {
        let mut rng = Xoshiro::seeded(3);
        for round in 0..20 {
            let before: Vec<f64> = (0..4).map(|_| rng.below(10) as f64).collect();
            let (raised, mut after) = (rng.below(4), before.clone());
            after[raised] += 1.0 + rng.below(5) as f64;
            let (before, after) = (arms(&before), arms(&after));
            for key in keys(2000) {
                let (was, is) = (pick("s", &before, &key), pick("s", &after, &key));
                assert!(
                    was == is || is == Some(raised),
                    "round {round}: {was:?} became {is:?}"
                );
            }
        }
    }

    #[test]
    fn order_does_not_matter() {
        let (one, two) = ([("a", 3.0), ("b", 1.0)], [("b", 1.0), ("a", 3.0)]);
        for key in keys(1000) {
            let name = |arms: &[(&'static str, f64)]| arms[pick("s", arms, &key).unwrap()].0;
            assert_eq!(name(&one), name(&two));
        }
    }

    #[test]
    fn services_are_independent() {
        let arms = arms(&[90.0, 10.0]);
        let both = keys(20_000)
            .filter(|key| pick("a", &arms, key) == Some(1) && pick("b", &arms, key) == Some(1));
        let both = both.count() as f64; // 1 % expected, sigma 14
        assert!((140.0..260.0).contains(&both), "{both}");
    }
}
