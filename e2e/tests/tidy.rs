//! The habits of the house, as tests: what a reviewer would otherwise have to remember.
//!
//! It reads the tree as git sees it (tracked files and new ones that are not ignored), uses
//! the standard library only and takes less than a second. Each finding names a file and line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Longest source file, in lines. The aim is 400; from here on it must be split.
const LINES: usize = 800;

/// What the pure code may not touch, each with the reason.
const IMPURE: [(&str, &str); 9] = [
    ("tokio", "tasks belong to the shells"),
    (".await", "pure code never waits"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    // The crate: a key of the proxy's file has the same name.
    ("tracing::", "pure code returns what happened"),
    ("TcpStream", "bytes are an argument"),
    ("UdpSocket", "bytes are an argument"),
    ("std::fs::", "files are an argument"),
    ("std::env::", "settings are an argument"),
];

/// What `heddle-core` may depend on; a new entry is a decision (docs/adr/0008).
const CORE_MAY_USE: [&str; 8] = [
    "base64",
    "granit-parser",
    "memchr",
    "regex",
    "schemars",
    "serde",
    "serde_json",
    "sfv",
];

/// Which of our crates each of our crates may depend on.
const DIRECTION: [(&str, &[&str]); 10] = [
    ("proxy/core/Cargo.toml", &[]),
    ("xds-proto/Cargo.toml", &[]),
    ("proxy/Cargo.toml", &["heddle-core", "heddle-xds"]),
    ("control-plane/Cargo.toml", &["heddle-core", "heddle-xds"]),
    ("benches/Cargo.toml", &["heddle-core", "heddle-proxy"]),
    (
        "cli/Cargo.toml",
        &[
            "heddle-core",
            "heddle-proxy",
            "heddle-control-plane",
            "heddle-bench",
        ],
    ),
    (
        "e2e/Cargo.toml",
        &["heddle-core", "heddle-proxy", "heddle-bench"],
    ),
    // The bank is a tenant like any other: it depends on nothing of ours.
    ("sample-bank/Cargo.toml", &[]),
    ("sample-bank/broker/Cargo.toml", &[]),
    // A contender of the comparison, which depends on nothing of ours.
    ("benches/pingora/Cargo.toml", &[]),
];

/// Hosts of package registries, split so that this file does not name them either.
const HOSTS: [&str; 8] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("registry.npm", "js.org"),
    concat!("proxy.go", "lang.org"),
    concat!("repo1.", "maven.org"),
    concat!("repo.maven.", "apache.org"),
    concat!("deb.", "debian.org"),
];

/// Folders that exist on one machine only.
const MACHINE_PATHS: [&str; 3] = [
    concat!("/", "work/"),
    concat!("/", "root/"),
    concat!("/", "home/"),
];

struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl File {
    fn has_extension(&self, any: &[&str]) -> bool {
        let found = Path::new(&self.path).extension().and_then(|e| e.to_str());
        found.is_some_and(|e| any.contains(&e))
    }

    fn is_code(&self) -> bool {
        self.has_extension(&["rs", "sh", "py", "js", "mjs", "go", "java"])
    }

    fn is_this(&self) -> bool {
        self.path == "e2e/tests/tidy.rs"
    }

    /// Lines with their numbers from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("e2e lies in the root")
        .to_path_buf()
}

/// The tree's text files; a file that is no text fails the run, since only sources are kept.
fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let listed = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root())
            .output()
            .expect("git lists the tree");
        assert!(
            listed.status.success(),
            "git ls-files: {}",
            String::from_utf8_lossy(&listed.stderr)
        );
        let names = String::from_utf8(listed.stdout).expect("paths are UTF-8");
        names
            .split_terminator('\0')
            .filter(|path| root().join(path).is_file()) // deleted, not yet committed
            // Pictures of the pages are the only files that are no text.
            .filter(|path| !(path.starts_with("docs/img/") && path.ends_with(".png")))
            .map(|path| {
                let bytes = fs::read(root().join(path)).expect("a listed file is readable");
                let text = String::from_utf8(bytes);
                File {
                    path: path.to_owned(),
                    text: text
                        .unwrap_or_else(|_| panic!("{path} is no text: only sources are kept")),
                }
            })
            .collect()
    })
}

fn file(path: &str) -> &'static File {
    let found = files().iter().find(|f| f.path == path);
    found.unwrap_or_else(|| panic!("{path} is missing"))
}

/// Fails with all findings at once.
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn files_are_short() {
    let long = files().iter().filter(|f| f.is_code());
    let long = long.map(|f| (f, f.text.lines().count()));
    none(
        long.filter(|(_, n)| *n > LINES)
            .map(|(f, n)| format!("{}: {n} lines, at most {LINES}: split it", f.path))
            .collect(),
    );
}

