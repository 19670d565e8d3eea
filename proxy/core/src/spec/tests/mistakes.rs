//! Mistakes, many at once, each at its place.

use super::{Memory, findings};
use crate::spec::{Source, check, check_documents, load};
use std::path::{Path, PathBuf};

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let text = r#"
admin: {listen: localhost:9990}
workers: 0
drain: 30
namespace: My_Bank
color: red
listeners:
  - name: a
    listen: 127.0.0.1:4140
    protocol: htpp
    identify: [hots, {header: "x y"}, {}]
    limits: {streams: 1.5, idle: -1s}
  - name: a
    listen: 127.0.0.1:4140
    mode: tcp
discovery:
  static:
    one: ["127.0.0.1:0", nonsense, {address: "127.0.0.1:9001", weight: .nan}]
    two: 5
  control-plane: {address: x}
rules:
  - apiVersion: heddle.dev/v1
    kind: Rout
    metadata: {}
    spec: {}
  - 7
"#;
    let expected = [
        "HED207 2:17",
        "HED205 3:10",
        "HED206 4:8",
        "HED208 5:12",
        "HED201 6:1",
        "HED204 10:15",
        "HED204 11:16",
        "HED209 11:31",
        "HED203 11:39",
        "HED205 12:23",
        "HED206 12:34",
        "HED203 13:5",
        "HED303 13:11",
        "HED304 14:13",
        "HED207 18:11",
        "HED207 18:26",
        "HED205 18:72",
        "HED202 19:10",
        "HED207 20:28",
        "HED217 22:17",
        "HED217 23:11",
        "HED203 24:15",
        "HED202 26:5",
    ];
    assert_eq!(findings(text), expected);
}

/// A Route whose `spec` has these lines, as findings.
fn route(spec: &str) -> Vec<String> {
    let head =
        "apiVersion: heddle.dev/v1alpha1\nkind: Route\nmetadata: {name: r}\nspec:\n  service: s\n";
    let (_, findings) = check_documents("r.yaml", &format!("{head}{spec}"));
    findings
        .iter()
        .map(|f| format!("{} {}:{}", f.code, f.line, f.column))
        .collect()
}

