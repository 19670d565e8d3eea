//! `heddle check` as people run it.

use std::path::PathBuf;
use std::process::{Command, Output};

fn check(arguments: &[&str]) -> Output {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    command.current_dir(root).arg("check").args(arguments);
    command
        .output()
        .expect("the binary was built for this test")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("findings are UTF-8")
}

#[test]
fn the_examples_are_sound() {
    // Those about TLS are of use once their certificates have been made; the end-to-end tests do that.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("tls-") && name.ends_with(".yaml"))
        .map(|name| format!("examples/{name}"))
        .collect();
    files.sort();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let output = check(&files);
    assert!(output.status.success(), "{output:?}");
    assert!(
        printed(&output).starts_with("0 errors, 0 warnings in "),
        "{output:?}"
    );
}

#[test]
fn every_finding_is_printed_in_one_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(
        &file,
        "drain: 30\nlisteners: [{name: a, listen: \"127.0.0.1:99999\"}]\n",
    )
    .unwrap();
    let name = file.to_str().unwrap();
    let output = check(&[name]);
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with(&format!(
            "{name}:1:8: error[HED206]: `30` is not a duration"
        )),
        "{text}"
    );
    assert!(
        lines[1].starts_with(&format!("{name}:2:31: error[HED207]: ")),
        "{text}"
    );
    assert_eq!(lines[2..], ["2 errors, 0 warnings in 1 file"]);

    let output = check(&[name, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&all["errors"], &all["findings"][1]["column"]),
        (&2.into(), &31.into())
    );
}

#[test]
fn warnings_alone_are_success() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, "rules: ['*.rules']\n").unwrap();
    let output = check(&[file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        printed(&output).contains(": warning[HED109]: "),
        "{output:?}"
    );
}

#[test]
fn what_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml");
    let output = check(&[missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("error[HED101]"), "{output:?}");
    assert_eq!(
        check(&[folder.path().to_str().unwrap()]).status.code(),
        Some(1)
    );
    assert_eq!(check(&[]).status.code(), Some(2));
}
