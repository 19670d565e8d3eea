//! The parser: recursive descent over the text, with errors for people.

use super::dtab::{Dentry, Dtab, Prefix, PrefixElement};
use super::path::{Element, Path, is_showable};
use super::tree::{NameTree, Weighted};
use std::borrow::Cow;
use std::fmt;

/// Parentheses within parentheses that a tree may have. People write two or three; the bound keeps
/// hostile text from exhausting the stack.
pub const MAX_NESTING: usize = 32;

/// Why a text is not a path, tree or dtab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Byte at which the text stopped making sense.
    pub offset: usize,
    /// What could have stood there.
    pub expected: Cow<'static, str>,
    /// What stood there.
    pub found: String,
    /// What was probably meant.
    pub hint: Option<&'static str>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at byte {}: expected {}, found {}",
            self.offset, self.expected, self.found
        )?;
        self.hint.map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for ParseError {}

/// A position in a text.
pub(super) struct Parser<'t> {
    text: &'t str,
    at: usize,
    nesting: usize,
}

impl<'t> Parser<'t> {
    /// Runs `parse` on all of `text`.
    pub(super) fn whole<T>(
        text: &'t str,
        parse: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        let mut parser = Self {
            text,
            at: 0,
            nesting: 0,
        };
        let value = parse(&mut parser)?;
        parser.space();
        if parser.at < text.len() {
            return Err(parser.error("the end"));
        }
        Ok(value)
    }

    /// `/` or `/element/element…`.
    pub(super) fn path(&mut self) -> Result<Path, ParseError> {
        self.space();
        self.eat(b'/', "`/`")?;
        let mut elements = Vec::new();
        if self.at_element() {
            elements.push(self.element()?);
            while self.maybe(b'/') {
                elements.push(self.element()?);
            }
        }
        Ok(Path::of(elements))
    }

    /// A path whose elements may be `*`.
    pub(super) fn prefix(&mut self) -> Result<Prefix, ParseError> {
        self.space();
        self.eat(b'/', "`/` of a prefix")?;
        let mut elements = Vec::new();
        if self.at_element() || self.peek() == Some(b'*') {
            elements.push(self.prefix_element()?);
            while self.maybe(b'/') {
                elements.push(self.prefix_element()?);
            }
        }
        Ok(Prefix::of(elements))
    }

    fn prefix_element(&mut self) -> Result<PrefixElement, ParseError> {
        if self.maybe(b'*') {
            Ok(PrefixElement::Any)
        } else {
            self.element().map(PrefixElement::Label)
        }
    }

    /// Alternatives.
    pub(super) fn tree(&mut self) -> Result<NameTree<Path>, ParseError> {
        let mut trees = vec![self.union()?];
        self.space();
        while self.maybe(b'|') {
            trees.push(self.union()?);
            self.space();
        }
        Ok(if trees.len() == 1 {
            trees.remove(0)
        } else {
            NameTree::Alt(trees)
        })
    }

    fn union(&mut self) -> Result<NameTree<Path>, ParseError> {
        let mut branches = vec![self.weighted()?];
        self.space();
        while self.maybe(b'&') {
            branches.push(self.weighted()?);
            self.space();
        }
        // A weight has nothing to be relative to when it stands alone; Finagle drops it here.
        Ok(if branches.len() == 1 {
            branches.remove(0).tree
        } else {
            NameTree::Union(branches)
        })
    }

    fn weighted(&mut self) -> Result<Weighted<Path>, ParseError> {
        self.space();
        let weight = match self.peek() {
            Some(b'0'..=b'9' | b'.') => {
                let weight = self.number()?;
                self.space();
                self.eat(b'*', "`*` after a weight")?;
                self.space();
                weight
            }
            _ => Weighted::<Path>::DEFAULT_WEIGHT,
        };
        Ok(Weighted {
            weight,
            tree: self.simple()?,
        })
    }

