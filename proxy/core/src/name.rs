//! Names: Finagle's naming language, whole.
//!
//! A request asks for a *logical name*, a [`Path`] such as `/svc/accounts`. A [`Dtab`] is a
//! table of rewriting rules (dentries); [`bind`] applies it until every path has become a
//! *bound name* that some [`Namer`] owns, keeping fallbacks and weighted splits as a
//! [`NameTree`]. [`explain`] does the same and shows each step.
//!
//! Pure. Every recursion is bounded by a named constant: [`MAX_NESTING`], [`MAX_DEPTH`],
//! [`MAX_BIND_NESTING`], [`MAX_BIND_WORK`], [`MAX_EXPLAIN_STEPS`].
//!
//! ```
//! use heddle_core::name::{bind, Dtab, Found, Global, Path, MAX_DEPTH};
//!
//! let dtab = Dtab::parse("/svc => /old ; /old => /$/inet/127.0.0.1/8080 ;").unwrap();
//! let tree = bind(&dtab, &Global, &Path::parse("/svc/a").unwrap(), MAX_DEPTH).unwrap();
//! assert_eq!(tree.to_string(), "/$/inet/127.0.0.1/8080[/a]");
//! ```

mod bind;
mod dtab;
mod explain;
mod parse;
mod path;
mod pattern;
mod tree;
mod utility;

pub use bind::{
    BindError, Bound, Found, Global, Lookup, MAX_BIND_NESTING, MAX_BIND_WORK, MAX_DEPTH, Namer,
    bind, bind_tree,
};
pub use dtab::{Dentry, Dtab, Prefix, PrefixElement};
pub use explain::{Explained, ExplainedKind, MAX_EXPLAIN_STEPS, explain};
pub use parse::{MAX_NESTING, ParseError};
pub use path::{Element, Path};
pub use pattern::PathPattern;
pub use tree::{NameTree, Weighted};
pub use utility::{inet_address, utility};

#[cfg(test)]
mod tests;
