//! Namers: those of the language, and those that Heddle has a counterpart for.

use super::Outcome;
use super::encoding::{shown_tree, text};
use heddle_core::headers::in_network;
use heddle_core::name::{Found, Lookup, NameTree, Path, PathPattern, utility};
use serde_json::{Value, json};
use std::net::IpAddr;

pub(super) fn run(input: &Value) -> Outcome {
    match (text(input, "op"), text(input, "kind")) {
        (Some("lookup"), _) => with_path(input, looked_up),
        (Some("pathMatcher"), _) => with_path(input, |path| matched(input, path)),
        (Some("netmask"), _) => netmask(input),
        (Some(op), _) => Outcome::Skipped(format!("op {op}")),
        (None, Some("io.l5d.rewrite")) => with_path(input, |path| rewritten(input, path)),
        (None, Some("io.l5d.fs")) => with_path(input, |path| super::files::run(input, path)),
        (None, Some(kind)) => Outcome::Skipped(kind.to_owned()),
        (None, None) => Outcome::Malformed("the input has neither `op` nor `kind`".to_owned()),
    }
}

fn with_path(input: &Value, run: impl FnOnce(&Path) -> Outcome) -> Outcome {
    match text(input, "path").map(Path::parse) {
        Some(Ok(path)) => run(&path),
        Some(Err(_)) => Outcome::error(),
        None => Outcome::Malformed("the input has no `path`".to_owned()),
    }
}

fn looked_up(path: &Path) -> Outcome {
    let shown = |tree: &NameTree<Found>| {
        super::encoding::tree_to_json(tree, &mut |found: &Found| match found {
            Found::Path(path) => json!({"leaf": path.to_string()}),
            Found::Bound { id, residual } if residual.is_empty() => json!({"leaf": id.to_string()}),
            Found::Bound { id, residual } => {
                json!({"leaf": id.to_string(), "residual": residual.to_string()})
            }
        })
    };
    match utility(path) {
        Some(Lookup::Tree(tree)) => Outcome::Is(shown(&tree)),
        Some(Lookup::Pending) => Outcome::Is(json!({"pending": true})),
        Some(Lookup::Failed(_)) => Outcome::error(),
        None => Outcome::Is("neg".into()),
    }
}

fn pattern_of(input: &Value) -> Option<PathPattern> {
    text(input, "pattern").map(PathPattern::new)
}

fn matched(input: &Value, path: &Path) -> Outcome {
    let Some(pattern) = pattern_of(input) else {
        return Outcome::Malformed("no `pattern`".to_owned());
    };
    if let Some(template) = ["template", "name", "substitute", "subst"]
        .iter()
        .find_map(|name| text(input, name))
    {
        return match pattern.rewrite(path, template) {
            None => Outcome::Shows(json!({"match": false})),
            Some(Err(_)) => Outcome::error(),
            Some(Ok(path)) => {
                let shown = path.to_string();
                Outcome::Shows(
                    json!({"match": true, "path": shown, "result": shown, "leaf": shown}),
                )
            }
        };
    }
    match pattern.extract(path) {
        Some(vars) => Outcome::Is(json!({"match": true, "vars": vars})),
        None => Outcome::Is(json!({"match": false})),
    }
}

/// linkerd's `io.l5d.rewrite`; the path may come with the namer's prefix or without.
fn rewritten(input: &Value, path: &Path) -> Outcome {
    let (Some(pattern), Some(name)) = (pattern_of(input), text(input, "name")) else {
        return Outcome::Malformed("no `pattern` or no `name`".to_owned());
    };
    let prefix = text(input, "prefix").and_then(|prefix| Path::parse(prefix).ok());
    let path = match prefix {
        Some(prefix) if path.starts_with(&prefix) => path.drop(prefix.len()),
        _ => path.clone(),
    };
    match pattern.rewrite(&path, name) {
        None => Outcome::Is("neg".into()),
        Some(Ok(path)) => Outcome::Is(shown_tree(&NameTree::Leaf(path))),
        Some(Err(_)) => Outcome::error(),
    }
}

/// Whether two addresses are of one network.
fn netmask(input: &Value) -> Outcome {
    let address = |name| text(input, name).and_then(|text| text.parse::<IpAddr>().ok());
    let (Some(mask), Some(a), Some(b)) = (address("mask"), address("a"), address("b")) else {
        return Outcome::Malformed("`mask`, `a` and `b` are no addresses".to_owned());
    };
    let prefix = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    let same_family = mask.is_ipv4() == a.is_ipv4();
    Outcome::Is(json!({"local": same_family && in_network(a, (b, prefix as u8))}))
}