#[test]
fn modules_have_names() {
    let bad = files().iter().filter(|f| f.path.ends_with("/mod.rs"));
    none(
        bad.map(|f| format!("{}: write foo.rs beside foo/ instead", f.path))
            .collect(),
    );
}

/// Code outside comments and outside the tests at a file's end.
fn production_lines(file: &File) -> impl Iterator<Item = (usize, &str)> {
    file.lines()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn pure_code_is_pure() {
    let pure = files().iter().filter(|f| {
        let in_core = f.path.starts_with("proxy/core/src/") && !f.path.ends_with("/tests.rs");
        f.has_extension(&["rs"]) && (in_core || f.text.starts_with("//! Pure."))
    });
    let mut findings = Vec::new();
    for f in pure {
        for (n, line) in production_lines(f) {
            for (word, reason) in IMPURE {
                if line.contains(word) {
                    findings.push(format!("{}:{n}: `{word}`: {reason}", f.path));
                }
            }
        }
    }
    none(findings);
}

/// Names in the dependency tables of a manifest, with the table each stands in.
fn dependencies(manifest: &File) -> Vec<(String, String)> {
    let mut table = String::new();
    let mut found = Vec::new();
    for (_, line) in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
        } else if table.ends_with("dependencies")
            && let Some((name, _)) = line.split_once(['.', '=', ' '])
            && !name.is_empty()
            && !name.starts_with('#')
        {
            found.push((table.clone(), name.to_owned()));
        }
    }
    found
}

#[test]
fn dependencies_point_one_way() {
    let mut findings = Vec::new();
    for (path, allowed) in DIRECTION {
        for (_, name) in dependencies(file(path)) {
            if name.starts_with("heddle") && !allowed.contains(&name.as_str()) {
                findings.push(format!("{path}: must not depend on {name}"));
            }
        }
    }
    let members = files().iter().filter(|f| f.path.ends_with("/Cargo.toml"));
    for f in members.filter(|f| !DIRECTION.iter().any(|(path, _)| *path == f.path)) {
        findings.push(format!(
            "{}: a crate whose direction is not decided",
            f.path
        ));
    }
    none(findings);
}

#[test]
fn the_core_uses_what_was_decided() {
    let used = dependencies(file("proxy/core/Cargo.toml")).into_iter();
    none(
        used.filter(|(table, name)| {
            table == "dependencies" && !CORE_MAY_USE.contains(&name.as_str())
        })
        .map(|(_, name)| format!("proxy/core/Cargo.toml: {name} needs a decision in docs/adr"))
        .collect(),
    );
}

#[test]
fn what_is_to_do_has_an_issue() {
    let kept = |f: &&File| (f.is_code() || f.has_extension(&["toml", "yaml"])) && !f.is_this();
    let mut findings = Vec::new();
    for f in files().iter().filter(kept) {
        for (n, line) in f.lines() {
            for word in ["TODO", "FIXME", "XXX"] {
                if let Some(at) = line.find(word)
                    && !line[at + word.len()..].starts_with("(#")
                {
                    findings.push(format!(
                        "{}:{n}: {word} without an issue: write {word}(#n)",
                        f.path
                    ));
                }
            }
        }
    }
    none(findings);
}

#[test]
fn no_file_names_a_registry_or_a_machine() {
    // The source lines of lock files are cargo's own.
    let mut findings = Vec::new();
    for f in files().iter().filter(|f| !f.path.ends_with("Cargo.lock")) {
        for (n, line) in f.lines() {
            for host in HOSTS.iter().filter(|host| line.contains(**host)) {
                findings.push(format!("{}:{n}: names the package host {host}", f.path));
            }
            for folder in MACHINE_PATHS {
                let found = line.match_indices(folder).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || "._-}".contains(c))
                });
                if found {
                    findings.push(format!(
                        "{}:{n}: names a folder of one machine, {folder}",
                        f.path
                    ));
                }
            }
        }
    }
    none(findings);
}

/// Lines of Markdown, each with whether it is inside a fenced block.
fn markdown(file: &File) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut fenced = false;
    file.lines().map(move |(n, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (n, line, fenced || fence)
    })
}

#[test]
fn links_of_documents_resolve() {
    let mut findings = Vec::new();
    for f in files().iter().filter(|f| f.has_extension(&["md"])) {
        let folder = root()
            .join(&f.path)
            .parent()
            .expect("a file lies in a folder")
            .to_path_buf();
        for (n, line, _) in markdown(f).filter(|(_, _, fenced)| !fenced) {
            for target in line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                let place = target.split('#').next().unwrap_or_default();
                let elsewhere = target.contains("://") || target.starts_with("mailto:");
                if !elsewhere && !place.is_empty() && !folder.join(place).exists() {
                    findings.push(format!(
                        "{}:{n}: the link to {target} leads nowhere",
                        f.path
                    ));
                }
            }
        }
    }
    none(findings);
}

