//! Name trees as the vectors encode them.

use super::Outcome;
use heddle_core::name::{Bound, Dtab, NameTree, Path, Weighted};
use serde_json::{Map, Value, json};

/// Trees deeper than this are refused, since they are read recursively.
const NESTING_MAX: usize = 64;

/// A tree as JSON.
pub(super) fn tree_to_json<T>(tree: &NameTree<T>, leaf: &mut impl FnMut(&T) -> Value) -> Value {
    match tree {
        NameTree::Leaf(value) => leaf(value),
        NameTree::Alt(trees) => {
            json!({"alt": trees.iter().map(|tree| tree_to_json(tree, leaf)).collect::<Vec<_>>()})
        }
        NameTree::Union(branches) => {
            let branch =
                |Weighted { weight, tree }: &Weighted<T>| json!([weight, tree_to_json(tree, leaf)]);
            json!({"union": branches.iter().map(branch).collect::<Vec<_>>()})
        }
        NameTree::Neg => "neg".into(),
        NameTree::Fail => "fail".into(),
        NameTree::Empty => "empty".into(),
    }
}

/// A tree of anything that prints.
pub(super) fn shown_tree<T: ToString>(tree: &NameTree<T>) -> Value {
    tree_to_json(tree, &mut |leaf: &T| json!({"leaf": leaf.to_string()}))
}

/// A bound tree.
pub(super) fn bound_tree(tree: &NameTree<Bound>) -> Value {
    tree_to_json(tree, &mut Bound::to_json)
}

/// A tree out of JSON: either the encoding, whose leaves are any strings, or a text in the naming language.
pub(super) fn tree_of(json: &Value) -> Result<NameTree<String>, TreeError> {
    match json {
        Value::String(text) => match text.as_str() {
            "neg" => Ok(NameTree::Neg),
            "fail" => Ok(NameTree::Fail),
            "empty" => Ok(NameTree::Empty),
            text => {
                let tree = NameTree::parse(text).map_err(|_| TreeError::Text)?;
                Ok(tree.map(&mut |path: &Path| path.to_string()))
            }
        },
        encoded => decoded(encoded, 0),
    }
}

/// The same, with paths for leaves.
pub(super) fn path_tree_of(json: &Value) -> Result<NameTree<Path>, TreeError> {
    let tree = tree_of(json)?;
    let mut error = None;
    let paths = tree.map(&mut |leaf: &String| match Path::parse(leaf) {
        Ok(path) => path,
        Err(_) => {
            error = Some(TreeError::Text);
            Path::empty()
        }
    });
    error.map_or(Ok(paths), Err)
}

/// Why there is no tree.
pub(super) enum TreeError {
    /// A text that the language refuses.
    Text,
    /// JSON that encodes nothing.
    Encoding(String),
}

impl TreeError {
    /// A refused text is a result; a broken encoding is a broken case.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Text => Outcome::error(),
            Self::Encoding(reason) => Outcome::Malformed(reason),
        }
    }
}

fn decoded(json: &Value, nesting: usize) -> Result<NameTree<String>, TreeError> {
    let broken = || TreeError::Encoding(format!("no tree: {json}"));
    if nesting > NESTING_MAX {
        return Err(broken());
    }
    match json {
        Value::String(atom) => match atom.as_str() {
            "neg" => Ok(NameTree::Neg),
            "fail" => Ok(NameTree::Fail),
            "empty" => Ok(NameTree::Empty),
            leaf => Ok(NameTree::Leaf(leaf.to_owned())),
        },
        Value::Object(node) => decoded_node(node, nesting).unwrap_or_else(|| Err(broken())),
        _ => Err(broken()),
    }
}

fn decoded_node(
    node: &Map<String, Value>,
    nesting: usize,
) -> Option<Result<NameTree<String>, TreeError>> {
    if let Some(leaf) = node.get("leaf") {
        return Some(Ok(NameTree::Leaf(leaf.as_str()?.to_owned())));
    }
    if let Some(trees) = node.get("alt") {
        let trees = trees
            .as_array()?
            .iter()
            .map(|tree| decoded(tree, nesting + 1))
            .collect::<Result<_, _>>();
        return Some(trees.map(NameTree::Alt));
    }
    let mut branches = Vec::new();
    for branch in node.get("union")?.as_array()? {
        let [weight, tree] = &branch.as_array()?[..] else {
            return None;
        };
        match decoded(tree, nesting + 1) {
            Ok(tree) => branches.push(Weighted {
                weight: weight.as_f64()?,
                tree,
            }),
            Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(NameTree::Union(branches)))
}

/// A text member, if it is there.
pub(super) fn text<'v>(input: &'v Value, member: &str) -> Option<&'v str> {
    input.get(member).and_then(Value::as_str)
}

/// A dtab as the vectors show it.
pub(super) fn dtab_to_json(dtab: &Dtab) -> Value {
    let dentry = |dentry: &heddle_core::name::Dentry| json!({"prefix": dentry.prefix.to_string(), "dst": shown_tree(&dentry.dst)});
    dtab.dentries().iter().map(dentry).collect()
}
