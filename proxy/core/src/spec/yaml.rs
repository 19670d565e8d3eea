//! YAML as a tree in which every value knows its place.
//!
//! Pure. Built from the events of `granit-parser`, so that decoding can go on after a mistake and
//! tell all of them at once. Scalars stay text: what a scalar means is decided by what is expected
//! of it. Aliases are copied within a budget, so that a few lines cannot become gigabytes.

use super::codes;
use super::report::Report;
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use std::collections::HashMap;
use std::sync::Arc;

/// Values of one file, copies by aliases included: 100,000 endpoints with their attributes fit.
const MAX_NODES: usize = 500_000;
/// Nesting of values, copies by aliases included. The deepest legal document has 10.
const MAX_DEPTH: usize = 48;

/// A place in a file, both from 1; the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    fn of(span: &Span) -> Self {
        Self {
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
    /// Nodes in this tree, itself included.
    size: usize,
    /// Levels of this tree, itself included.
    depth: usize,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, `null` or `~`.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order written, keys unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) text: Arc<str>,
    pub(super) place: Place,
}

/// A scalar as written.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: Arc<str>,
    /// Not quoted, so that `5` may be a number.
    pub(super) plain: bool,
    quoted: bool,
    /// Its bytes in the file, quotes included.
    source: (usize, usize),
}

impl Node {
    fn new(place: Place, value: Value) -> Self {
        let children: &mut dyn Iterator<Item = &Self> = match &value {
            Value::Null | Value::Scalar(_) => &mut [].iter(),
            Value::List(list) => &mut list.iter(),
            Value::Map(map) => &mut map.iter().map(|(_, node)| node),
        };
        let (size, depth) = children.fold((1, 1), |(size, depth), child| {
            (size + child.size, depth.max(child.depth + 1))
        });
        Self {
            place,
            value,
            size,
            depth,
        }
    }

    /// The value of a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(k, _)| &*k.text == key)
            .map(|(_, node)| node)
    }

    /// The entries of a map; none for anything else.
    pub(super) fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(map) => map,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(list) => list,
            _ => &[],
        }
    }

    /// The text of a scalar, whatever it stands for.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }
}

/// The place of the byte `offset` of a scalar's text in the file, as well as it can be told.
///
/// What is not white space stands in the text and in the file in the same order, whatever the
/// scalar's style; only escapes in double quotes blur it.
pub(super) fn place_within(source: &str, node: &Node, offset: usize) -> Place {
    let Value::Scalar(scalar) = &node.value else {
        return node.place;
    };
    let offset = (0..=offset.min(scalar.text.len()))
        .rev()
        .find(|at| scalar.text.is_char_boundary(*at))
        .unwrap_or_default();
    let (before, after) = scalar.text.split_at(offset);
    let on_text = after.chars().next().is_some_and(|c| !c.is_whitespace());
    let ordinal = before.chars().filter(|c| !c.is_whitespace()).count() + usize::from(on_text);
    let Some(raw) = source.get(scalar.source.0..scalar.source.1) else {
        return node.place;
    };
    let mut place = node.place;
    let mut seen = 0;
    for (at, c) in raw.char_indices() {
        // An opening quote is no part of the text.
        let is_text = at > 0 || !scalar.quoted;
        let counts = is_text && !c.is_whitespace();
        seen += usize::from(counts);
        if counts && seen == ordinal && on_text {
            return place;
        }
        match c {
            '\n' => {
                place = Place {
                    line: place.line + 1,
                    column: 1,
                };
            }
            _ => place.column += 1,
        }
        if counts && seen == ordinal {
            return place;
        }
    }
    if ordinal == 0 { node.place } else { place }
}