#[test]
fn the_architecture_points_at_files_that_exist() {
    let mut findings = Vec::new();
    for (n, line) in file("ARCHITECTURE.md").lines() {
        let code = line.split('`').skip(1).step_by(2);
        for name in code.filter(|code| code.ends_with(".rs")) {
            let tail = format!("/{name}");
            if !files()
                .iter()
                .any(|f| f.path == name || f.path.ends_with(&tail))
            {
                findings.push(format!("ARCHITECTURE.md:{n}: there is no {name}"));
            }
        }
    }
    none(findings);
}

/// The word after `heddle ` wherever a line's code begins with that command.
fn subcommands(line: &str, fenced: bool) -> Vec<&str> {
    let code: Vec<&str> = if fenced {
        vec![line.trim_start().trim_start_matches("$ ")]
    } else {
        line.split('`').skip(1).step_by(2).collect()
    };
    let code = code
        .into_iter()
        .filter_map(|code| code.strip_prefix("heddle "));
    let words = code.filter_map(|rest| rest.split([' ', '`']).next());
    words
        .filter(|w| w.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

#[test]
fn documented_commands_exist() {
    assert_eq!(
        subcommands("run `heddle check a.yaml` or `heddle`", false),
        ["check"]
    );
    assert_eq!(subcommands("$ heddle explain -c a.yaml", true), ["explain"]);
    let mut findings = Vec::new();
    for f in files().iter().filter(|f| f.has_extension(&["md"])) {
        for (n, line, fenced) in markdown(f) {
            for word in subcommands(line, fenced) {
                let source = format!("cli/src/{}.rs", word.replace('-', "_"));
                if !files().iter().any(|f| f.path == source) {
                    findings.push(format!("{}:{n}: `heddle {word}` has no {source}", f.path));
                }
            }
        }
    }
    none(findings);
}

#[test]
fn examples_are_introduced() {
    let introduced = &file("examples/README.md").text;
    let examples = files()
        .iter()
        .filter_map(|f| f.path.strip_prefix("examples/"));
    let examples: BTreeSet<&str> = examples
        .filter(|name| !name.contains('/') && name.ends_with(".yaml"))
        .collect();
    assert!(!examples.is_empty(), "examples/*.yaml are missing");
    none(
        examples
            .into_iter()
            .filter(|name| !introduced.contains(*name))
            .map(|name| format!("examples/README.md: does not mention {name}"))
            .collect(),
    );
}

/// `[1, 12, 0]` of `1.12.0`; what follows a `-` or `+` is left out.
fn version(text: &str) -> Vec<u64> {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    numbers
        .split('.')
        .map(|n| n.trim().parse().unwrap_or(0))
        .collect()
}

/// Whether `found` is at most `last`, as far as `last` says: 1.11.9 is at most 1.11.
fn at_most(found: &str, last: &str) -> bool {
    let (found, last) = (version(found), version(last));
    found[..last.len().min(found.len())] <= last[..]
}

/// deny.toml bans versions with known holes as `crate = "h2@<=0.4.15"`. cargo-deny checks the
/// same and more, but is not installed everywhere; this always is.
#[test]
fn no_dependency_has_a_known_hole() {
    assert!(at_most("1.11.9", "1.11") && at_most("0.4.15", "0.4.15"));
    assert!(!at_most("1.12.0", "1.11") && !at_most("0.5.0", "0.4.15"));
    let bans: Vec<(&str, &str)> = file("deny.toml")
        .lines()
        .filter_map(|(_, line)| line.split("crate = \"").nth(1)?.split('"').next())
        .filter_map(|ban| ban.split_once("@<="))
        .collect();
    assert!(!bans.is_empty(), "deny.toml bans no version");
    let mut findings = Vec::new();
    let mut name = "";
    for (n, line) in file("Cargo.lock").lines() {
        let quoted = || line.split('"').nth(1).unwrap_or_default();
        if line.starts_with("name = ") {
            name = quoted();
        } else if line.starts_with("version = ") {
            for (_, last) in bans.iter().filter(|(banned, _)| *banned == name) {
                if at_most(quoted(), last) {
                    findings.push(format!(
                        "Cargo.lock:{n}: {name} {} has known holes, as all up to {last}",
                        quoted()
                    ));
                }
            }
        }
    }
    none(findings);
}
