//! Name trees: fallbacks and weighted splits over names.

use super::parse::{ParseError, Parser};
use super::path::Path;
use crate::status::Status;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Alternatives and unions of names (Finagle's `NameTree`).
///
/// Written: `|` for fallback, `&` for a weighted split (`3 * /a & /b`), `~` no such name,
/// `!` stop here, `$` exists but is empty; `&` binds tighter than `|`.
///
/// ```
/// use heddle_core::name::NameTree;
/// let tree = NameTree::parse("~ | 3*/a & /b | !")?;
/// assert_eq!(tree.simplified().to_string(), "3.00*/a & /b | !");
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NameTree<T> {
    /// A name.
    Leaf(T),
    /// The first that is not negative.
    Alt(Vec<NameTree<T>>),
    /// All of them, each with its share of the traffic.
    Union(Vec<Weighted<T>>),
    /// No such name: an alternation goes on to the next.
    Neg,
    /// Failure: an alternation stops here.
    Fail,
    /// The name exists and nobody is there: an alternation stops here.
    Empty,
}

/// A tree and its share within a union.
#[derive(Debug, Clone)]
pub struct Weighted<T> {
    /// The share relative to the siblings' sum; finite and not negative.
    pub weight: f64,
    /// What has that share.
    pub tree: NameTree<T>,
}

impl<T> Weighted<T> {
    /// The weight of a branch that states none.
    pub const DEFAULT_WEIGHT: f64 = 1.0;
}

// Weights compare by their bits, so that equality is an equivalence and agrees with the hash.
impl<T: PartialEq> PartialEq for Weighted<T> {
    fn eq(&self, other: &Self) -> bool {
        self.weight.to_bits() == other.weight.to_bits() && self.tree == other.tree
    }
}

impl<T: Eq> Eq for Weighted<T> {}

impl<T: Hash> Hash for Weighted<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.weight.to_bits().hash(state);
        self.tree.hash(state);
    }
}

impl NameTree<Path> {
    /// Parses the whole text as a tree.
    ///
    /// # Errors
    /// Says at which byte what was expected and what stood there.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Parser::whole(text, Parser::tree)
    }
}

impl<T> NameTree<T> {
    /// The same tree with every leaf replaced.
    pub fn map<U>(&self, replace: &mut impl FnMut(&T) -> U) -> NameTree<U> {
        match self {
            Self::Leaf(value) => NameTree::Leaf(replace(value)),
            Self::Alt(trees) => NameTree::Alt(trees.iter().map(|tree| tree.map(replace)).collect()),
            Self::Union(trees) => NameTree::Union(
                trees
                    .iter()
                    .map(|Weighted { weight, tree }| Weighted {
                        weight: *weight,
                        tree: tree.map(replace),
                    })
                    .collect(),
            ),
            Self::Neg => NameTree::Neg,
            Self::Fail => NameTree::Fail,
            Self::Empty => NameTree::Empty,
        }
    }

    /// The smallest tree that evaluates the same: no negative branch, nothing after a failure,
    /// no node with one child. Applying it again changes nothing.
    #[must_use]
    pub fn simplified(self) -> Self {
        match self {
            Self::Alt(trees) => simplify_alt(trees),
            Self::Union(mut trees) => match trees.len() {
                1 => trees.remove(0).tree.simplified(),
                _ => simplify_union(trees),
            },
            other => other,
        }
    }

    /// The set of names that the tree stands for; `None` when it is negative or failing.
    pub fn eval(&self) -> Option<BTreeSet<&T>>
    where
        T: Ord,
    {
        match self.evaluated() {
            Evaluated::Names(names) => Some(names),
            Evaluated::Neg | Evaluated::Fail => None,
        }
    }

    fn evaluated(&self) -> Evaluated<'_, T>
    where
        T: Ord,
    {
        match self {
            Self::Leaf(value) => Evaluated::Names(BTreeSet::from([value])),
            Self::Empty => Evaluated::Names(BTreeSet::new()),
            Self::Neg => Evaluated::Neg,
            Self::Fail => Evaluated::Fail,
            Self::Alt(trees) => trees
                .iter()
                .map(Self::evaluated)
                .find(|found| !matches!(found, Evaluated::Neg))
                .unwrap_or(Evaluated::Neg),
            Self::Union(trees) if trees.len() == 1 => trees[0].tree.evaluated(),
            Self::Union(trees) => {
                let mut all: Option<BTreeSet<&T>> = None;
                for branch in trees {
                    if let Evaluated::Names(names) = branch.tree.evaluated() {
                        all.get_or_insert_default().extend(names);
                    }
                }
                all.map_or(Evaluated::Neg, Evaluated::Names)
            }
        }
    }

