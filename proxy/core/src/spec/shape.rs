//! What YAML may look like: one set of tables drives the checker, the JSON Schemas for editors
//! and the reference in `docs/`, so that the three cannot disagree.
//!
//! Pure. The checker tells every deviation of one value tree; decoders then read what is sound
//! and stay silent about the rest.

use super::codes::Code;
use super::yaml::{Node, Value};
use std::time::Duration;

mod check;
mod near;

pub(super) use check::Checker;
pub(super) use near::nearest;

/// What one value may be.
#[derive(Debug)]
pub(super) enum Shape {
    /// A map with known keys.
    Object(&'static Object),
    /// A map whose keys are names.
    Map {
        key: &'static Format,
        value: &'static Shape,
    },
    /// A list.
    List { of: &'static Shape, min: usize },
    /// One of several; which one is told by whether the value is a scalar, a list or a map.
    Choice(&'static [Shape]),
    /// Text of some format.
    Text(&'static Format),
    /// One of these words, with their meanings.
    Word(&'static [(&'static str, &'static str)]),
    /// A whole number, both ends included.
    Int { min: u64, max: u64 },
    /// A number, both ends included.
    Number { min: f64, max: f64 },
    /// A length of time, both ends included.
    Time { min: Duration, max: Duration },
    /// `true` or `false`.
    Bool,
    /// A document: its `kind` says what its `spec` is.
    Document,
}

/// A map with known keys.
#[derive(Debug)]
pub(super) struct Object {
    /// Its name in the reference and in the schema.
    pub(super) name: &'static str,
    /// What it is for, one sentence.
    pub(super) about: &'static str,
    pub(super) fields: &'static [Field],
    /// Of these keys there must be exactly one.
    pub(super) exactly_one: &'static [&'static str],
}

/// A known key.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// The default as it would be written; empty when there is none.
    pub(super) default: &'static str,
    /// What it does and why the default is what it is.
    pub(super) about: &'static str,
}

/// The format of a text.
#[derive(Debug)]
pub(super) struct Format {
    /// With an article: `a header's name`.
    pub(super) name: &'static str,
    pub(super) code: &'static Code,
    /// Why the format is what it is.
    pub(super) why: &'static str,
    /// What to write.
    pub(super) fix: &'static str,
    /// A pattern for editors; empty: none.
    pub(super) pattern: &'static str,
    /// Whether an unquoted number is fine too.
    pub(super) numbers: bool,
    pub(super) check: fn(&str) -> Result<(), Problem>,
}

/// What is wrong with a text.
#[derive(Debug)]
pub(super) struct Problem {
    /// Continues the sentence "`<text>` …".
    pub(super) what: String,
    /// Byte where it goes wrong, if one place does.
    pub(super) offset: Option<usize>,
}

impl Problem {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            offset: None,
        }
    }
}

impl Object {
    pub(super) fn field(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

/// Whether a scalar can only be meant for this shape: one of its words, or a number.
fn is_meant_for(shape: &Shape, node: &Node) -> bool {
    match shape {
        Shape::Word(words) => words.iter().any(|(word, _)| node.text() == Some(word)),
        Shape::Int { .. } | Shape::Number { .. } => number(node).is_some(),
        _ => false,
    }
}

/// Whether a value is of the kind of YAML value that a shape is written as.
fn accepts(shape: &Shape, node: &Node) -> bool {
    match (&node.value, shape) {
        (_, Shape::Choice(shapes)) => shapes.iter().any(|shape| accepts(shape, node)),
        (Value::Null, _) => false,
        (Value::List(_), Shape::List { .. }) => true,
        (Value::Map(_), Shape::Object(_) | Shape::Map { .. } | Shape::Document) => true,
        (Value::Scalar(_), Shape::Int { .. } | Shape::Number { .. }) => number(node).is_some(),
        (Value::Scalar(_), Shape::Text(_) | Shape::Word(_) | Shape::Time { .. } | Shape::Bool) => {
            true
        }
        _ => false,
    }
}

/// An unquoted number, finite or not.
fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.parse::<f64>().is_ok();
    numeric || matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
}

fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

/// The number that a plain scalar is; infinite and not-a-number ones lie in no range.
pub(super) fn number(node: &Node) -> Option<f64> {
    match &node.value {
        Value::Scalar(scalar) if scalar.plain && is_number(&scalar.text) => {
            Some(scalar.text.parse().unwrap_or(f64::NAN))
        }
        _ => None,
    }
}

/// The whole number that a plain scalar is.
pub(super) fn whole(node: &Node) -> Option<u64> {
    match &node.value {
        Value::Scalar(scalar) if scalar.plain => scalar.text.parse().ok(),
        _ => None,
    }
}

/// The truth value that a plain scalar is.
pub(super) fn boolean(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Scalar(scalar) if scalar.plain && is_bool(&scalar.text) => {
            Some(scalar.text.eq_ignore_ascii_case("true"))
        }
        _ => None,
    }
}

/// At most 60 characters of a text, on one line.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(60)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// `` `a`, `b`, `c` ``
pub(super) fn list_of_words<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