#[test]
fn mistakes_of_routes_have_places() {
    let rows: [(&str, &[&str]); 22] = [
        ("  rules: [{to: a}]\n", &[]),
        ("  rules: []\n", &["HED216 6:10"]),
        ("  rules: [{}]\n", &["HED203 6:11"]),
        (
            "  rules: [{to: [{service: a, weight: -1}]}]\n",
            &["HED205 6:38"],
        ),
        (
            "  rules: [{to: [{service: a, weight: .inf}]}]\n",
            &["HED205 6:38"],
        ),
        (
            "  rules: [{to: [{service: a, weight: \"5\"}]}]\n",
            &["HED202 6:38"],
        ),
        (
            "  rules: [{to: [{service: a, weight: 0}, {service: b, weight: 0}]}]\n",
            &["HED306 6:16"],
        ),
        (
            "  rules: [{to: [a, {service: a, weight: 3}]}]\n",
            &["HED406 6:20"],
        ),
        (
            "  rules: [{to: a, mirror: {to: b, percent: 101}}]\n",
            &["HED205 6:44"],
        ),
        (
            "  rules: [{to: a, set: {redirect: /x}}]\n",
            &["HED214 6:11"],
        ),
        (
            "  rules: [{to: a, set: {requestHeaders: {Transfer-Encoding: x}}}]\n",
            &["HED209 6:42"],
        ),
        (
            "  rules: [{to: a, set: {requestHeaders: {x: \"a\\r\\nb: c\"}}}]\n",
            &["HED209 6:45"],
        ),
        (
            "  rules: [{match: {path: /x}, to: a, set: {path: {prefix: /y}}}, {to: a}]\n",
            &["HED214 6:50"],
        ),
        (
            "  rules: [{match: {method: get}, to: a}, {to: a}]\n",
            &["HED209 6:28"],
        ),
        (
            "  rules: [{match: {path: {prefix: /a, exact: /b}}, to: a}, {to: a}]\n",
            &["HED214 6:39"],
        ),
        (
            "  rules: [{match: {headers: {x: 5}}, to: a}, {to: a}]\n",
            &["HED202 6:33"],
        ),
        (
            "  rules: [{to: a}]\n  balancer: {kind: ring-hash}\n",
            &["HED203 7:13"],
        ),
        (
            "  rules: [{to: a}]\n  balancer: {kind: round-robin, decay: 5s}\n",
            &["HED214 7:40"],
        ),
        (
            "  rules: [{to: a}]\n  retries: {max: 11, on: [600]}\n",
            &["HED205 7:18", "HED219 7:27"],
        ),
        (
            "  rules: [{to: a}]\n  retries: {budget: {window: 2m}, backoff: {base: 2s, max: 1s}}\n",
            &["HED205 7:30", "HED309 7:51"],
        ),
        (
            "  rules: [{to: a}]\n  accrual: {consecutiveFailures: never}\n",
            &["HED204 7:34"],
        ),
        (
            "  rules: {to: a}\n  timeout:\n",
            &["HED202 6:10", "HED202 7:10"],
        ),
    ];
    let wrong = rows
        .iter()
        .filter(|(spec, expected)| route(spec) != *expected);
    let wrong: Vec<_> = wrong
        .map(|(spec, expected)| format!("{spec}{expected:?} {:?}", route(spec)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn dtab_mistakes_are_found_within_blocks() {
    let text = "listeners:\n  - name: a\n    listen: 127.0.0.1:4140\n    dtab: |\n      /a => /b ;\n      /c => | ;\n";
    assert_eq!(findings(text), ["HED212 6:13"]);
}

#[test]
fn cycles_are_found_and_named_once() {
    let listener = |dtab: &str| {
        format!("listeners: [{{name: a, listen: \"127.0.0.1:4140\", dtab: \"{dtab}\"}}]")
    };
    let rows = [
        ("/svc => /#/static", 0),
        ("/svc => /host ; /host => /svc", 1),
        ("/a => /a/b", 1),
        ("/a/* => /a/x", 1),
        ("/a => /b | /c ; /c => /a", 1),
        ("/a => /a | /a | /a", 1),
        ("/a => /b ; /b => /c ; /c => /#/static/x", 0),
    ];
    for (dtab, count) in rows {
        let told = findings(&listener(dtab));
        assert_eq!(
            told.iter().filter(|f| f.starts_with("HED307")).count(),
            count,
            "{dtab}: {told:?}"
        );
    }
}

#[test]
fn findings_of_several_files_come_together() {
    let source = Memory::default()
        .with(
            "etc/p.yaml",
            "rules: [one.yaml, missing.yaml, 'rules/*.yaml']\ndrain: x\n",
        )
        .with("etc/one.yaml", "kind: Route\n---\na: [\n")
        .with(
            "etc/rules/a.yaml",
            "apiVersion: heddle.dev/v1alpha1\nkind: Canary\nmetadata: {name: a}\nspec: {}\n",
        )
        .with("etc/rules/.hidden.yaml", "[");
    let loaded = load(Some(Path::new("etc/p.yaml")), &source);
    let told: Vec<_> = loaded
        .findings
        .iter()
        .map(|f| format!("{} {}", f.code, f.file))
        .collect();
    let expected = [
        "HED206 etc/p.yaml",
        "HED203 etc/one.yaml",
        "HED203 etc/one.yaml",
        "HED203 etc/one.yaml",
        "HED104 etc/one.yaml",
        "HED101 etc/missing.yaml",
        "HED215 etc/rules/a.yaml",
    ];
    assert_eq!(told, expected);
    assert!(loaded.config.is_none());
    assert_eq!(loaded.files_read.len(), 4, "{:?}", loaded.files_read);
    assert_eq!(loaded.folders_read, [PathBuf::from("etc/rules")]);
}

#[test]
fn rule_files_that_a_proxy_names_are_checked_once() {
    let rules =
        "apiVersion: heddle.dev/v1alpha1\nkind: Dtab\nmetadata: {name: a}\nspec: {dtab: /a}\n";
    let source = Memory::default()
        .with("p.yaml", "rules: [r.yaml]\n")
        .with("r.yaml", rules);
    let findings = check(&["p.yaml".into(), "r.yaml".into()], &source);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(source.env("POD_NAMESPACE"), None);
}

#[test]
fn bombs_of_every_kind_end_soon() {
    let many_keys: String = (0..50_000).map(|i| format!("k{i}: 1\n")).collect();
    let many_rules: String = (0..5000)
        .map(|i| format!("/a{i} => /a{} | /a{} ;", i + 1, i + 1))
        .collect();
    let bombs = [
        many_keys,
        format!("listeners: [{{name: a, listen: \"127.0.0.1:4140\", dtab: \"{many_rules}\"}}]"),
        format!(
            "listeners: [{{name: a, listen: \"127.0.0.1:4140\", dtab: \"/a => {}\"}}]",
            "(".repeat(100_000)
        ),
        "&a ".repeat(100_000),
        "? ".repeat(100_000),
        format!("a: {}", "!x".repeat(100_000)),
    ];
    for bomb in bombs {
        assert!(!findings(&bomb).is_empty(), "{}", &bomb[..60]);
    }
}
