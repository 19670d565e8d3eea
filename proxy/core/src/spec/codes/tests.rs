//! `docs/findings.md` explains every code, with an example that triggers it.

use super::super::tests::{Memory, repository};
use super::super::{MAX_FILE_BYTES, check};
use super::*;
use std::path::PathBuf;

const BLESS: &str = "HEDDLE_BLESS=1 cargo test -p heddle-core findings_are_explained";

/// The files of an example: one, or several that begin with `# file: NAME`.
fn files_of(example: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for line in example.split_inclusive('\n') {
        match line.strip_prefix("# file: ") {
            Some(name) => files.push((name.trim().to_owned(), Vec::new())),
            None => {
                if files.is_empty() {
                    files.push(("example.yaml".to_owned(), Vec::new()));
                }
                files.last_mut().unwrap().1.extend(line.as_bytes());
            }
        }
    }
    files
}

/// The first finding of a code that the files give.
fn finding(code: &Code, files: Vec<(String, Vec<u8>)>) -> String {
    let first = PathBuf::from(&files[0].0);
    let memory = files
        .into_iter()
        .fold(Memory::default(), |m, (name, bytes)| m.with(&name, bytes));
    let findings = check(&[first], &memory);
    let found = findings.iter().find(|finding| finding.code == code.id);
    let found = found.unwrap_or_else(|| panic!("the example of {} gives {findings:#?}", code.id));
    assert_eq!(found.severity, code.severity);
    for sentence in [&found.what, &found.why, &found.fix] {
        assert!(!sentence.is_empty() && !sentence.ends_with('.'), "{found}");
    }
    found.to_string()
}

#[test]
fn findings_are_explained() {
    let path = repository("docs/findings.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut current, sections) = text
        .split_once("\n## ")
        .map(|(h, s)| (h.to_owned(), s))
        .unwrap();
    let mut sections = sections.split("\n## ");
    for code in ALL {
        let section = sections
            .next()
            .unwrap_or_else(|| panic!("{} is not in docs/findings.md", code.id));
        let heading = format!("{}: {}\n", code.id, code.title);
        assert!(
            section.starts_with(&heading),
            "expected the heading {heading:?} in docs/findings.md"
        );
        let (about, example) = section.split_once("```yaml\n").unwrap_or((section, ""));
        let example = example.split("```\n").next().unwrap_or_default();
        let one = |bytes: Vec<u8>| vec![("example.yaml".to_owned(), bytes)];
        let files = match code.id {
            "HED102" => one(b"# caf\xe9\n".to_vec()),
            "HED103" => one(vec![b' '; MAX_FILE_BYTES + 1024 * 1024]),
            _ => files_of(example),
        };
        let about = about.split("```text\n").next().unwrap().trim_end();
        let block = if example.is_empty() {
            String::new()
        } else {
            format!("\n\n```yaml\n{example}```")
        };
        current += &format!(
            "\n## {about}{block}\n\n```text\n{}\n```\n",
            finding(code, files)
        );
    }
    assert_eq!(
        sections.next(),
        None,
        "docs/findings.md explains a code that is not there"
    );
    if std::env::var_os("HEDDLE_BLESS").is_some() {
        std::fs::write(&path, &current).unwrap();
    } else {
        assert!(
            text == current,
            "docs/findings.md differs from what its examples give; to write it anew: {BLESS}"
        );
    }
}

#[test]
fn codes_ascend_and_are_unique() {
    assert!(ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
}
