//! Every kind of finding, with its code. A code never changes its meaning and is never used again.
//!
//! `docs/findings.md` explains each with an example that a test runs.

use crate::finding::Severity;

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `HED` and three digits.
    pub id: &'static str,
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// A few words, the heading in `docs/findings.md`.
    pub title: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal $severity:ident $title:literal;)*) => {
        $(pub(super) const $name: Code = Code { id: $id, severity: Severity::$severity, title: $title };)*
        /// Every code, ascending.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    // Files and YAML.
    UNREADABLE = "HED101" Error "file cannot be read";
    NOT_UTF8 = "HED102" Error "file is not UTF-8";
    TOO_LARGE = "HED103" Error "file is too large";
    SYNTAX = "HED104" Error "YAML syntax";
    TAB = "HED105" Error "tab in indentation";
    DUPLICATE_KEY = "HED106" Error "key written twice";
    TOO_COMPLEX = "HED107" Error "too many or too deeply nested values";
    EMPTY_FILE = "HED108" Error "file holds nothing";
    NO_FILES = "HED109" Warning "pattern matches no file";
    UNSUPPORTED_YAML = "HED110" Error "YAML feature that is not understood";
    EMPTY_RULES = "HED111" Warning "rules file holds no document";
    // The shape of single values.
    UNKNOWN_KEY = "HED201" Error "unknown key";
    WRONG_TYPE = "HED202" Error "wrong type";
    MISSING_KEY = "HED203" Error "required key is missing";
    UNKNOWN_WORD = "HED204" Error "word that is not a choice";
    OUT_OF_RANGE = "HED205" Error "number out of range";
    BAD_DURATION = "HED206" Error "not a duration";
    BAD_ADDRESS = "HED207" Error "not an address";
    BAD_NAME = "HED208" Error "not a name";
    BAD_TOKEN = "HED209" Error "not a legal part of an HTTP message";
    BAD_PATH = "HED210" Error "not a path";
    BAD_REGEX = "HED211" Error "regular expression that is refused";
    BAD_DTAB = "HED212" Error "dtab syntax";
    BAD_NETWORK = "HED213" Error "not a network";
    KEYS_EXCLUDE = "HED214" Error "keys that do not go together";
    NOT_YET = "HED215" Error "known, but not in this version";
    EMPTY_LIST = "HED216" Error "empty list or text";
    UNKNOWN_KIND = "HED217" Error "unknown kind or version of document";
    BAD_KEY_SOURCE = "HED218" Error "not a source of keys";
    BAD_RETRY = "HED219" Error "not a reason to retry";
    // Values that contradict each other.
    DUPLICATE_DOCUMENT = "HED301" Error "two documents of one name";
    DUPLICATE_ROUTE = "HED302" Error "two Routes for one service";
    DUPLICATE_LISTENER = "HED303" Error "two listeners of one name";
    DUPLICATE_ADDRESS = "HED304" Error "one address for two listeners";
    DUPLICATE_CLUSTER = "HED305" Error "two replica sets of one name";
    NO_WEIGHT = "HED306" Error "no positive weight";
    DTAB_CYCLE = "HED307" Error "names that resolve to themselves";
    TIMEOUTS_CROSS = "HED308" Error "attempt timeout above total timeout";
    BOUNDS_CROSS = "HED309" Error "lower bound above upper bound";
    LOOP = "HED310" Error "proxy that forwards to itself";
    // Probably not what was meant.
    UNREACHABLE_RULE = "HED401" Warning "rule that no request reaches";
    NO_CATCH_ALL = "HED402" Warning "last rule has conditions";
    RESOLVES_TO_NOTHING = "HED403" Warning "destination that resolves to nothing";
    STICKY_ALONE = "HED404" Warning "sticky choice without a choice";
    NO_EFFECT = "HED405" Warning "setting without effect";
    DUPLICATE_ENDPOINT = "HED406" Warning "endpoint written twice";
    SHADOWED = "HED407" Warning "document that the proxy's own replaces";
    // Certificates and keys.
    BAD_CERTIFICATE = "HED501" Error "certificate or key that cannot be used";
    CERTIFICATE_EXPIRES = "HED502" Warning "certificate outside its time";
}

#[cfg(test)]
mod tests;
