//! Every reason that the code gives for a refusal is documented, and nothing else is.
//!
//! Reasons are metric labels and fields of the access log. They stand in tables of `docs/` whose first column is called
//! `reason`, and in the code as literals in a handful of forms.

use std::collections::BTreeSet;
use std::path::Path;

/// Where a reason stands in the code: after this text, or at the quote that ends it, the first literal.
const FORMS: [&str; 10] = [
    " refusal(",
    "Refusal::bad(",
    "Refusal::with(",
    "Told::unanswered(",
    "reason: \"",
    ".refused.inc(",
    "metrics.refused(",
    ".shed.inc(",
    ".of_class(",
    "..rule(",
];

/// Files in which each word in kebab case is a reason.
const LISTS: [&str; 3] = [
    "core/src/guard/http2/allowance.rs",
    "src/router/admission.rs",
    "src/resources/lack.rs",
];

fn proxy() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the core is inside the proxy")
}

/// Source files, without tests.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .expect("the tree is readable")
        .map(|entry| entry.expect("the tree is readable").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().expect("entries have names");
        if path.is_dir() {
            if name != "tests" {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") && name != "tests.rs" {
            let text = std::fs::read_to_string(&path).expect("sources are text");
            let code = text.split("#[cfg(test)]\nmod tests {").next();
            let place = path.strip_prefix(proxy()).expect("it is below");
            found.push((
                place.display().to_string(),
                code.unwrap_or_default().to_owned(),
            ));
        }
    }
}

fn is_reason(text: &str) -> bool {
    text.len() > 3
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The first literal of `code`, if it comes before the call or the field ends.
fn literal(code: &str) -> Option<&str> {
    let end = code.find([';', '}']).unwrap_or(code.len());
    let start = code[..end].find('"')? + 1;
    let length = code[start..].find('"')?;
    Some(&code[start..start + length])
}

fn in_code() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&proxy().join("core/src/guard"), &mut files);
    sources(&proxy().join("src"), &mut files);
    let mut found = BTreeSet::new();
    for (path, code) in &files {
        for form in FORMS {
            let calls = code.match_indices(form);
            let literals =
                calls.filter_map(|(at, _)| literal(&code[at + form.trim_end_matches('"').len()..]));
            found.extend(literals.filter(|text| is_reason(text)).map(str::to_owned));
        }
        if LISTS.contains(&path.as_str()) {
            let literals = code.split('"').skip(1).step_by(2);
            found.extend(literals.filter(|text| is_reason(text)).map(str::to_owned));
        }
    }
    for file in LISTS {
        assert!(files.iter().any(|(path, _)| path == file), "{file} moved");
    }
    found
}

fn documented() -> BTreeSet<String> {
    let docs = proxy().join("../docs");
    let mut found = BTreeSet::new();
    for file in ["errors.md", "security.md"] {
        let text = std::fs::read_to_string(docs.join(file)).expect("the document is there");
        let mut in_table = false;
        for line in text.lines() {
            in_table = line.starts_with("| reason |") || in_table && line.starts_with('|');
            let cell = line.split('|').nth(1).unwrap_or_default();
            if in_table {
                let words = cell.split('`').skip(1).step_by(2);
                found.extend(words.map(str::to_owned));
            }
        }
    }
    found
}

#[test]
fn reasons_are_documented() {
    let (code, docs) = (in_code(), documented());
    assert!(code.len() > 20, "too few to be true: {code:?}");
    let missing: Vec<_> = code.difference(&docs).collect();
    let left: Vec<_> = docs.difference(&code).collect();
    assert!(
        missing.is_empty() && left.is_empty(),
        "not in a table of docs/errors.md or docs/security.md: {missing:?}; in a table, but not in the code: {left:?}"
    );
}

#[test]
fn words_of_heddle_err_are_documented() {
    let text = std::fs::read_to_string(proxy().join("../docs/errors.md")).expect("it is there");
    let table = text.split("| kind | HTTP |").nth(1).expect("the table");
    let documented: BTreeSet<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    assert_eq!(documented, heddle_core::answer::words().collect());
}
