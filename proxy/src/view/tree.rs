//! A bound name tree as JSON.

use heddle_core::name::{Bound, NameTree};
use serde_json::{Value, json};

/// In the encoding of the conformance vectors: `{"leaf": ..}` with `residual` and `addrWeight` where there are any,
/// `{"alt": [..]}`, `{"union": [[weight, tree], ..]}`, `"neg"`, `"fail"`, `"empty"`.
pub fn tree_json(tree: &NameTree<Bound>) -> Value {
    match tree {
        NameTree::Leaf(bound) => bound.to_json(),
        NameTree::Alt(trees) => json!({"alt": trees.iter().map(tree_json).collect::<Vec<_>>()}),
        NameTree::Union(branches) => {
            let branch = |branch: &heddle_core::name::Weighted<Bound>| {
                json!([branch.weight, tree_json(&branch.tree)])
            };
            json!({"union": branches.iter().map(branch).collect::<Vec<_>>()})
        }
        NameTree::Neg => json!("neg"),
        NameTree::Fail => json!("fail"),
        NameTree::Empty => json!("empty"),
    }
}
