//! Paths: sequences of non-empty byte strings.

use super::parse::{ParseError, Parser};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Bytes that an [`Element`] holds without a heap allocation; most service names fit.
const INLINE: usize = 22;

/// One element of a [`Path`]: a non-empty byte string, as a value that dereferences to its bytes.
///
/// Short elements live inline, longer ones behind a shared pointer, so copying is cheap either way.
#[derive(Clone)]
pub struct Element(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Shared(Arc<[u8]>),
}

impl Element {
    /// The element of these bytes; `None` when there are none, since elements are never empty.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        if bytes.len() > INLINE {
            return Some(Self(Repr::Shared(bytes.into())));
        }
        let mut inline = [0; INLINE];
        inline[..bytes.len()].copy_from_slice(bytes);
        Some(Self(Repr::Inline {
            len: bytes.len() as u8,
            bytes: inline,
        }))
    }

    /// The bytes as text, if they are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self).ok()
    }
}

impl Deref for Element {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Element {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Element {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Element {}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Element {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Display for Element {
    /// Finagle's form: as is when every byte is showable, else every byte as `\xhh`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) if self.iter().all(|&byte| is_showable(byte)) => f.write_str(text),
            _ => self.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}")),
        }
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a byte may stand in an element without an escape (Finagle's `Path.isShowable`).
pub(super) fn is_showable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_:.#$%-".contains(&byte)
}

/// A path: what names are made of. Printed as Finagle prints it, and parsed back to the same value.
///
/// Cheap to clone (one shared pointer, none for the empty path), to compare and to hash: it is
/// the key of the proxy's caches.
///
/// ```
/// use heddle_core::name::Path;
/// let path = Path::parse("/svc/accounts")?;
/// assert_eq!(path.len(), 2);
/// assert_eq!(&*path.elements()[1], b"accounts");
/// assert_eq!(path.drop(1).to_string(), "/accounts");
/// let odd = Path::from_elements(["svc", "a b"]).expect("no element is empty");
/// assert_eq!(odd.to_string(), r"/svc/\x61\x20\x62");
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Option<Arc<[Element]>>);

impl Path {
    /// Parses the whole text: `/` or one `/element` after another, with space and comments around it.
    ///
    /// # Errors
    /// Says at which byte what was expected and what stood there.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Parser::whole(text, Parser::path)
    }

    /// The path without elements, `/`.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// The path of these elements; `None` if one of them is empty.
    pub fn from_elements<I>(elements: I) -> Option<Self>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        elements
            .into_iter()
            .map(|bytes| Element::new(bytes.as_ref()))
            .collect::<Option<Vec<_>>>()
            .map(Self::of)
    }

    /// `/first` and these elements, in one allocation where they are short; `None` if one is empty.
    pub(crate) fn below(first: &str, rest: &[&str]) -> Option<Self> {
        let first = Element::new(first.as_bytes())?;
        match rest {
            [] => Some(Self(Some(Arc::new([first])))),
            [only] => Some(Self(Some(Arc::new([
                first,
                Element::new(only.as_bytes())?,
            ])))),
            [second, third] => {
                let (second, third) = (
                    Element::new(second.as_bytes())?,
                    Element::new(third.as_bytes())?,
                );
                Some(Self(Some(Arc::new([first, second, third]))))
            }
            more => Self::from_elements(
                std::iter::once(&*first).chain(more.iter().map(|element| element.as_bytes())),
            ),
        }
    }

    pub(super) fn of(elements: Vec<Element>) -> Self {
        if elements.is_empty() {
            Self(None)
        } else {
            Self(Some(elements.into()))
        }
    }

    /// The elements.
    #[inline]
    pub fn elements(&self) -> &[Element] {
        self.0.as_deref().unwrap_or_default()
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.elements().len()
    }

    /// Whether this is `/`.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the first elements are those of `prefix`.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.elements().starts_with(prefix.elements())
    }

    /// The first `count` elements, or all there are.
    pub fn take(&self, count: usize) -> Self {
        if count >= self.len() {
            self.clone()
        } else {
            Self::of(self.elements()[..count].to_vec())
        }
    }

    /// All but the first `count` elements.
    pub fn drop(&self, count: usize) -> Self {
        match count {
            0 => self.clone(),
            _ => Self::of(self.elements().get(count..).unwrap_or_default().to_vec()),
        }
    }

    /// This path with the elements of `other` after its own.
    pub fn concat(&self, other: &Self) -> Self {
        if other.is_empty() {
            self.clone()
        } else if self.is_empty() {
            other.clone()
        } else {
            self.append(other.elements())
        }
    }

    /// This path with one element more.
    ///
    /// # Panics
    /// If `element` is empty, which is a mistake of the program: check input with [`Path::from_elements`].
    pub fn push(&self, element: &[u8]) -> Self {
        let element =
            Element::new(element).expect("the caller checked that the element is not empty");
        self.append(std::slice::from_ref(&element))
    }

    pub(super) fn append(&self, rest: &[Element]) -> Self {
        Self::of([self.elements(), rest].concat())
    }

    /// The elements as text, if all of them are UTF-8.
    pub(super) fn texts(&self) -> Option<Vec<&str>> {
        self.elements().iter().map(Element::as_str).collect()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("/");
        }
        self.elements()
            .iter()
            .try_for_each(|element| write!(f, "/{element}"))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Path {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}