/// The documents of a file, empty ones left out. Mistakes go to the report; what could be read is returned.
pub(super) fn parse(text: &str, report: &mut Report) -> Vec<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    let mut left = MAX_NODES;
    loop {
        let mut builder = Builder {
            open: Vec::new(),
            anchors: HashMap::new(),
            left: &mut left,
            report,
        };
        match builder.document(&mut parser) {
            Ok(Next::Document(node)) => documents.push(node),
            Ok(Next::Empty) => {}
            Ok(Next::End) => return documents,
            Err(Stop::Budget) => return documents,
            Err(Stop::Syntax(error)) => {
                syntax(&error, report);
                match parser.proceed_next_document() {
                    Ok(true) => {}
                    Ok(false) => return documents,
                    Err(error) => {
                        syntax(&error, report);
                        return documents;
                    }
                }
            }
        }
    }
}

enum Next {
    Document(Node),
    Empty,
    End,
}

enum Stop {
    Syntax(ScanError),
    Budget,
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Syntax(error)
    }
}

/// A collection whose end has not come.
struct Open {
    place: Place,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        /// The line of every key so far.
        lines: HashMap<Arc<str>, usize>,
        /// The key whose value comes next; `Some(None)` for a key that is no text.
        key: Option<Option<Key>>,
        merged: Vec<Node>,
    },
}

struct Builder<'b> {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    left: &'b mut usize,
    report: &'b mut Report,
}

impl Builder<'_> {
    fn document<'y>(&mut self, parser: &mut Parser<'y, StrInput<'y>>) -> Result<Next, Stop> {
        while let Some(event) = parser.next_event() {
            let (event, span) = event?;
            let place = Place::of(&span);
            let finished = match event {
                Event::StreamEnd => return Ok(Next::End),
                Event::DocumentEnd => return Ok(Next::Empty),
                Event::Scalar(text, style, anchor, tag) => {
                    self.tag(tag.as_deref(), place);
                    let node = scalar(&text, style, &span, place);
                    self.anchor(anchor, &node)?;
                    self.value(node)?
                }
                Event::Alias(id) => match self.anchors.get(&id).cloned() {
                    Some(node) => self.value(Node { place, ..node })?,
                    None => {
                        self.report.add(
                            &codes::TOO_COMPLEX,
                            place,
                            "the alias stands inside the value that it repeats",
                            "that value would have no end",
                            "write the value out",
                        );
                        self.value(Node::new(place, Value::Null))?
                    }
                },
                Event::SequenceStart(_, anchor, tag) => {
                    self.start(place, anchor, tag.as_deref(), OpenKind::List(Vec::new()));
                    None
                }
                Event::MappingStart(_, anchor, tag) => {
                    let kind = OpenKind::Map {
                        entries: Vec::new(),
                        lines: HashMap::new(),
                        key: None,
                        merged: Vec::new(),
                    };
                    self.start(place, anchor, tag.as_deref(), kind);
                    None
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
                _ => None,
            };
            if let Some(node) = finished {
                // The rest of the document is its end.
                while let Some(event) = parser.next_event() {
                    if matches!(event?.0, Event::DocumentEnd) {
                        break;
                    }
                }
                return Ok(match node.value {
                    Value::Null => Next::Empty,
                    _ => Next::Document(node),
                });
            }
        }
        Ok(Next::End)
    }

    fn tag(&mut self, tag: Option<&Tag>, place: Place) {
        if let Some(tag) = tag.filter(|tag| tag.is_custom()) {
            self.report.add(
                &codes::UNSUPPORTED_YAML,
                place,
                format!("the tag `{}` has no meaning here", tag.original()),
                "a value that asks for special treatment would not get it",
                "remove the tag",
            );
        }
    }

    /// Keeps a copy for aliases, which counts like any other.
    fn anchor(&mut self, anchor: usize, node: &Node) -> Result<(), Stop> {
        if anchor > 0 {
            self.pay(node)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn pay(&mut self, node: &Node) -> Result<(), Stop> {
        if self.open.len() + node.depth > MAX_DEPTH || node.size > *self.left {
            self.report.add(
                &codes::TOO_COMPLEX,
                node.place,
                format!(
                    "the file comes to more than {MAX_NODES} values or {MAX_DEPTH} levels here"
                ),
                "aliases can make a few lines into more than memory holds, so both are bounded",
                "write several files, or fewer aliases of aliases",
            );
            return Err(Stop::Budget);
        }
        *self.left -= node.size;
        Ok(())
    }

    fn start(&mut self, place: Place, anchor: usize, tag: Option<&Tag>, kind: OpenKind) {
        self.tag(tag, place);
        self.open.push(Open {
            place,
            anchor,
            kind,
        });
    }

    fn end(&mut self) -> Result<Option<Node>, Stop> {
        let Some(Open {
            place,
            anchor,
            kind,
        }) = self.open.pop()
        else {
            return Ok(None);
        };
        let value = match kind {
            OpenKind::List(list) => Value::List(list),
            OpenKind::Map {
                mut entries,
                mut lines,
                merged,
                ..
            } => {
                for (key, node) in merged.iter().flat_map(Node::entries) {
                    if lines.insert(key.text.clone(), key.place.line).is_none() {
                        entries.push((key.clone(), node.clone()));
                    }
                }
                Value::Map(entries)
            }
        };
        // Its children have been paid for.
        let node = Node::new(place, value);
        *self.left += node.size - 1;
        self.anchor(anchor, &node)?;
        self.value(node)
    }

    /// A value is complete: gives it to the collection around it, or returns the document's root.
    fn value(&mut self, node: Node) -> Result<Option<Node>, Stop> {
        self.pay(&node)?;
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => return Ok(Some(node)),
            Some(OpenKind::List(list)) => list.push(node),
            Some(OpenKind::Map {
                entries,
                lines,
                key,
                merged,
            }) => match key.take() {
                None => *key = Some(map_key(node, lines, self.report)),
                Some(None) => {}
                Some(Some(name)) if &*name.text == "<<" => match &node.value {
                    Value::List(list) => merged.extend(list.iter().cloned()),
                    _ => merged.push(node),
                },
                Some(Some(name)) => entries.push((name, node)),
            },
        }
        Ok(None)
    }
}

