//! What YAML may look like: one set of tables drives the checker, the JSON Schemas for editors
//! and the reference in `docs/`, so that the three cannot disagree.
//!
//! Pure. The checker tells every deviation of one value tree; decoders then read what is sound
//! and stay silent about the rest.

use super::codes::{self, Code};
use super::report::Report;
use super::yaml::{Node, Value, place_within};
use std::time::Duration;

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
    /// Known, but refused by this version, with what it will come with.
    NotYet(&'static str),
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

/// Checks values against shapes, reporting every deviation.
pub(super) struct Checker<'c> {
    /// The text of the file, for places within scalars.
    pub(super) source: &'c str,
    pub(super) report: &'c mut Report,
}

impl Checker<'_> {
    /// Reports what is wrong with a value.
    pub(super) fn check(&mut self, node: &Node, shape: &Shape) {
        match shape {
            Shape::Object(object) => self.object(node, object),
            Shape::Map { key, value } => {
                if !matches!(node.value, Value::Map(_)) {
                    return self.wrong_type(node, shape);
                }
                for (name, node_value) in node.entries() {
                    if let Err(problem) = (key.check)(&name.text) {
                        let what = format!("`{}` {}", shorten(&name.text), problem.what);
                        self.report
                            .add(key.code, name.place, what, key.why, key.fix);
                    }
                    self.check(node_value, value);
                }
            }
            Shape::List { of, min } => {
                let Value::List(items) = &node.value else {
                    return self.wrong_type(node, shape);
                };
                if items.len() < *min {
                    self.report.add(
                        &codes::EMPTY_LIST,
                        node.place,
                        "the list is empty",
                        "it needs at least one entry to mean anything",
                        "add an entry, or remove the key",
                    );
                }
                items.iter().for_each(|item| self.check(item, of));
            }
            Shape::Choice(shapes) => {
                let meant = shapes.iter().find(|shape| is_meant_for(shape, node));
                match meant.or_else(|| shapes.iter().rfind(|shape| accepts(shape, node))) {
                    Some(shape) => self.check(node, shape),
                    None => self.wrong_type(node, shape),
                }
            }
            Shape::NotYet(with) => self.report.add(
                &codes::NOT_YET,
                node.place,
                "this is known, but this version cannot do it",
                format!("it comes with {with}"),
                "remove it",
            ),
            Shape::Document => super::document::check(node, self),
            scalar => self.scalar(node, scalar),
        }
    }

    fn object(&mut self, node: &Node, object: &'static Object) {
        if self.keys(node, object) {
            for (key, value) in node.entries() {
                if let Some(field) = object.field(&key.text) {
                    self.check(value, &field.shape);
                }
            }
        }
    }

    /// Reports what is wrong with the keys of a map, but not with their values. `false` if it is no map.
    pub(super) fn keys(&mut self, node: &Node, object: &'static Object) -> bool {
        if !matches!(node.value, Value::Map(_)) {
            self.wrong_type(node, &Shape::Object(object));
            return false;
        }
        for (key, _) in node.entries() {
            if object.field(&key.text).is_none() {
                self.unknown_key(&key.text, key.place, object);
            }
        }
        for field in object.fields.iter().filter(|field| field.required) {
            if node.get(field.key).is_none() {
                self.report.add(
                    &codes::MISSING_KEY,
                    node.place,
                    format!("`{}` is missing from the {}", field.key, object.name),
                    first_sentence(field.about),
                    format!("add `{}:`", field.key),
                );
            }
        }
        self.exactly_one(node, object);
        true
    }

    fn exactly_one(&mut self, node: &Node, object: &Object) {
        if object.exactly_one.is_empty() {
            return;
        }
        let given: Vec<_> = node
            .entries()
            .iter()
            .filter(|(key, _)| object.exactly_one.contains(&&*key.text))
            .collect();
        let choices = list_of_words(object.exactly_one.iter().copied());
        if let [_, (second, _), ..] = given[..] {
            self.report.add(
                &codes::KEYS_EXCLUDE,
                second.place,
                format!("`{}` stands beside `{}`", second.text, given[0].0.text),
                format!("the {} takes exactly one of {choices}", object.name),
                "remove one of the two",
            );
        } else if given.is_empty() {
            self.report.add(
                &codes::MISSING_KEY,
                node.place,
                format!("the {} has none of {choices}", object.name),
                "it needs exactly one of them",
                "add one of them",
            );
        }
    }

    fn unknown_key(&mut self, key: &str, place: super::yaml::Place, object: &Object) {
        let known = object.fields.iter().map(|field| field.key);
        let fix = match nearest(key, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "remove it; the {} knows {}",
                object.name,
                list_of_words(known)
            ),
        };
        self.report.add(
            &codes::UNKNOWN_KEY,
            place,
            format!("`{}` is not a key of the {}", shorten(key), object.name),
            "a key that is not understood would silently do nothing",
            fix,
        );
    }

    fn scalar(&mut self, node: &Node, shape: &Shape) {
        let Value::Scalar(scalar) = &node.value else {
            return self.wrong_type(node, shape);
        };
        let text = &*scalar.text;
        match shape {
            Shape::Text(format) => {
                if scalar.plain && !format.numbers && (is_number(text) || is_bool(text)) {
                    return self.wrong_type(node, shape);
                }
                if let Err(problem) = (format.check)(text) {
                    let place = match problem.offset {
                        Some(offset) => place_within(self.source, node, offset),
                        None => node.place,
                    };
                    let what = format!("`{}` {}", shorten(text), problem.what);
                    self.report
                        .add(format.code, place, what, format.why, format.fix);
                }
            }
            Shape::Word(words) => self.word(node, text, words),
            Shape::Int { min, max } => match whole(node) {
                Some(number) if (*min..=*max).contains(&number) => {}
                Some(_) => self.out_of_range(node, text, &format!("{min} to {max}")),
                None if scalar.plain && is_number(text) => {
                    self.out_of_range(
                        node,
                        text,
                        &format!("the whole numbers from {min} to {max}"),
                    );
                }
                None => self.wrong_type(node, shape),
            },
            Shape::Number { min, max } => match number(node) {
                Some(number) if (*min..=*max).contains(&number) => {}
                Some(_) => self.out_of_range(node, text, &format!("{min} to {max}")),
                None => self.wrong_type(node, shape),
            },
            Shape::Time { min, max } => match super::format::duration(text) {
                Ok(time) if (*min..=*max).contains(&time) => {}
                Ok(_) => {
                    let range = format!(
                        "{} to {}",
                        super::format::show(*min),
                        super::format::show(*max)
                    );
                    self.out_of_range(node, text, &range);
                }
                Err(what) => self.report.add(
                    &codes::BAD_DURATION,
                    node.place,
                    format!("`{}` is not a duration: {what}", shorten(text)),
                    "a number alone does not say which unit it counts",
                    "write for example `500ms`, `2s`, `10m`, `1h` or `1m30s`",
                ),
            },
            _ if boolean(node).is_some() => {}
            _ => self.wrong_type(node, shape),
        }
    }

    fn word(&mut self, node: &Node, text: &str, words: &[(&'static str, &'static str)]) {
        let known = words.iter().map(|(word, _)| *word);
        if known.clone().any(|word| word == text) {
            return;
        }
        let choices = list_of_words(known.clone());
        let fix = match nearest(text, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {choices}"),
        };
        let what = format!("`{}` is not a choice here", shorten(text));
        self.report.add(
            &codes::UNKNOWN_WORD,
            node.place,
            what,
            format!("there are {choices}"),
            fix,
        );
    }

    fn out_of_range(&mut self, node: &Node, text: &str, range: &str) {
        self.report.add(
            &codes::OUT_OF_RANGE,
            node.place,
            format!("`{}` is out of range", shorten(text)),
            format!("the range is {range}"),
            "write a value within it",
        );
    }

    fn wrong_type(&mut self, node: &Node, expected: &Shape) {
        let text = node.text().unwrap_or_default();
        let found = match &node.value {
            Value::Null => "nothing",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(scalar) if scalar.plain && is_number(text) => "a number",
            Value::Scalar(scalar) if scalar.plain && is_bool(text) => "true or false",
            Value::Scalar(_) => "text",
        };
        let expected_name = name_of(expected);
        let fix = match (&node.value, expected) {
            (Value::Null, _) => "write a value after the colon, or remove the key".to_owned(),
            (Value::Scalar(_), Shape::Text(_)) => format!("put it in quotes: \"{text}\""),
            (Value::Scalar(s), Shape::Int { .. } | Shape::Number { .. })
                if !s.plain && is_number(text) =>
            {
                "remove the quotes".to_owned()
            }
            (Value::Scalar(_), Shape::Bool) => "write `true` or `false`".to_owned(),
            (Value::Scalar(_), Shape::List { .. }) => {
                format!("put it in brackets: [{}]", shorten(text))
            }
            (_, Shape::Object(object)) => {
                let keys = object.fields.iter().take(6).map(|field| field.key);
                format!("write a map with keys such as {}", list_of_words(keys))
            }
            _ => format!("write {expected_name}"),
        };
        self.report.add(
            &codes::WRONG_TYPE,
            node.place,
            format!("there is {found} where {expected_name} is expected"),
            "nothing is guessed from a value of another type",
            fix,
        );
    }
}

