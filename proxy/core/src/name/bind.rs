//! Binding: delegation until every path is a bound name.

use super::dtab::Dtab;
use super::path::Path;
use super::tree::{NameTree, Weighted, simplify_union};
use super::utility::utility;
use std::fmt;

/// Lookups on any chain from the root to a leaf (Finagle's `namerMaxDepth`). Beyond is an error, not neg:
/// a cycle must be seen.
pub const MAX_DEPTH: usize = 100;

/// Alternations and unions on any chain from the root to a leaf; two per lookup are plenty, and the bound keeps
/// hostile dtabs from exhausting the stack.
pub const MAX_BIND_NESTING: usize = 2 * MAX_DEPTH;

/// Work that one binding may cause, roughly in leaves looked up. Alternation bombs (`/a => /a|/a|/a`) grow
/// exponentially within [`MAX_DEPTH`]; this ends them within milliseconds, and is far above what real tables
/// need (100 lookups in a table of 10 000 dentries cost 4 000).
pub const MAX_BIND_WORK: usize = 16_384;

/// Comparing so many prefixes costs about as much as one lookup.
const DENTRIES_PER_WORK: usize = 256;

/// Copying so many elements costs about as much as one lookup.
const ELEMENTS_PER_WORK: usize = 16;

/// A name that names one replica set.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The replica set, as the namer calls it: `/#/static/accounts`.
    pub id: Path,
    /// What of the path the namer did not use.
    pub residual: Path,
    /// The weight that the nearest union around it gave it (Finagle's replica-set metadata
    /// `namer_nametree_weight`); `None` outside of any union.
    pub weight: Option<f64>,
}

impl fmt::Display for Bound {
    /// The id, then the residual in brackets if there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)?;
        if self.residual.is_empty() {
            Ok(())
        } else {
            write!(f, "[{}]", self.residual)
        }
    }
}

impl Bound {
    /// As JSON, in the encoding of the conformance vectors: `leaf`, then `residual` and `addrWeight` if there are any.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({"leaf": self.id.to_string()});
        if !self.residual.is_empty() {
            json["residual"] = self.residual.to_string().into();
        }
        if let Some(weight) = self.weight {
            json["addrWeight"] = weight.into();
        }
        json
    }
}

/// What a namer makes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Another path, to be looked up in turn.
    Path(Path),
    /// A replica set.
    Bound {
        /// As the namer calls it.
        id: Path,
        /// What of the path it did not use.
        residual: Path,
    },
}

/// The answer of a [`Namer`].
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// A tree; neg when it does not know the name.
    Tree(NameTree<Found>),
    /// It cannot tell yet.
    Pending,
    /// It cannot tell at all, and why.
    Failed(String),
}

impl Lookup {
    /// One replica set: the first `taken` elements of `path`, and the rest as its residual.
    pub fn bound(path: &Path, taken: usize) -> Self {
        Self::Tree(NameTree::Leaf(Found::Bound {
            id: path.take(taken),
            residual: path.drop(taken),
        }))
    }

    /// Another path.
    pub fn path(path: Path) -> Self {
        Self::Tree(NameTree::Leaf(Found::Path(path)))
    }

    /// No such name.
    pub const NEG: Self = Self::Tree(NameTree::Neg);
}

/// Turns concrete names into replica sets.
pub trait Namer {
    /// Looks up a path that no dentry matched, or that only a `~` did: `/#/…`, `/$/…`, and whatever
    /// nobody knows, which is neg.
    fn lookup(&self, path: &Path) -> Lookup;
}

/// The namer that knows nothing but [`utility`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Global;

impl Namer for Global {
    fn lookup(&self, path: &Path) -> Lookup {
        utility(path).unwrap_or(Lookup::NEG)
    }
}

/// Why a path could not be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindError {
    /// Too many lookups in a row, most likely a cycle.
    TooDeep {
        /// The path whose lookup was one too many.
        path: Path,
        /// The limit.
        depth: usize,
    },
    /// The tree grows beyond [`MAX_BIND_WORK`] or [`MAX_BIND_NESTING`].
    TooLarge {
        /// The path at which the limit was reached.
        path: Path,
    },
    /// A namer failed.
    Failed {
        /// The path it was asked for.
        path: Path,
        /// What it said.
        reason: String,
    },
    /// A namer cannot tell yet; ask again when it changes.
    Pending,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep { path, depth } => {
                write!(
                    f,
                    "{path} is more than {depth} delegations deep; most likely the dtab has a cycle"
                )
            }
            Self::TooLarge { path } => write!(
                f,
                "the name tree grows too large at {path}; most likely a dentry refers to itself more than once"
            ),
            Self::Failed { path, reason } => write!(f, "cannot look up {path}: {reason}"),
            Self::Pending => f.write_str("the name is not known yet"),
        }
    }
}