/// The key that a node is; `None`, with a finding, for what cannot be one.
fn map_key(node: Node, lines: &mut HashMap<Arc<str>, usize>, report: &mut Report) -> Option<Key> {
    let place = node.place;
    let Value::Scalar(Scalar { text, .. }) = node.value else {
        report.add(
            &codes::UNSUPPORTED_YAML,
            place,
            "a key that is not text",
            "every key of the configuration is a word",
            "write a word, in quotes if it begins with `[`, `{` or `?`",
        );
        return None;
    };
    if let Some(first) = lines.get(&text) {
        report.add(
            &codes::DUPLICATE_KEY,
            place,
            format!("`{text}` stands here a second time"),
            format!("the first is in line {first}, and only one of them could count"),
            "remove one of the two",
        );
        return None;
    }
    lines.insert(text.clone(), place.line);
    Some(Key { text, place })
}

fn scalar(text: &str, style: ScalarStyle, span: &Span, place: Place) -> Node {
    let plain = matches!(style, ScalarStyle::Plain);
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Node::new(place, Value::Null);
    }
    let source = span
        .byte_range()
        .map_or((0, 0), |range| (range.start, range.end));
    let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
    Node::new(
        place,
        Value::Scalar(Scalar {
            text: text.into(),
            plain,
            quoted,
            source,
        }),
    )
}

fn syntax(error: &ScanError, report: &mut Report) {
    let marker = error.marker();
    let place = Place {
        line: marker.line().max(1),
        column: marker.col() + 1,
    };
    match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => report.add(
            &codes::TAB,
            place,
            "a tab where YAML counts spaces",
            "indentation by tabs has no width that everyone agrees on",
            "replace it by spaces",
        ),
        ErrorKind::RecursionLimitExceeded => report.add(
            &codes::TOO_COMPLEX,
            place,
            format!("values are nested more than {MAX_DEPTH} levels deep here"),
            "no document of Heddle needs that, and depth costs memory",
            "look for a bracket that is not closed",
        ),
        _ => report.add(
            &codes::SYNTAX,
            place,
            format!("this is not YAML: {}", error.info()),
            "the document cannot be read any further",
            "look at this line and the one above: an indentation, a quote, a bracket or the space after a colon",
        ),
    }
}

#[cfg(test)]
mod tests;
