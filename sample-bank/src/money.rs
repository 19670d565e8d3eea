//! Pure. Amounts, currencies, and the names of things.

use crate::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Largest amount of one posting and largest size of a balance, in minor units: 10^15. Nine thousand balances of that
/// size can be added up in 64 bits.
pub const MOST: i64 = 1_000_000_000_000_000;

/// Longest id, in bytes.
pub const ID_LIMIT: usize = 64;

/// What the bank keeps accounts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Currency {
    /// Euro.
    EUR,
    /// United States dollar.
    USD,
    /// Pound sterling.
    GBP,
    /// Japanese yen, which has no minor unit: its amounts are whole yen.
    JPY,
    /// Swiss franc.
    CHF,
}

impl Currency {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::EUR, Self::USD, Self::GBP, Self::JPY, Self::CHF];

    /// The code of ISO 4217.
    pub fn code(self) -> &'static str {
        match self {
            Self::EUR => "EUR",
            Self::USD => "USD",
            Self::GBP => "GBP",
            Self::JPY => "JPY",
            Self::CHF => "CHF",
        }
    }

    /// Reads a code of ISO 4217, in capitals.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownCurrency`].
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let found = Self::ALL
            .into_iter()
            .find(|currency| currency.code() == text);
        found.ok_or_else(|| {
            let shown: String = text.chars().take(16).collect();
            let known = Self::ALL.map(Self::code).join(", ");
            Problem::new(
                Code::UnknownCurrency,
                format!("`{shown}` is not a currency of this bank; it has {known}"),
            )
        })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount as somebody wrote it: any JSON number, not yet judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Written(serde_json::Number);

impl Written {
    /// The amount, if it is whole and from 1 to [`MOST`].
    ///
    /// # Errors
    ///
    /// [`Code::BadAmount`].
    pub fn positive(&self) -> Result<i64, Problem> {
        let amount = self.0.as_i64().filter(|amount| (1..=MOST).contains(amount));
        amount.ok_or_else(|| self.bad("a whole number of minor units from 1 to 10^15"))
    }

    /// The amount, if it is whole, not zero, and at most [`MOST`] in size.
    ///
    /// # Errors
    ///
    /// [`Code::BadAmount`].
    pub fn signed(&self) -> Result<i64, Problem> {
        let whole = self.0.as_i64();
        let amount = whole.filter(|amount| *amount != 0 && (-MOST..=MOST).contains(amount));
        amount.ok_or_else(|| self.bad("a whole number of minor units, not 0, at most 10^15"))
    }

    /// The amount, if it is whole and from 0 to [`MOST`].
    ///
    /// # Errors
    ///
    /// [`Code::BadAmount`].
    pub fn not_negative(&self) -> Result<i64, Problem> {
        let amount = self.0.as_i64().filter(|amount| (0..=MOST).contains(amount));
        amount.ok_or_else(|| self.bad("a whole number of minor units from 0 to 10^15"))
    }

    fn bad(&self, wanted: &str) -> Problem {
        Problem::new(
            Code::BadAmount,
            format!("the amount is {}: give {wanted}", self.0),
        )
    }
}

impl From<i64> for Written {
    fn from(amount: i64) -> Self {
        Self(amount.into())
    }
}

/// Whether text can name something: 1 to [`ID_LIMIT`] of `a-z`, `0-9` and `-`, beginning with `prefix`.
pub fn is_id(text: &str, prefix: &str) -> bool {
    text.len() <= ID_LIMIT
        && text
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Checks an id and says what is wrong with it.
///
/// # Errors
///
/// [`Code::Malformed`], naming `field`.
pub fn check_id(field: &str, text: &str, prefix: &str) -> Result<(), Problem> {
    if is_id(text, prefix) {
        return Ok(());
    }
    let shown: String = text.chars().take(ID_LIMIT).collect();
    Err(Problem::malformed(format!(
        "`{field}` is `{shown}`: an id begins with `{prefix}` and has at most {ID_LIMIT} of a-z, 0-9 and -"
    )))
}

/// Checks free text that people read: 1 to `most` characters, none of them a control character.
///
/// # Errors
///
/// [`Code::Malformed`], naming `field`.
pub fn check_text(field: &str, text: &str, most: usize) -> Result<(), Problem> {
    let length = text.chars().count();
    if (1..=most).contains(&length) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Problem::malformed(format!(
        "`{field}` has {length} characters: give 1 to {most}, without control characters"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: &str) -> Written {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn amounts() {
        #[rustfmt::skip]
        let rows = [
            // json, positive, signed, not negative
            ("1",                    true,  true,  true),
            ("1000000000000000",     true,  true,  true),
            ("1000000000000001",     false, false, false),
            ("0",                    false, false, true),
            ("-1",                   false, true,  false),
            ("-1000000000000000",    false, true,  false),
            ("-1000000000000001",    false, false, false),
            ("-9223372036854775808", false, false, false),
            ("9223372036854775808",  false, false, false),
            ("18446744073709551616", false, false, false),
            ("1.5",                  false, false, false),
            ("1.0",                  false, false, false),
            ("1e3",                  false, false, false),
        ];
        for (json, positive, signed, not_negative) in rows {
            let amount = written(json);
            assert_eq!(amount.positive().is_ok(), positive, "{json}");
            assert_eq!(amount.signed().is_ok(), signed, "{json}");
            assert_eq!(amount.not_negative().is_ok(), not_negative, "{json}");
        }
        assert_eq!(written("0").positive().unwrap_err().code, Code::BadAmount);
    }

    #[test]
    fn currencies() {
        for currency in Currency::ALL {
            assert_eq!(Currency::parse(currency.code()), Ok(currency));
        }
        for text in ["", "eur", "XYZ", "EURO", " EUR"] {
            assert_eq!(
                Currency::parse(text).unwrap_err().code,
                Code::UnknownCurrency
            );
        }
    }

    #[test]
    fn ids() {
        let long = format!("acc-{}", "a".repeat(60));
        for good in ["acc-1", "acc-a-b", long.as_str()] {
            assert!(is_id(good, "acc-"), "{good}");
        }
        let too_long = format!("{long}a");
        for bad in [
            "", "acc-", "acc", "cus-1", "acc-A", "acc-ä", "acc-1/2", "acc-%2f", &too_long,
        ] {
            assert!(!is_id(bad, "acc-"), "{bad}");
        }
    }

    #[test]
    fn texts() {
        assert!(check_text("reference", "für Käse ☕", 20).is_ok());
        for bad in ["", "a\nb", "\u{7}", "123456"] {
            assert_eq!(
                check_text("reference", bad, 5).unwrap_err().code,
                Code::Malformed
            );
        }
    }
}