    /// Visits every leaf, left to right.
    pub fn for_each_leaf<'t>(&'t self, visit: &mut impl FnMut(&'t T)) {
        match self {
            Self::Leaf(value) => visit(value),
            Self::Alt(trees) => trees.iter().for_each(|tree| tree.for_each_leaf(visit)),
            Self::Union(trees) => trees
                .iter()
                .for_each(|branch| branch.tree.for_each_leaf(visit)),
            Self::Neg | Self::Fail | Self::Empty => {}
        }
    }

    /// Whether traffic can flow through a bound tree, given the status of its leaves (Finagle's
    /// `NameTreeFactory`): the worst of a union's branches, because each gets its share;
    /// branches of weight 0 without any name count for nothing. `None`: no name to send to.
    pub fn status(&self, leaf: &mut impl FnMut(&T) -> Status) -> Option<Status> {
        match self {
            Self::Leaf(value) => Some(leaf(value)),
            Self::Alt(_) | Self::Neg | Self::Fail | Self::Empty => None,
            Self::Union(branches) => {
                let statuses: Vec<_> = branches
                    .iter()
                    .filter(|branch| {
                        branch.weight > 0.0
                            || !matches!(branch.tree, Self::Neg | Self::Fail | Self::Empty)
                    })
                    .map(|branch| branch.tree.status(leaf).unwrap_or(Status::Closed))
                    .collect();
                statuses.into_iter().min()
            }
        }
    }
}

enum Evaluated<'t, T> {
    Names(BTreeSet<&'t T>),
    Neg,
    Fail,
}

fn simplify_alt<T>(trees: Vec<NameTree<T>>) -> NameTree<T> {
    let mut kept = Vec::with_capacity(trees.len());
    if trees.len() == 1 {
        return trees
            .into_iter()
            .next()
            .map_or(NameTree::Neg, NameTree::simplified);
    }
    for tree in trees {
        match tree.simplified() {
            NameTree::Neg => {}
            NameTree::Fail => {
                kept.push(NameTree::Fail);
                break;
            }
            other => kept.push(other),
        }
    }
    match kept.len() {
        0 => NameTree::Neg,
        1 => kept.remove(0),
        _ => NameTree::Alt(kept),
    }
}

pub(super) fn simplify_union<T>(branches: Vec<Weighted<T>>) -> NameTree<T> {
    let mut kept: Vec<_> = branches
        .into_iter()
        .map(|Weighted { weight, tree }| Weighted {
            weight,
            tree: tree.simplified(),
        })
        .filter(|branch| !matches!(branch.tree, NameTree::Neg | NameTree::Fail))
        .collect();
    match kept.len() {
        0 => NameTree::Neg,
        1 => kept.remove(0).tree,
        _ => NameTree::Union(kept),
    }
}

impl<T: fmt::Display> fmt::Display for NameTree<T> {
    /// Finagle's form; weights with two decimals unless they are exactly 1, so that printing can lose precision.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unwrapped() {
            Self::Alt(trees) if !trees.is_empty() => {
                separated(f, " | ", trees, |f, tree| tree.fmt_branch(f))
            }
            other => other.fmt_branch(f),
        }
    }
}

impl<T: fmt::Display> NameTree<T> {
    /// Nodes with a single child print as that child.
    fn unwrapped(&self) -> &Self {
        match self {
            Self::Alt(trees) if trees.len() == 1 => trees[0].unwrapped(),
            Self::Union(branches) if branches.len() == 1 => branches[0].tree.unwrapped(),
            other => other,
        }
    }

    fn fmt_branch(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unwrapped() {
            Self::Union(branches) if !branches.is_empty() => {
                separated(f, " & ", branches, |f, branch| {
                    if branch.weight.to_bits() != 1.0_f64.to_bits() {
                        write!(f, "{:.2}*", branch.weight)?;
                    }
                    branch.tree.fmt_simple(f)
                })
            }
            other => other.fmt_simple(f),
        }
    }

    fn fmt_simple(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unwrapped() {
            Self::Leaf(value) => value.fmt(f),
            // An empty alternation or union evaluates to neg, and has no other notation.
            Self::Neg => f.write_str("~"),
            Self::Alt(trees) if trees.is_empty() => f.write_str("~"),
            Self::Union(branches) if branches.is_empty() => f.write_str("~"),
            Self::Fail => f.write_str("!"),
            Self::Empty => f.write_str("$"),
            tree @ (Self::Alt(_) | Self::Union(_)) => write!(f, "({tree})"),
        }
    }
}

fn separated<I>(
    f: &mut fmt::Formatter<'_>,
    separator: &str,
    items: &[I],
    mut show: impl FnMut(&mut fmt::Formatter<'_>, &I) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        show(f, item)?;
    }
    Ok(())
}
