//! The areas of the language alone: parsing, printing and evaluating.

use super::Outcome;
use super::encoding::{dtab_to_json, path_tree_of, shown_tree, text, tree_of};
use heddle_core::name::{Dentry, Dtab, NameTree, Path, Prefix};
use heddle_core::status::Status;
use serde_json::{Value, json};

fn missing(members: &str) -> Outcome {
    Outcome::Malformed(format!("the input has no {members}"))
}

pub(super) fn parse_path(input: &Value) -> Outcome {
    let Some(written) = text(input, "path") else {
        return missing("`path`");
    };
    let Ok(path) = Path::parse(written) else {
        return Outcome::error();
    };
    let hex = |element: &[u8]| {
        element
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let elements = path.elements();
    let mut shown = json!({
        "elemsHex": elements.iter().map(|element| hex(element)).collect::<Vec<_>>(),
        "show": path.to_string(),
    });
    if let Some(texts) = elements
        .iter()
        .map(|element| element.as_str())
        .collect::<Option<Vec<_>>>()
    {
        shown["elems"] = json!(texts);
    }
    Outcome::Shows(shown)
}

pub(super) fn parse_dtab(input: &Value) -> Outcome {
    let parsed = if let Some(written) = text(input, "dentry") {
        Dentry::parse(written).map(|dentry| Dtab::from_iter([dentry]))
    } else if let Some(written) = text(input, "dtab") {
        Dtab::parse(written)
    } else if let Some(written) = text(input, "prefix") {
        return match Prefix::parse(written) {
            Ok(prefix) => {
                Outcome::Shows(json!({"prefix": prefix.to_string(), "show": prefix.to_string()}))
            }
            Err(_) => Outcome::error(),
        };
    } else {
        return missing("`dtab`, `dentry` or `prefix`");
    };
    parsed.map_or_else(
        |_| Outcome::error(),
        |dtab| Outcome::Is(dtab_to_json(&dtab)),
    )
}

pub(super) fn parse_tree(input: &Value) -> Outcome {
    let Some(written) = text(input, "tree") else {
        return missing("`tree`");
    };
    NameTree::parse(written)
        .map_or_else(|_| Outcome::error(), |tree| Outcome::Is(shown_tree(&tree)))
}

pub(super) fn show(input: &Value) -> Outcome {
    let shown = if let Some(tree) = input.get("tree") {
        match path_tree_of(tree) {
            Ok(tree) => tree.to_string(),
            Err(error) => return error.outcome(),
        }
    } else if let Some(dtab) = text(input, "dtab") {
        let Ok(dtab) = Dtab::parse(dtab) else {
            return Outcome::error();
        };
        dtab.to_string()
    } else if let Some(dentry) = text(input, "dentry") {
        let Ok(dentry) = Dentry::parse(dentry) else {
            return Outcome::error();
        };
        dentry.to_string()
    } else if let Some(path) = text(input, "path") {
        let Ok(path) = Path::parse(path) else {
            return Outcome::error();
        };
        path.to_string()
    } else {
        return missing("`tree`, `dtab`, `dentry` or `path`");
    };
    Outcome::Is(json!({"show": shown}))
}

pub(super) fn evaluate(input: &Value) -> Outcome {
    let Some(tree) = input.get("tree") else {
        return missing("`tree`");
    };
    let tree = match tree_of(tree) {
        Ok(tree) => tree,
        Err(error) => return error.outcome(),
    };
    match text(input, "op") {
        Some("eval") => {
            let set = tree
                .eval()
                .map(|set| set.into_iter().cloned().collect::<Vec<_>>());
            Outcome::Is(json!({"set": set}))
        }
        Some("simplify") => Outcome::Is(shown_tree(&tree.simplified())),
        Some("factory") => availability(&tree),
        Some(other) => Outcome::Malformed(format!("unknown op `{other}`")),
        None => missing("`op`"),
    }
}

/// Whether traffic can flow; leaves are statuses.
fn availability(tree: &NameTree<String>) -> Outcome {
    let mut unknown = None;
    let status = tree.status(&mut |leaf: &String| match leaf.trim_start_matches('/') {
        "open" => Status::Open,
        "busy" => Status::Busy,
        "closed" => Status::Closed,
        other => {
            unknown = Some(other.to_owned());
            Status::Closed
        }
    });
    if let Some(other) = unknown {
        return Outcome::Malformed(format!("unknown status `{other}`"));
    }
    match status {
        Some(status) => Outcome::Shows(
            json!({"available": status == Status::Open, "status": format!("{status:?}").to_lowercase()}),
        ),
        None => Outcome::Shows(
            json!({"available": false, "status": "closed", "error": "noBrokersAvailable"}),
        ),
    }
}
