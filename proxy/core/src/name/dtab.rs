//! Dtabs: tables of rewriting rules.

use super::parse::{ParseError, Parser};
use super::path::{Element, Path};
use super::tree::NameTree;
use std::fmt;
use std::sync::Arc;

/// One element of a dentry's left side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PrefixElement {
    /// `*`: any one element.
    Any,
    /// Exactly this element.
    Label(Element),
}

/// The left side of a dentry; its elements may be `*`.
///
/// ```
/// use heddle_core::name::{Path, Prefix};
/// let prefix = Prefix::parse("/svc/*/v1")?;
/// assert!(prefix.matches(&Path::parse("/svc/accounts/v1/rest")?));
/// assert!(!prefix.matches(&Path::parse("/svc/accounts")?));
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Prefix(Arc<[PrefixElement]>);

impl Prefix {
    /// Parses the whole text as a prefix.
    ///
    /// # Errors
    /// Says at which byte what was expected and what stood there.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Parser::whole(text, Parser::prefix)
    }

    pub(super) fn of(elements: Vec<PrefixElement>) -> Self {
        Self(elements.into())
    }

    /// Its elements.
    pub fn elements(&self) -> &[PrefixElement] {
        &self.0
    }

    /// Whether `path` begins with this prefix: whole elements, case-sensitive.
    pub fn matches(&self, path: &Path) -> bool {
        self.0.len() <= path.len()
            && self
                .0
                .iter()
                .zip(path.elements())
                .all(|(mine, element)| match mine {
                    PrefixElement::Any => true,
                    PrefixElement::Label(label) => label == element,
                })
    }
}

impl From<&Path> for Prefix {
    fn from(path: &Path) -> Self {
        Self(
            path.elements()
                .iter()
                .cloned()
                .map(PrefixElement::Label)
                .collect(),
        )
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|element| match element {
            PrefixElement::Any => f.write_str("/*"),
            PrefixElement::Label(label) => write!(f, "/{label}"),
        })
    }
}

/// One rule of a dtab: `/prefix => tree`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dentry {
    /// What a path must begin with.
    pub prefix: Prefix,
    /// What that beginning becomes; the rest of the path is appended to every leaf.
    pub dst: NameTree<Path>,
}

impl Dentry {
    /// Parses the whole text as one dentry, without `;`.
    ///
    /// # Errors
    /// Says at which byte what was expected and what stood there.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Parser::whole(text, Parser::dentry)
    }

    /// What `path` becomes by this rule; `None` if it does not match.
    pub fn rewrite(&self, path: &Path) -> Option<NameTree<Path>> {
        if !self.prefix.matches(path) {
            return None;
        }
        let rest = &path.elements()[self.prefix.elements().len()..];
        Some(self.dst.map(&mut |leaf: &Path| {
            if rest.is_empty() {
                leaf.clone()
            } else {
                leaf.append(rest)
            }
        }))
    }
}

impl fmt::Display for Dentry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=>{}", self.prefix, self.dst)
    }
}

/// A delegation table: dentries, of which later ones are tried first.
///
/// ```
/// use heddle_core::name::{Dtab, Path};
/// let dtab = Dtab::parse("/svc => /#/static ; /svc/web => /#/static/web-v2 ;")?;
/// let tree = dtab.lookup(&Path::parse("/svc/web")?);
/// assert_eq!(tree.to_string(), "/#/static/web-v2 | /#/static/web");
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Dtab(Arc<[Dentry]>);

impl Dtab {
    /// Parses the whole text: dentries separated by `;`, `#` begins a comment where space may stand.
    ///
    /// # Errors
    /// Says at which byte what was expected and what stood there.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Parser::whole(text, Parser::dtab)
    }

    /// The table without rules.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The rules in the order written.
    pub fn dentries(&self) -> &[Dentry] {
        &self.0
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This table with the rules of `other` after its own, so that `other` wins.
    #[must_use]
    pub fn concat(&self, other: &Self) -> Self {
        if other.is_empty() {
            self.clone()
        } else if self.is_empty() {
            other.clone()
        } else {
            Self([self.dentries(), other.dentries()].concat().into())
        }
    }

    /// One step of delegation, not simplified: no match is [`NameTree::Neg`], one match is its
    /// tree, several are an alternation from the latest to the earliest.
    pub fn lookup(&self, path: &Path) -> NameTree<Path> {
        let mut found: Vec<_> = self.matches(path).map(|(_, tree)| tree).collect();
        match found.len() {
            0 => NameTree::Neg,
            1 => found.remove(0),
            _ => NameTree::Alt(found),
        }
    }

    /// Every rule that matches, latest first, with what `path` becomes by it.
    pub fn matches<'d>(
        &'d self,
        path: &Path,
    ) -> impl Iterator<Item = (&'d Dentry, NameTree<Path>)> {
        self.0
            .iter()
            .rev()
            .filter_map(move |dentry| dentry.rewrite(path).map(|tree| (dentry, tree)))
    }
}

impl FromIterator<Dentry> for Dtab {
    fn from_iter<I: IntoIterator<Item = Dentry>>(dentries: I) -> Self {
        Self(dentries.into_iter().collect())
    }
}

impl fmt::Display for Dtab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, dentry) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(";")?;
            }
            write!(f, "{dentry}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Dtab {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}
