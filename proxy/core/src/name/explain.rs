//! Explanation: the delegation tree, with the dentry that fired at each step.

use super::bind::{BindError, Bound, Found, Lookup, MAX_BIND_NESTING, Namer, Position, Work};
use super::dtab::{Dentry, Dtab};
use super::path::Path;
use super::tree::{NameTree, Weighted};
use std::fmt::{self, Write};
use std::sync::Arc;

/// Steps that an explanation shows; people read it, and what is beyond shows as an exception.
pub const MAX_EXPLAIN_STEPS: usize = 10_000;

/// Bytes of a dentry that a step shows: a table may hold one of many pages, and each step would repeat it.
const DENTRY_SHOWN_MAX: usize = 1024;

/// One step of a delegation, and those that follow from it (linkerd's delegator tree).
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The path at this step.
    pub path: Path,
    /// The dentry that led here; `None` at the root.
    pub dentry: Option<Arc<Dentry>>,
    /// What became of it.
    pub kind: ExplainedKind,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum ExplainedKind {
    /// Bound to a replica set.
    Leaf(Bound),
    /// Became another path.
    Delegate(Box<Explained>),
    /// Alternatives, all of them, in the order in which binding tries them.
    Alt(Vec<Explained>),
    /// A split, with its weights.
    Union(Vec<(f64, Explained)>),
    /// No such name.
    Neg,
    /// Stop.
    Fail,
    /// Exists, but is empty.
    Empty,
    /// Not known yet.
    Pending,
    /// Could not be looked up, and why.
    Exception(String),
}

/// Shows how [`bind`](super::bind()) would proceed, except that every alternative is followed.
///
/// The same limits apply; what is beyond one shows as an exception.
///
/// ```
/// use heddle_core::name::{explain, Dtab, Global, Path, MAX_DEPTH};
/// let dtab = Dtab::parse("/svc => /nowhere ; /nowhere => ! | /$/inet/80 ;")?;
/// let steps = explain(&dtab, &Global, &Path::parse("/svc")?, MAX_DEPTH);
/// assert_eq!(steps.to_json()["delegate"]["dentry"], "/svc=>/nowhere");
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
pub fn explain(dtab: &Dtab, namer: &dyn Namer, path: &Path, max_depth: usize) -> Explained {
    let mut explaining = Explaining {
        dtab,
        namer,
        max_depth,
        work: Work::new(),
        steps: 0,
    };
    explaining
        .path(From { path, dentry: None }, Position::ROOT)
        .simplified()
}

struct Explaining<'a> {
    dtab: &'a Dtab,
    namer: &'a dyn Namer,
    max_depth: usize,
    work: Work,
    steps: usize,
}

/// Whence a step comes: a path, and the dentry that led to it.
#[derive(Clone, Copy)]
struct From<'a> {
    path: &'a Path,
    dentry: Option<&'a Arc<Dentry>>,
}

impl From<'_> {
    fn step(self, kind: ExplainedKind) -> Explained {
        Explained {
            path: self.path.clone(),
            dentry: self.dentry.cloned(),
            kind,
        }
    }
}

