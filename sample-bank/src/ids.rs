//! New names for things, and fingerprints of requests.

use crate::clock;
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write;

/// Letters and digits that cannot be mistaken for each other (Crockford's base 32), in lower case.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A new id, `txn-` and the like in front: 48 bits of time, so that ids sort by age, and 80 bits of chance.
pub fn fresh(prefix: &str) -> String {
    let mut chance = [0; 10];
    aws_lc_rs::rand::fill(&mut chance).expect("the system has a source of randomness");
    let time = u128::from(clock::now().unsigned_abs()) & 0xffff_ffff_ffff;
    let number = chance
        .iter()
        .fold(time, |number, byte| number << 8 | u128::from(*byte));
    written(prefix, number)
}

/// The id that follows from its parts: whoever repeats a request finds what the first try made.
pub fn derived(prefix: &str, parts: &[&str]) -> String {
    let hash = hash(parts);
    let number = hash[..16]
        .iter()
        .fold(0, |number, byte| number << 8 | u128::from(*byte));
    written(prefix, number)
}

/// SHA-256 of the parts, in hex. No two lists of parts are written the same.
pub fn fingerprint(parts: &[&str]) -> String {
    hash(parts)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all that is written");
            text
        })
}

fn hash(parts: &[&str]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().to_vec()
}

/// 26 letters: 130 bits, of which the first two are zero.
fn written(prefix: &str, number: u128) -> String {
    let mut text = String::with_capacity(prefix.len() + 26);
    text.push_str(prefix);
    for at in (0..26).rev() {
        let letter = (number >> (at * 5)) & 31;
        text.push(char::from(LETTERS[letter as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::is_id;

    #[test]
    fn ids_are_ids_and_differ() {
        let (a, b) = (fresh("txn-"), fresh("txn-"));
        assert!(is_id(&a, "txn-") && is_id(&b, "txn-") && a != b);
        assert_eq!(a.len(), 30);
    }

    #[test]
    fn derived_ids_follow_from_their_parts() {
        assert_eq!(derived("acc-", &["a", "b"]), derived("acc-", &["a", "b"]));
        for other in [
            vec!["ab"],
            vec!["a", "b", ""],
            vec!["b", "a"],
            vec!["ab", ""],
        ] {
            assert_ne!(
                derived("acc-", &["a", "b"]),
                derived("acc-", &other),
                "{other:?}"
            );
        }
    }

    #[test]
    fn fingerprints_are_sha_256() {
        assert_eq!(
            fingerprint(&[]),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
