//! The checker: a value against its shape.
//!
//! Pure.

use super::{
    Object, Shape, accepts, boolean, is_bool, is_meant_for, is_number, list_of_words, nearest,
    number, shorten, whole,
};
use crate::spec::codes;
use crate::spec::format;
use crate::spec::report::Report;
use crate::spec::yaml::{Node, Place, Value, place_within};

/// Checks values against shapes, reporting every deviation.
pub(in crate::spec) struct Checker<'c> {
    /// The text of the file, for places within scalars.
    pub(in crate::spec) source: &'c str,
    pub(in crate::spec) report: &'c mut Report,
}

impl Checker<'_> {
    /// Reports what is wrong with a value.
    pub(in crate::spec) fn check(&mut self, node: &Node, shape: &Shape) {
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
            Shape::Document => crate::spec::document::check(node, self),
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
    pub(in crate::spec) fn keys(&mut self, node: &Node, object: &'static Object) -> bool {
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

    fn unknown_key(&mut self, key: &str, place: Place, object: &Object) {
        let known = object.fields.iter().map(|field| field.key);
        let near = if self.report.is_full() {
            None
        } else {
            nearest(key, known.clone())
        };
        let fix = match near {
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
            Shape::Time { min, max } => match format::duration(text) {
                Ok(time) if (*min..=*max).contains(&time) => {}
                Ok(_) => {
                    let range = format!("{} to {}", format::show(*min), format::show(*max));
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
        Shape::Document => "a document".to_owned(),
    }
}

/// The first sentence of a description as a reason: without its full stop and its capital.
fn first_sentence(about: &str) -> String {
    let sentence = about
        .split(". ")
        .next()
        .unwrap_or(about)
        .trim_end_matches('.');
    let mut letters = sentence.chars();
    let first = letters
        .next()
        .map(|c| c.to_lowercase().to_string())
        .unwrap_or_default();
    first + letters.as_str()
}