impl Explaining<'_> {
    fn path(&mut self, from: From<'_>, at: Position) -> Explained {
        let at = Position {
            lookups: at.lookups + 1,
            ..at
        };
        if let Err(error) = self.within_limits(from.path, at) {
            return from.step(ExplainedKind::Exception(error.to_string()));
        }
        let mut matches: Vec<_> = self.dtab.matches(from.path).collect();
        if matches.len() > 1 {
            let mut steps = Vec::with_capacity(matches.len());
            for (fired, tree) in matches {
                steps.push(self.fired(fired, &tree, from.path, at));
            }
            return from.step(ExplainedKind::Alt(steps));
        }
        let Some((fired, tree)) = matches.pop() else {
            return self.named(from, at);
        };
        if tree == NameTree::Neg {
            // A sole neg gives way to the namers, as in binding, but shows when they do not know the name either.
            let known = self.named(from, at);
            if known.kind != ExplainedKind::Neg {
                return known;
            }
        }
        let next = self.fired(fired, &tree, from.path, at);
        from.step(ExplainedKind::Delegate(Box::new(next)))
    }

    fn within_limits(&mut self, path: &Path, at: Position) -> Result<(), BindError> {
        if at.lookups > self.max_depth {
            return Err(BindError::TooDeep {
                path: path.clone(),
                depth: self.max_depth,
            });
        }
        let too_large = |_| BindError::TooLarge { path: path.clone() };
        self.work.charge_lookup(self.dtab, path).map_err(too_large)
    }

    fn fired(
        &mut self,
        fired: &Dentry,
        tree: &NameTree<Path>,
        path: &Path,
        at: Position,
    ) -> Explained {
        let dentry = Arc::new(fired.clone());
        self.tree(
            tree,
            From {
                path,
                dentry: Some(&dentry),
            },
            at,
        )
    }

    /// What the namers make of a path.
    fn named(&mut self, from: From<'_>, at: Position) -> Explained {
        match self.namer.lookup(from.path) {
            Lookup::Tree(NameTree::Neg) => from.step(ExplainedKind::Neg),
            Lookup::Tree(tree) => self.tree(&tree, from, at),
            Lookup::Pending => from.step(ExplainedKind::Pending),
            Lookup::Failed(reason) => from.step(ExplainedKind::Exception(reason)),
        }
    }

    fn tree<L: Follow>(&mut self, tree: &NameTree<L>, from: From<'_>, at: Position) -> Explained {
        self.steps += 1;
        if self.steps > MAX_EXPLAIN_STEPS || at.nesting > MAX_BIND_NESTING {
            let error = BindError::TooLarge {
                path: from.path.clone(),
            };
            return from.step(ExplainedKind::Exception(error.to_string()));
        }
        match tree {
            NameTree::Leaf(leaf) => leaf.follow(self, from, at),
            NameTree::Neg => Explained {
                path: Path::empty(),
                ..from.step(ExplainedKind::Neg)
            },
            NameTree::Fail => from.step(ExplainedKind::Fail),
            NameTree::Empty => from.step(ExplainedKind::Empty),
            NameTree::Alt(trees) => {
                let mut steps = Vec::with_capacity(trees.len());
                for tree in trees {
                    steps.push(self.tree(tree, from, at.deeper()));
                }
                from.step(ExplainedKind::Alt(steps))
            }
            NameTree::Union(branches) => {
                let mut steps = Vec::with_capacity(branches.len());
                for Weighted { weight, tree } in branches {
                    steps.push((
                        *weight,
                        self.tree(tree, from, at.deeper().weighted(*weight)),
                    ));
                }
                from.step(ExplainedKind::Union(steps))
            }
        }
    }
}

trait Follow {
    fn follow(&self, explaining: &mut Explaining<'_>, from: From<'_>, at: Position) -> Explained;
}

impl Follow for Path {
    fn follow(&self, explaining: &mut Explaining<'_>, from: From<'_>, at: Position) -> Explained {
        explaining.path(From { path: self, ..from }, at)
    }
}

impl Follow for Found {
    fn follow(&self, explaining: &mut Explaining<'_>, from: From<'_>, at: Position) -> Explained {
        match self {
            Self::Path(path) => explaining.path(From { path, ..from }, at),
            Self::Bound { id, residual } => {
                let bound = Bound {
                    id: id.clone(),
                    residual: residual.clone(),
                    weight: at.weight,
                };
                from.step(ExplainedKind::Leaf(bound))
            }
        }
    }
}

impl Explained {
    /// Nodes with one child become delegations, and what stays at the same path is one node.
    fn simplified(self) -> Self {
        let Self { path, dentry, kind } = self;
        match kind {
            ExplainedKind::Delegate(next) => Self::delegating(path, dentry, next.simplified()),
            ExplainedKind::Alt(mut steps) if steps.len() == 1 => {
                Self::delegating(path, dentry, steps.remove(0).simplified())
            }
            ExplainedKind::Union(mut branches) if branches.len() == 1 => {
                Self::delegating(path, dentry, branches.remove(0).1.simplified())
            }
            ExplainedKind::Alt(steps) if !steps.is_empty() => {
                let mut flat = Vec::with_capacity(steps.len());
                for step in steps {
                    match step.simplified() {
                        Self {
                            path: same,
                            kind: ExplainedKind::Alt(nested),
                            ..
                        } if same == path => flat.extend(nested),
                        other => flat.push(other),
                    }
                }
                Self {
                    path,
                    dentry,
                    kind: ExplainedKind::Alt(flat),
                }
            }
            ExplainedKind::Union(branches) if !branches.is_empty() => {
                let branches = branches
                    .into_iter()
                    .map(|(weight, step)| (weight, step.simplified()))
                    .collect();
                Self {
                    path,
                    dentry,
                    kind: ExplainedKind::Union(branches),
                }
            }
            ExplainedKind::Alt(_) | ExplainedKind::Union(_) => Self {
                path,
                dentry,
                kind: ExplainedKind::Neg,
            },
            other => Self {
                path,
                dentry,
                kind: other,
            },
        }
    }

