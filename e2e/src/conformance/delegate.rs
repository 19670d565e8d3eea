//! Delegation: one lookup, a whole binding, or its explanation.

use super::Outcome;
use super::encoding::{bound_tree, path_tree_of, shown_tree, text};
use heddle_core::name::{
    BindError, Dtab, Explained, Found, Lookup, MAX_DEPTH, NameTree, Namer, Path, bind_tree,
    explain, utility,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Members that an input may have; one with others asks for something that is not known here.
const MEMBERS: [&str; 15] = [
    "note",
    "comment",
    "op",
    "dtab",
    "baseDtab",
    "configuredDtab",
    "limitedDtab",
    "localDtab",
    "path",
    "tree",
    "maxDepth",
    "namers",
    "namersInConfigOrder",
    "lookup",
    "rewriters",
];

/// Dtabs in the order in which they are appended.
const DTABS: [&str; 5] = [
    "dtab",
    "baseDtab",
    "configuredDtab",
    "limitedDtab",
    "localDtab",
];

pub(super) fn run(input: &Value) -> Outcome {
    let Some(members) = input.as_object() else {
        return Outcome::Malformed("the input is no object".to_owned());
    };
    if let Some(unknown) = members
        .keys()
        .find(|member| !MEMBERS.contains(&member.as_str()))
    {
        return Outcome::Malformed(format!("unknown member `{unknown}`"));
    }
    match delegated(input, members) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn delegated(input: &Value, members: &Map<String, Value>) -> Result<Outcome, Outcome> {
    let mut dtab = Dtab::empty();
    for written in DTABS.iter().filter_map(|name| text(input, name)) {
        match written {
            "pending" => return Ok(pending()),
            "failed" => return Ok(Outcome::error()),
            written => dtab = dtab.concat(&Dtab::parse(written).map_err(|_| Outcome::error())?),
        }
    }
    let scripted = Scripted::new(members)?;
    let tree = match (members.get("tree"), text(input, "path")) {
        (Some(tree), _) => path_tree_of(tree).map_err(|error| error.outcome())?,
        (None, Some(path)) => NameTree::Leaf(Path::parse(path).map_err(|_| Outcome::error())?),
        (None, None) => {
            return Err(Outcome::Malformed(
                "the input has neither `path` nor `tree`".to_owned(),
            ));
        }
    };
    let max_depth = members
        .get("maxDepth")
        .and_then(Value::as_u64)
        .map_or(MAX_DEPTH, |depth| depth as usize);
    match (text(input, "op"), tree) {
        (Some("lookup"), NameTree::Leaf(path)) => Ok(Outcome::Is(shown_tree(&dtab.lookup(&path)))),
        (Some("explain"), NameTree::Leaf(path)) => {
            Ok(explained(&explain(&dtab, &scripted, &path, max_depth)))
        }
        (None | Some("bind"), tree) => Ok(match bind_tree(&dtab, &scripted, &tree, max_depth) {
            Ok(tree) => Outcome::Is(bound_tree(&tree)),
            Err(BindError::Pending) => pending(),
            Err(_) => Outcome::error(),
        }),
        (Some(op), _) => Err(Outcome::Malformed(format!("unknown op `{op}`"))),
    }
}

fn pending() -> Outcome {
    Outcome::Is(json!({"pending": true}))
}

/// The explanation with the bound name also in the encoding of bound leaves.
fn explained(steps: &Explained) -> Outcome {
    let mut json = steps.to_json();
    let mut chain = &mut json;
    while chain["type"] == "delegate" {
        chain = &mut chain["delegate"];
    }
    if chain["type"] == "exception" {
        chain["error"] = true.into();
    }
    describe_leaves(&mut json);
    Outcome::Shows(json)
}

fn describe_leaves(json: &mut Value) {
    match json {
        Value::Array(steps) => steps.iter_mut().for_each(describe_leaves),
        Value::Object(step) => {
            if let Some(bound) = step.get("bound").cloned() {
                step.insert("leaf".to_owned(), bound["id"].clone());
                step.insert("id".to_owned(), bound["id"].clone());
                step.insert("residual".to_owned(), bound["path"].clone());
            }
            step.values_mut().for_each(describe_leaves);
        }
        _ => {}
    }
}

/// The namers of a case.
struct Scripted {
    /// In the order in which they are tried.
    namers: Vec<(Path, Kind)>,
    /// What paths become, if the case says so; all others are pending.
    table: Option<BTreeMap<Path, Lookup>>,
}

enum Kind {
    /// Binds the prefix and so many elements more.
    Bind(usize),
    /// Looks the next element up.
    BindFirst(BTreeMap<Vec<u8>, Entry>),
    /// Always this.
    Constant(Lookup),
}

enum Entry {
    Bound,
    Other(Lookup),
}

impl Scripted {
    fn new(members: &Map<String, Value>) -> Result<Self, Outcome> {
        let mut namers = Vec::new();
        let mut add = |list: Option<&Value>, reversed: bool| -> Result<(), Outcome> {
            let Some(list) = list else { return Ok(()) };
            let list = list
                .as_array()
                .ok_or_else(|| Outcome::Malformed("namers are no list".to_owned()))?;
            let mut parsed = list
                .iter()
                .map(scripted_namer)
                .collect::<Result<Vec<_>, _>>()?;
            if reversed {
                parsed.reverse();
            }
            namers.extend(parsed);
            Ok(())
        };
        add(members.get("namersInConfigOrder"), true)?;
        add(members.get("namers"), false)?;
        if let Some(rewriters) = members.get("rewriters") {
            namers.extend(rewriting_namers(rewriters)?);
        }
        let table = members.get("lookup").map(lookup_table).transpose()?;
        Ok(Self { namers, table })
    }
}

fn prefix_of(namer: &Value) -> Result<Path, Outcome> {
    let prefix = text(namer, "prefix")
        .ok_or_else(|| Outcome::Malformed(format!("a namer without prefix: {namer}")))?;
    Path::parse(prefix).map_err(|error| Outcome::Malformed(error.to_string()))
}

fn scripted_namer(namer: &Value) -> Result<(Path, Kind), Outcome> {
    let kind = match text(namer, "kind") {
        Some("bindPrefix") => Kind::Bind(0),
        Some("bindOne") => Kind::Bind(1),
        Some("bindTwo") => Kind::Bind(2),
        Some(constant @ ("neg" | "fail" | "empty" | "pending" | "failed" | "error")) => {
            Kind::Constant(scripted_lookup(&constant.into())?)
        }
        Some("bindFirst") => {
            let entries = namer["entries"].as_object().into_iter().flatten();
            Kind::BindFirst(
                entries
                    .map(|(name, entry)| Ok((name.clone().into_bytes(), entry_of(entry)?)))
                    .collect::<Result<_, _>>()?,
            )
        }
        _ => {
            return Err(Outcome::Malformed(format!(
                "unknown kind of namer: {namer}"
            )));
        }
    };
    Ok((prefix_of(namer)?, kind))
}

fn entry_of(entry: &Value) -> Result<Entry, Outcome> {
    if entry == "bound" {
        Ok(Entry::Bound)
    } else {
        scripted_lookup(entry).map(Entry::Other)
    }
}

/// `pending`, `failed`, or a tree of paths.
fn scripted_lookup(answer: &Value) -> Result<Lookup, Outcome> {
    if answer == "pending" || answer.get("pending").is_some() {
        return Ok(Lookup::Pending);
    }
    if answer == "failed" || answer == "error" || answer.get("error").is_some() {
        return Ok(Lookup::Failed("as the case says".to_owned()));
    }
    let tree = path_tree_of(answer).map_err(|error| error.outcome())?;
    Ok(Lookup::Tree(
        tree.map(&mut |path: &Path| Found::Path(path.clone())),
    ))
}

fn lookup_table(table: &Value) -> Result<BTreeMap<Path, Lookup>, Outcome> {
    let table = table
        .as_object()
        .ok_or_else(|| Outcome::Malformed("`lookup` is no object".to_owned()))?;
    let entry = |(path, answer): (&String, &Value)| {
        let path = Path::parse(path).map_err(|error| Outcome::Malformed(error.to_string()))?;
        Ok((path, scripted_lookup(answer)?))
    };
    table.iter().map(entry).collect()
}

fn rewriting_namers(rewriters: &Value) -> Result<Vec<(Path, Kind)>, Outcome> {
    let constant = |tree: &Value| scripted_lookup(tree).map(Kind::Constant);
    match rewriters {
        Value::Object(by_prefix) => by_prefix
            .iter()
            .map(|(prefix, tree)| {
                let prefix =
                    Path::parse(prefix).map_err(|error| Outcome::Malformed(error.to_string()))?;
                Ok((prefix, constant(tree)?))
            })
            .collect(),
        Value::Array(list) => list
            .iter()
            .map(|one| {
                if let Some([Value::String(prefix), tree]) = one.as_array().map(|pair| &pair[..]) {
                    let prefix = Path::parse(prefix)
                        .map_err(|error| Outcome::Malformed(error.to_string()))?;
                    return Ok((prefix, constant(tree)?));
                }
                let tree = ["tree", "dst", "name", "to"]
                    .iter()
                    .find_map(|name| one.get(*name));
                let tree = tree
                    .ok_or_else(|| Outcome::Malformed(format!("a rewriter without tree: {one}")))?;
                Ok((prefix_of(one)?, constant(tree)?))
            })
            .collect(),
        _ => Err(Outcome::Malformed(
            "`rewriters` is neither object nor list".to_owned(),
        )),
    }
}

impl Namer for Scripted {
    fn lookup(&self, path: &Path) -> Lookup {
        for (prefix, kind) in self
            .namers
            .iter()
            .filter(|(prefix, _)| path.starts_with(prefix))
        {
            match kind.lookup(path, prefix.len()) {
                Lookup::Tree(NameTree::Neg) => {}
                known => return known,
            }
        }
        if let Some(global) = utility(path) {
            return global;
        }
        match &self.table {
            Some(table) => table.get(path).cloned().unwrap_or(Lookup::Pending),
            None => Lookup::NEG,
        }
    }
}

impl Kind {
    fn lookup(&self, path: &Path, prefix: usize) -> Lookup {
        match self {
            Self::Bind(more) if path.len() < prefix + more => Lookup::NEG,
            Self::Bind(more) => Lookup::bound(path, prefix + more),
            Self::BindFirst(entries) => {
                match path.elements().get(prefix).map(|name| entries.get(&**name)) {
                    Some(Some(Entry::Bound)) => Lookup::bound(path, prefix + 1),
                    Some(Some(Entry::Other(answer))) => answer.clone(),
                    Some(None) | None => Lookup::NEG,
                }
            }
            Self::Constant(answer) => answer.clone(),
        }
    }
}
