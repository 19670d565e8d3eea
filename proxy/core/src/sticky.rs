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