    fn delegating(path: Path, dentry: Option<Arc<Dentry>>, next: Self) -> Self {
        let ends = matches!(
            next.kind,
            ExplainedKind::Neg | ExplainedKind::Fail | ExplainedKind::Empty
        );
        if !ends && next.path == path {
            return Self { dentry, ..next };
        }
        Self {
            path,
            dentry,
            kind: ExplainedKind::Delegate(Box::new(next)),
        }
    }

    /// The path as shown: a neg and a fail that stand in a dentry show as they are written there.
    fn shown_path(&self) -> String {
        let fails =
            |path: &Path| path.elements().len() > 1 && path.to_string().starts_with("/$/fail");
        match self.kind {
            ExplainedKind::Neg if self.path.is_empty() => "~".to_owned(),
            ExplainedKind::Fail if !fails(&self.path) => "!".to_owned(),
            _ => self.path.to_string(),
        }
    }

    fn type_name(&self) -> &'static str {
        match self.kind {
            ExplainedKind::Leaf(_) => "leaf",
            ExplainedKind::Delegate(_) => "delegate",
            ExplainedKind::Alt(_) => "alt",
            ExplainedKind::Union(_) => "union",
            ExplainedKind::Neg => "neg",
            ExplainedKind::Fail => "fail",
            ExplainedKind::Empty => "empty",
            ExplainedKind::Pending => "pending",
            ExplainedKind::Exception(_) => "exception",
        }
    }

    /// As JSON, with linkerd's keys: `type`, `path`, `dentry` (null at the root), and by type `bound`,
    /// `delegate`, `alt`, `union` (of `weight` and `tree`) or `message`.
    pub fn to_json(&self) -> serde_json::Value {
        let dentry = self.dentry.as_deref().map(shown_dentry);
        let mut json = serde_json::json!({"type": self.type_name(), "path": self.shown_path(), "dentry": dentry});
        match &self.kind {
            ExplainedKind::Leaf(bound) => {
                json["bound"] = serde_json::json!({"id": bound.id.to_string(), "path": bound.residual.to_string()});
                if let Some(weight) = bound.weight {
                    json["bound"]["weight"] = weight.into();
                }
            }
            ExplainedKind::Delegate(next) => json["delegate"] = next.to_json(),
            ExplainedKind::Alt(steps) => json["alt"] = steps.iter().map(Self::to_json).collect(),
            ExplainedKind::Union(branches) => {
                let branch = |(weight, step): &(f64, Self)| serde_json::json!({"weight": weight, "tree": step.to_json()});
                json["union"] = branches.iter().map(branch).collect();
            }
            ExplainedKind::Exception(message) => json["message"] = message.as_str().into(),
            ExplainedKind::Neg
            | ExplainedKind::Fail
            | ExplainedKind::Empty
            | ExplainedKind::Pending => {}
        }
        json
    }

    fn fmt_at(&self, f: &mut fmt::Formatter<'_>, indent: usize, label: &str) -> fmt::Result {
        write!(f, "{:indent$}{label}{}", "", self.shown_path())?;
        if let Some(dentry) = &self.dentry {
            write!(f, "   by {}", shown_dentry(dentry))?;
        }
        match &self.kind {
            ExplainedKind::Leaf(bound) => writeln!(f, "   bound: {bound}"),
            ExplainedKind::Neg => writeln!(f, "   neg: no such name"),
            ExplainedKind::Fail => writeln!(f, "   fail: nothing after it is tried"),
            ExplainedKind::Empty => writeln!(f, "   empty: the name exists and nobody is there"),
            ExplainedKind::Pending => writeln!(f, "   pending: not known yet"),
            ExplainedKind::Exception(reason) => writeln!(f, "   failed: {reason}"),
            ExplainedKind::Delegate(next) => {
                writeln!(f)?;
                next.fmt_at(f, indent + 2, "")
            }
            ExplainedKind::Alt(steps) => {
                writeln!(f, "   first of:")?;
                steps
                    .iter()
                    .try_for_each(|step| step.fmt_at(f, indent + 2, "| "))
            }
            ExplainedKind::Union(branches) => {
                writeln!(f, "   split:")?;
                branches.iter().try_for_each(|(weight, step)| {
                    step.fmt_at(f, indent + 2, &format!("& {weight} * "))
                })
            }
        }
    }
}

impl fmt::Display for Explained {
    /// A line per step, indented below the one it follows from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_at(f, 0, "")
    }
}

/// A dentry as text, cut off when it is long.
fn shown_dentry(dentry: &Dentry) -> String {
    let mut shown = Bounded(String::new());
    if write!(shown, "{dentry}").is_err() {
        shown.0.push('…');
    }
    shown.0
}

/// A text that refuses to grow beyond [`DENTRY_SHOWN_MAX`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > DENTRY_SHOWN_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