/// The expected type in words, with an article.
fn name_of(shape: &Shape) -> String {
    match shape {
        Shape::Object(object) => format!("a map (the {})", object.name),
        Shape::Map { .. } => "a map".to_owned(),
        Shape::List { .. } => "a list".to_owned(),
        Shape::Choice(shapes) => {
            let names: Vec<_> = shapes.iter().map(name_of).collect();
            names.join(" or ")
        }
        Shape::Text(format) => format.name.to_owned(),
        Shape::Word(words) => format!(
            "one of {}",
            list_of_words(words.iter().map(|(word, _)| *word))
        ),
        Shape::Int { .. } => "a whole number".to_owned(),
        Shape::Number { .. } => "a number".to_owned(),
        Shape::Time { .. } => "a duration".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::NotYet(_) => "nothing".to_owned(),
        Shape::Document => "a document".to_owned(),
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

/// The known word that an unknown one was probably meant to be: a letter or a case away, or two in long ones.
pub(super) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    if word.len() > 64 {
        return None;
    }
    let lower = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let bound = if word.chars().count() < 5 { 1 } else { 2 };
    known
        .map(|candidate| (distance(&lower(word), &lower(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= bound && candidate.chars().count() > *distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits that make one word into the other, a swap of neighbours counting once (Damerau 1964, restricted).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
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

/// The first sentence of a description, without its full stop, to be used as a reason.
fn first_sentence(about: &str) -> String {
    let sentence = about.split(". ").next().unwrap_or(about);
    sentence.trim_end_matches('.').to_owned()
}
