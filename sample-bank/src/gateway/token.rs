//! Tokens: `CUSTOMER.EXPIRES.SIGNATURE`, signed by HMAC-SHA-256 with a key that all gateways share. Nothing is kept.

use crate::Failure;
use crate::money::is_id;
use crate::problem::{Code, Problem};
use aws_lc_rs::hmac;
use std::fmt::Write;

/// How long a token is good, in milliseconds: an hour.
pub const LIFETIME: i64 = 3_600_000;
/// Least length of the key, in bytes: that of the hash (RFC 2104 section 3).
const KEY: usize = 32;

/// Signs tokens and knows its own.
#[derive(Debug)]
pub struct Signer(hmac::Key);

impl Signer {
    /// A signer with the key that a variable names.
    ///
    /// # Errors
    ///
    /// The text is not hex, or too short.
    pub fn from_hex(text: &str) -> Result<Self, Failure> {
        let bytes = unhex(text).filter(|bytes| bytes.len() >= KEY);
        let bytes = bytes.ok_or_else(|| {
            Failure::new(format!("BANK_TOKEN_KEY must be hex of at least {KEY} bytes, like `openssl rand -hex {KEY}` prints"))
        })?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// A signer with a new key.
    pub fn random() -> Self {
        let mut key = [0; KEY];
        aws_lc_rs::rand::fill(&mut key).expect("the system has a source of randomness");
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// A token for a customer. Both times are in milliseconds since 1970.
    pub fn issue(&self, customer: &str, expires: i64) -> String {
        let said = format!("{customer}.{expires}");
        let signature = hmac::sign(&self.0, said.as_bytes());
        format!("{said}.{}", hex(signature.as_ref()))
    }

    /// Whose token it is.
    ///
    /// # Errors
    ///
    /// [`Code::Unauthenticated`] for what this key did not sign, [`Code::TokenExpired`] for what it signed long ago.
    pub fn verify(&self, token: &str, now: i64) -> Result<String, Problem> {
        let (customer, expires) = self.read(token).ok_or_else(|| {
            Problem::new(
                Code::Unauthenticated,
                "that is no token of this bank: POST /v1/sessions gives one",
            )
        })?;
        if expires <= now {
            return Err(Problem::new(
                Code::TokenExpired,
                "the token has expired: POST /v1/sessions gives a new one",
            ));
        }
        Ok(customer.to_owned())
    }

    fn read<'a>(&self, token: &'a str) -> Option<(&'a str, i64)> {
        let (said, signature) = token.rsplit_once('.')?;
        // In a time that does not depend on where they differ.
        hmac::verify(&self.0, said.as_bytes(), &unhex(signature)?).ok()?;
        let (customer, expires) = said.split_once('.')?;
        is_id(customer, "cus-").then_some((customer, expires.parse().ok()?))
    }
}

/// Bytes in hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all that is written");
            text
        })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(digit: &str) -> Signer {
        Signer::from_hex(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn tokens_are_good_until_they_expire() {
        let token = signer("a").issue("cus-1", 1000);
        assert_eq!(signer("a").verify(&token, 999), Ok("cus-1".to_owned()));
        for now in [1000, 1001] {
            assert_eq!(
                signer("a").verify(&token, now).unwrap_err().code,
                Code::TokenExpired
            );
        }
    }

    #[test]
    fn only_our_own_tokens_are_good() {
        let token = signer("a").issue("cus-1", 1000);
        let other = signer("b").issue("cus-1", 1000);
        let longer = token.replace(".1000.", ".9000.");
        let another = token.replace("cus-1", "cus-2");
        let cut = &token[..token.len() - 2];
        for bad in [
            "",
            ".",
            "..",
            "cus-1",
            other.as_str(),
            &longer,
            &another,
            cut,
        ] {
            assert_eq!(
                signer("a").verify(bad, 0).unwrap_err().code,
                Code::Unauthenticated,
                "{bad}"
            );
        }
    }

    #[test]
    fn keys_have_a_least_length() {
        for bad in ["", "abc", "zz", &"a".repeat(62), &"é".repeat(32)] {
            assert!(Signer::from_hex(bad).is_err(), "{bad}");
        }
    }
}
