//! Path patterns: linkerd's `PathMatcher`, for its `io.l5d.rewrite` namer and static prefixes.

use super::parse::ParseError;
use super::path::Path;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A variable: linkerd's class of characters, whose `:-_` is a range.
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{([a-zA-Z0-9.:-_]+)\}").expect("the expression is constant and tested")
});

/// A pattern over the first elements of a path: literals, `*`, and text with `{variables}`.
///
/// An element with variables need only contain a match, and what follows the last element is
/// ignored, both as in linkerd.
///
/// ```
/// use heddle_core::name::{Path, PathPattern};
/// let pattern = PathPattern::new("/http/{host}.example/*");
/// let path = Path::parse("/http/web.example/GET/rest")?;
/// assert_eq!(pattern.rewrite(&path, "/svc/{host}").unwrap()?, Path::parse("/svc/web")?);
/// assert_eq!(pattern.extract(&Path::parse("/tcp/web.example/GET")?), None);
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PathPattern {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
enum Segment {
    Any,
    Literal(String),
    Capturing {
        regex: Regex,
        variables: Vec<String>,
    },
}

impl PathPattern {
    /// A pattern of segments separated by `/`.
    pub fn new(pattern: &str) -> Self {
        let segments = pattern
            .trim_end_matches('/')
            .split('/')
            .skip_while(|segment| segment.is_empty());
        Self {
            segments: segments.map(Segment::new).collect(),
        }
    }

    /// The variables' values; `None` when the path does not match.
    pub fn extract(&self, path: &Path) -> Option<BTreeMap<String, String>> {
        let mut values = BTreeMap::new();
        if path.len() < self.segments.len() {
            return None;
        }
        for (segment, element) in self.segments.iter().zip(path.elements()) {
            let shown = element.to_string();
            match segment {
                Segment::Any => {}
                Segment::Literal(literal) if *literal == shown => {}
                Segment::Literal(_) => return None,
                Segment::Capturing { regex, variables } => {
                    let captures = regex.captures(&shown)?;
                    let found = captures
                        .iter()
                        .skip(1)
                        .map(|part| part.map_or("", |part| part.as_str()).to_owned());
                    values.extend(variables.iter().cloned().zip(found));
                }
            }
        }
        Some(values)
    }

    /// `template` with the values of `path` in place of its variables, as a path; `None` when `path` does
    /// not match. Whatever follows the pattern in `path` is dropped.
    ///
    /// # Errors
    /// When the result is no path.
    pub fn rewrite(&self, path: &Path, template: &str) -> Option<Result<Path, ParseError>> {
        let values = self.extract(path)?;
        let substituted = values
            .iter()
            .fold(template.to_owned(), |text, (variable, value)| {
                text.replace(&format!("{{{variable}}}"), value)
            });
        Some(Path::parse(&substituted))
    }
}

impl Segment {
    fn new(text: &str) -> Self {
        if text == "*" {
            return Self::Any;
        }
        let mut expression = String::new();
        let mut variables = Vec::new();
        let mut end = 0;
        for captures in VARIABLE.captures_iter(text) {
            let (Some(whole), Some(name)) = (captures.get(0), captures.get(1)) else {
                continue;
            };
            expression += &regex::escape(&text[end..whole.start()]);
            expression += "(.*)";
            variables.push(name.as_str().to_owned());
            end = whole.end();
        }
        expression += &regex::escape(&text[end..]);
        match Regex::new(&expression) {
            Ok(regex) if !variables.is_empty() => Self::Capturing { regex, variables },
            // Without variables, or with so many that the expression is over the library's size limit.
            _ => Self::Literal(text.to_owned()),
        }
    }
}
