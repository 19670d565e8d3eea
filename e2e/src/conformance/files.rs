//! linkerd's `io.l5d.fs`, by Heddle's `files` namer on a real folder.

use super::Outcome;
use super::encoding::text;
use heddle_core::endpoint::Endpoint;
use heddle_core::name::{Found, Lookup, NameTree, Namer, Path};
use heddle_core::spec::{self, Source};
use heddle_proxy::discovery::{Addr, Discovery};
use heddle_proxy::metrics::Metrics;
use serde_json::{Value, json};
use std::path::Component;
use std::{fs, io};

/// Metric series for a namer that serves one case.
const SERIES_MAX: usize = 10;

pub(super) fn run(input: &Value, path: &Path) -> Outcome {
    let theirs = text(input, "prefix").unwrap_or("/#/io.l5d.fs");
    let ours = Path::from_elements(["#", "files"]).expect("no element is empty");
    let Ok(theirs) = Path::parse(theirs) else {
        return Outcome::Malformed("`prefix` is no path".to_owned());
    };
    let below = if path.starts_with(&theirs) {
        path.drop(theirs.len())
    } else {
        path.clone()
    };
    let folder = match folder_with(&input["files"]) {
        Ok(folder) => folder,
        Err(error) => return Outcome::Malformed(format!("`files`: {error}")),
    };
    let Some(mut config) = spec::load(None, &Nothing).config else {
        return Outcome::Malformed("the built-in configuration is not valid".to_owned());
    };
    config.files = Some(folder.path().to_owned());
    let discovery = Discovery::new(Metrics::new(SERIES_MAX));
    discovery.configure(&config);
    match discovery.namer().lookup(&ours.concat(&below)) {
        Lookup::Tree(NameTree::Leaf(Found::Bound { id, residual })) => {
            let shown = theirs.concat(&id.drop(ours.len())).to_string();
            let mut leaf = json!({"leaf": shown});
            if !residual.is_empty() {
                leaf["residual"] = residual.to_string().into();
            }
            let addr = discovery.replica_set(&id).map(|set| set.addr());
            match addr.as_deref() {
                Some(Addr::Bound(endpoints)) => {
                    leaf["addrs"] = endpoints.iter().map(address).collect()
                }
                Some(Addr::Failed(_)) => leaf["addr"] = "failed".into(),
                Some(Addr::Pending) => {
                    return Outcome::Skipped("io.l5d.fs with host names".to_owned());
                }
                Some(Addr::Neg) | None => leaf["addr"] = "neg".into(),
            }
            Outcome::Is(leaf)
        }
        Lookup::Tree(NameTree::Neg) => Outcome::Is("neg".into()),
        Lookup::Tree(tree) => Outcome::Malformed(format!("the files namer answered with {tree:?}")),
        Lookup::Pending => Outcome::Is(json!({"pending": true})),
        Lookup::Failed(_) => Outcome::error(),
    }
}

fn address(endpoint: &Endpoint) -> Value {
    json!([
        endpoint.address.ip().to_string(),
        endpoint.address.port(),
        endpoint.weight
    ])
}

/// A folder with these files, by relative path.
fn folder_with(files: &Value) -> io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, content) in files.as_object().into_iter().flatten() {
        let name = std::path::Path::new(name);
        // A case is data: it must not write anywhere else.
        if !name
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a file's path is relative and goes down only",
            ));
        }
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap_or(folder.path()))?;
        fs::write(file, content.as_str().unwrap_or_default())?;
    }
    Ok(folder)
}

/// No files and no environment: what remains is the built-in configuration.
struct Nothing;

impl Source for Nothing {
    fn read(&self, _: &std::path::Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &std::path::Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }
}