    fn number(&mut self) -> Result<f64, ParseError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'.')) {
            if self.peek() == Some(b'.') && self.text[start..self.at].contains('.') {
                return Err(self.error("a digit of the weight"));
            }
            self.at += 1;
        }
        let weight = self.text[start..self.at]
            .parse::<f64>()
            .ok()
            .filter(|weight| weight.is_finite());
        weight.ok_or_else(|| Self { at: start, ..*self }.error("a weight such as `2` or `0.5`"))
    }

    fn simple(&mut self) -> Result<NameTree<Path>, ParseError> {
        self.space();
        match self.peek() {
            Some(b'(') => self.parenthesised(),
            Some(b'/') => self.path().map(NameTree::Leaf),
            Some(b'!') => self.atom(NameTree::Fail),
            Some(b'~') => self.atom(NameTree::Neg),
            Some(b'$') => self.atom(NameTree::Empty),
            _ => Err(self.error("a path, `(`, `!`, `~` or `$`")),
        }
    }

    fn atom(&mut self, tree: NameTree<Path>) -> Result<NameTree<Path>, ParseError> {
        self.at += 1;
        Ok(tree)
    }

    fn parenthesised(&mut self) -> Result<NameTree<Path>, ParseError> {
        if self.nesting == MAX_NESTING {
            return Err(self.error(format!("at most {MAX_NESTING} nested parentheses")));
        }
        self.nesting += 1;
        self.at += 1;
        let tree = self.tree()?;
        self.eat(b')', "`)`, `|` or `&`")?;
        self.nesting -= 1;
        Ok(tree)
    }

    /// `/prefix => tree`.
    pub(super) fn dentry(&mut self) -> Result<Dentry, ParseError> {
        let prefix = self.prefix()?;
        self.space();
        if !self.text[self.at..].starts_with("=>") {
            return Err(self.error("`=>`"));
        }
        self.at += 2;
        Ok(Dentry {
            prefix,
            dst: self.tree()?,
        })
    }

    /// Dentries separated by `;`, of which the last may be missing.
    pub(super) fn dtab(&mut self) -> Result<Dtab, ParseError> {
        let mut dentries = Vec::new();
        loop {
            self.space();
            if self.at < self.text.len() {
                dentries.push(self.dentry()?);
                self.space();
            }
            if !self.maybe(b';') {
                break;
            }
        }
        if self.at < self.text.len() {
            return Err(self.error("`;`, `|`, `&` or the end"));
        }
        Ok(dentries.into_iter().collect())
    }

    fn element(&mut self) -> Result<Element, ParseError> {
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                Some(b'\\') => bytes.push(self.escape()?),
                Some(byte) if is_showable(byte) => {
                    bytes.push(byte);
                    self.at += 1;
                }
                _ => break,
            }
        }
        Element::new(&bytes)
            .ok_or_else(|| self.error("an element (letters, digits, `_:.#$%-` or `\\xHH`)"))
    }

    fn escape(&mut self) -> Result<u8, ParseError> {
        let start = self.at;
        let digits = self
            .text
            .get(start + 2..start + 4)
            .filter(|_| self.text[start..].starts_with("\\x"));
        let byte = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let byte = byte.ok_or_else(|| self.error("`\\x` and two hexadecimal digits"))?;
        self.at += 4;
        Ok(byte)
    }

    fn at_element(&self) -> bool {
        self.peek()
            .is_some_and(|byte| is_showable(byte) || byte == b'\\')
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn maybe(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn eat(&mut self, byte: u8, expected: &'static str) -> Result<(), ParseError> {
        if self.maybe(byte) {
            Ok(())
        } else {
            Err(self.error(expected))
        }
    }

    /// Skips white space and comments.
    fn space(&mut self) {
        while let Some(next) = self.text[self.at..].chars().next() {
            if next == '#' {
                self.at = self.text[self.at..]
                    .find('\n')
                    .map_or(self.text.len(), |length| self.at + length);
            } else if is_space(next) {
                self.at += next.len_utf8();
            } else {
                break;
            }
        }
    }

    fn error(&self, expected: impl Into<Cow<'static, str>>) -> ParseError {
        let rest = &self.text[self.at..];
        let found = rest.chars().next().map_or_else(
            || "the end".to_owned(),
            |next| format!("`{}`", next.escape_debug()),
        );
        let expected = expected.into();
        let hint = self.hint(&expected, rest);
        ParseError {
            offset: self.at,
            expected,
            found,
            hint,
        }
    }

    /// Guesses what was meant, from the place where parsing stopped.
    fn hint(&self, expected: &str, rest: &str) -> Option<&'static str> {
        let before = self.text[..self.at].trim_end();
        let begins = |forms: &[&str]| forms.iter().any(|form| rest.starts_with(form));
        if begins(&["->", "=", ">", ":="]) && !rest.starts_with("=>") {
            Some("a rule is written `/prefix => tree`, with `=>` in one piece")
        } else if rest.starts_with('/') && before.ends_with('/') {
            Some("an element cannot be empty: write a single `/`")
        } else if rest.starts_with('*') {
            Some(
                "`*` stands for one whole element, and only on the left of `=>`; weights are written `2 * /path`",
            )
        } else if before.len() > 1 && before.ends_with('/') {
            Some("a path does not end with `/`")
        } else if rest.starts_with('/') && expected.contains("the end") {
            Some("entries are separated by `;`, alternatives by `|`, parts of a union by `&`")
        } else if rest.starts_with(';') {
            Some("an entry cannot be empty: write a single `;`")
        } else if begins(&["||", "&&", "|", "&"]) {
            Some("`|` and `&` stand singly, between two trees")
        } else if rest.starts_with('-') {
            Some("a weight has no sign")
        } else if rest.starts_with(|next: char| next.is_ascii_alphanumeric()) {
            Some("a path begins with `/`")
        } else {
            None
        }
    }
}

/// What Java, and so Finagle, calls white space: no non-breaking spaces, but the four separators of ASCII.
fn is_space(character: char) -> bool {
    match character {
        '\u{85}' | '\u{a0}' | '\u{2007}' | '\u{202f}' => false,
        '\u{1c}'..='\u{1f}' => true,
        other => other.is_whitespace(),
    }
}