impl std::error::Error for BindError {}

/// Binds a path: follows the dtab, and the namer where the dtab has nothing, to the end.
///
/// The result is simplified and holds no alternation: of each the first branch that is not neg was
/// taken, in order, and a branch that is pending or failed holds up or fails the whole. Of a union,
/// branches that are pending or failed are left out as long as one is known.
///
/// # Errors
/// See [`BindError`]; a limit is an error and never neg, so that a fallback does not hide it.
///
/// ```
/// use heddle_core::name::{bind, BindError, Dtab, Global, NameTree, Path, MAX_DEPTH};
///
/// let path = Path::parse("/svc/web")?;
/// let dtab = Dtab::parse("/svc => 9 * /$/inet/127.0.0.1/80 & 1 * /$/inet/127.0.0.1/81")?;
/// let NameTree::Union(branches) = bind(&dtab, &Global, &path, MAX_DEPTH).unwrap() else { panic!("a split") };
/// assert_eq!(branches[0].weight, 9.0);
///
/// let cycle = Dtab::parse("/svc => /svc/again")?;
/// assert!(matches!(bind(&cycle, &Global, &path, MAX_DEPTH), Err(BindError::TooDeep { depth: 100, .. })));
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
pub fn bind(
    dtab: &Dtab,
    namer: &dyn Namer,
    path: &Path,
    max_depth: usize,
) -> Result<NameTree<Bound>, BindError> {
    Binding::new(dtab, namer, max_depth).path(path, Position::ROOT)
}

/// Binds a whole tree; see [`bind`].
///
/// # Errors
/// See [`BindError`].
pub fn bind_tree(
    dtab: &Dtab,
    namer: &dyn Namer,
    tree: &NameTree<Path>,
    max_depth: usize,
) -> Result<NameTree<Bound>, BindError> {
    Binding::new(dtab, namer, max_depth).tree(tree, Position::ROOT)
}

/// A limit was reached.
pub(super) struct Exhausted;

/// What one binding has spent.
pub(super) struct Work {
    left: usize,
}

impl Work {
    pub(super) fn new() -> Self {
        Self {
            left: MAX_BIND_WORK,
        }
    }

    fn charge(&mut self, units: usize) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(units).ok_or(Exhausted)?;
        Ok(())
    }

    /// Pays for one lookup before it is done.
    pub(super) fn charge_lookup(&mut self, dtab: &Dtab, path: &Path) -> Result<(), Exhausted> {
        self.charge(1 + dtab.dentries().len() / DENTRIES_PER_WORK)?;
        let per_leaf = 1 + path.len() / ELEMENTS_PER_WORK;
        for dentry in dtab
            .dentries()
            .iter()
            .filter(|dentry| dentry.prefix.matches(path))
        {
            let mut elements = 0;
            let mut leaves = 0;
            dentry.dst.for_each_leaf(&mut |leaf: &Path| {
                leaves += 1;
                elements += leaf.len();
            });
            self.charge(1 + leaves * per_leaf + elements / ELEMENTS_PER_WORK)?;
        }
        Ok(())
    }
}

/// Where in the tree a binding is.
#[derive(Clone, Copy)]
pub(super) struct Position {
    pub(super) lookups: usize,
    pub(super) nesting: usize,
    pub(super) weight: Option<f64>,
}

impl Position {
    pub(super) const ROOT: Self = Self {
        lookups: 0,
        nesting: 0,
        weight: None,
    };

    pub(super) fn deeper(self) -> Self {
        Self {
            nesting: self.nesting + 1,
            ..self
        }
    }

    pub(super) fn weighted(self, weight: f64) -> Self {
        Self {
            weight: Some(weight),
            ..self
        }
    }
}

