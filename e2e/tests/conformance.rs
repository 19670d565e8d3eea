//! The given vectors pass: how names, budgets and loads behave is Finagle's, not ours to choose.
//!
//! They lie in `../shared/vectors` beside the workspace. CI has them; elsewhere their absence is a skip by name.

use heddle_e2e::conformance::{Report, files_in};
use std::path::Path;

/// Areas of which nothing may be skipped.
const EXACT: [&str; 8] = [
    "path-parse",
    "dtab-parse",
    "nametree-parse",
    "nametree-show",
    "nametree-eval",
    "delegate",
    "retry-budget",
    "ewma",
];

/// Of the area `namer`, the kinds that linkerd takes from the network; all others must pass.
const FOREIGN_NAMERS: [&str; 6] = [
    "io.l5d.k8s",
    "io.l5d.k8s.ns",
    "io.l5d.k8s.external",
    "io.l5d.consul",
    "io.l5d.marathon",
    "io.l5d.serversets",
];

#[test]
fn the_given_vectors_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let Ok(files) = files_in(&folder) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must have the vectors at {}",
            folder.display()
        );
        println!("skipped: there are no vectors at {}", folder.display());
        return;
    };
    assert!(!files.is_empty(), "{} is empty", folder.display());
    let report = Report::of_files(&files);
    println!("{report}");
    assert!(report.failures.is_empty(), "{report}");
    assert!(report.unsure_failures.is_empty(), "{report}");
    for kind in report.skipped.keys() {
        let (area, kind) = kind.split_once(": ").expect("a kind follows its area");
        assert!(!EXACT.contains(&area), "{area}: {kind} must not be skipped");
        assert!(
            area != "namer" || FOREIGN_NAMERS.contains(&kind),
            "{area}: {kind} must not be skipped"
        );
    }
}

#[test]
fn what_is_wrong_with_a_file_is_reported_and_never_passes() {
    let cases = [
        ("not json", "no JSON"),
        ("{}", "a case has"),
        (
            r#"{"area": "no-such-area", "input": {}, "expect": {}}"#,
            "unknown area",
        ),
        (
            r#"{"area": "path-parse", "input": 7, "expect": {}}"#,
            "no `path`",
        ),
        (
            r#"{"area": "delegate", "input": {"path": "/a", "colour": 1}, "expect": "neg"}"#,
            "unknown member `colour`",
        ),
        (
            r#"{"area": "delegate", "input": {"path": "/a"}, "expect": "fail"}"#,
            "expected \"fail\", got \"neg\"",
        ),
        (
            r#"{"area": "nametree-eval", "input": {"op": "eval", "tree": {"alt": 3}}, "expect": {}}"#,
            "no tree",
        ),
        (
            r#"{"area": "nametree-eval", "input": {"op": "x", "tree": "/a"}, "expect": {}}"#,
            "unknown op",
        ),
    ];
    for (line, expected) in cases {
        let mut report = Report::default();
        report.add("file", line);
        assert_eq!(report.passed, 0, "{line}");
        assert!(
            report.failures[0].starts_with("file:1: "),
            "{}",
            report.failures[0]
        );
        assert!(
            report.failures[0].contains(expected),
            "{}",
            report.failures[0]
        );
    }
    let missing = Report::of_files(&["no-such-file.jsonl"]);
    assert!(
        missing
            .to_string()
            .ends_with("0 passed, 1 failed, 0 skipped")
    );
}