/// Something in a leaf that can be bound.
trait Follow {
    fn follow(&self, binding: &mut Binding<'_>, at: Position)
    -> Result<NameTree<Bound>, BindError>;
}

impl Follow for Path {
    fn follow(
        &self,
        binding: &mut Binding<'_>,
        at: Position,
    ) -> Result<NameTree<Bound>, BindError> {
        binding.path(self, at)
    }
}

impl Follow for Found {
    fn follow(
        &self,
        binding: &mut Binding<'_>,
        at: Position,
    ) -> Result<NameTree<Bound>, BindError> {
        match self {
            Self::Path(path) => binding.path(path, at),
            Self::Bound { id, residual } => Ok(NameTree::Leaf(Bound {
                id: id.clone(),
                residual: residual.clone(),
                weight: at.weight,
            })),
        }
    }
}

struct Binding<'a> {
    dtab: &'a Dtab,
    namer: &'a dyn Namer,
    max_depth: usize,
    work: Work,
    /// The path looked up last, for the message of a limit.
    last: Path,
}

impl<'a> Binding<'a> {
    fn new(dtab: &'a Dtab, namer: &'a dyn Namer, max_depth: usize) -> Self {
        Self {
            dtab,
            namer,
            max_depth,
            work: Work::new(),
            last: Path::empty(),
        }
    }

    fn path(&mut self, path: &Path, at: Position) -> Result<NameTree<Bound>, BindError> {
        self.last = path.clone();
        self.work
            .charge_lookup(self.dtab, path)
            .map_err(|Exhausted| self.too_large())?;
        let at = Position {
            lookups: at.lookups + 1,
            ..at
        };
        let delegated = self.dtab.lookup(path);
        if delegated != NameTree::Neg {
            self.check_depth(path, at)?;
            return self.tree(&delegated, at);
        }
        match self.namer.lookup(path) {
            Lookup::Tree(tree) => {
                self.check_depth(path, at)?;
                self.tree(&tree, at)
            }
            Lookup::Pending => Err(BindError::Pending),
            Lookup::Failed(reason) => Err(BindError::Failed {
                path: path.clone(),
                reason,
            }),
        }
    }

    fn check_depth(&self, path: &Path, at: Position) -> Result<(), BindError> {
        if at.lookups > self.max_depth {
            return Err(BindError::TooDeep {
                path: path.clone(),
                depth: self.max_depth,
            });
        }
        Ok(())
    }

    fn tree<L: Follow>(
        &mut self,
        tree: &NameTree<L>,
        at: Position,
    ) -> Result<NameTree<Bound>, BindError> {
        match tree {
            NameTree::Leaf(leaf) => leaf.follow(self, at),
            NameTree::Neg => Ok(NameTree::Neg),
            NameTree::Fail => Ok(NameTree::Fail),
            NameTree::Empty => Ok(NameTree::Empty),
            NameTree::Alt(_) | NameTree::Union(_) if at.nesting == MAX_BIND_NESTING => {
                Err(self.too_large())
            }
            NameTree::Alt(trees) => self.alternatives(trees, at.deeper()),
            NameTree::Union(branches) => match &branches[..] {
                [] => Ok(NameTree::Neg),
                [only] => self.tree(&only.tree, at.deeper().weighted(only.weight)),
                _ => self.union(branches, at.deeper()),
            },
        }
    }

    fn alternatives<L: Follow>(
        &mut self,
        trees: &[NameTree<L>],
        at: Position,
    ) -> Result<NameTree<Bound>, BindError> {
        for tree in trees {
            match self.tree(tree, at)? {
                NameTree::Neg => {}
                found => return Ok(found),
            }
        }
        Ok(NameTree::Neg)
    }

    fn union<L: Follow>(
        &mut self,
        branches: &[Weighted<L>],
        at: Position,
    ) -> Result<NameTree<Bound>, BindError> {
        let mut known = Vec::with_capacity(branches.len());
        let mut failure = None;
        for Weighted { weight, tree } in branches {
            match self.tree(tree, at.weighted(*weight)) {
                Ok(tree) => known.push(Weighted {
                    weight: *weight,
                    tree,
                }),
                // The binding as a whole is over its limit; a sibling must not hide that.
                Err(error @ BindError::TooLarge { .. }) => return Err(error),
                Err(BindError::Pending) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if known.is_empty() {
            Err(failure.unwrap_or(BindError::Pending))
        } else {
            Ok(simplify_union(known))
        }
    }

    fn too_large(&self) -> BindError {
        BindError::TooLarge {
            path: self.last.clone(),
        }
    }
}
