//! `heddle check`: every mistake in configuration files, each with its place, reason and fix.

use clap::ValueEnum;
use heddle_core::finding::Finding;
use heddle_core::spec;
use heddle_proxy::reload::FileSystem;
use serde_json::json;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Folders within folders are followed so deep; a loop of links must end.
const MAX_DEPTH: usize = 16;

/// Tell every mistake in configuration files
///
/// Each with its place, the reason and a way to mend it (docs/findings.md). Exits 1 when there is an error, 0 with warnings
/// alone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Proxy files, rule files, or folders whose `.yaml` and `.yml` files are checked.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How findings are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line each, and a summary.
    Text,
    /// One JSON object.
    Json,
}

/// Prints every finding. Warnings alone are success.
pub(crate) fn run(args: Args) -> ExitCode {
    let mut files = Vec::new();
    for path in &args.files {
        let before = files.len();
        if path.is_dir() {
            walk(path, MAX_DEPTH, &mut files);
            if files.len() == before {
                eprintln!("there is no .yaml or .yml file in {}", path.display());
                return ExitCode::FAILURE;
            }
        } else {
            files.push(path.clone());
        }
    }
    let findings = spec::check(&files, &FileSystem);
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    // A reader that went away does not change what was found.
    let _ = print(&findings, errors, files.len(), args.format);
    if errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The configuration files of a folder, in the order of their names. What cannot be listed has none.
fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort_unstable();
    for path in paths {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if hidden {
            continue;
        } else if path.is_dir() && depth > 0 {
            walk(&path, depth - 1, files);
        } else if yaml {
            files.push(path);
        }
    }
}

fn print(findings: &[Finding], errors: usize, files: usize, format: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let warnings = findings.len() - errors;
    if format == Format::Json {
        let findings: Vec<_> = findings.iter().map(Finding::to_json).collect();
        let all =
            json!({"files": files, "errors": errors, "warnings": warnings, "findings": findings});
        return writeln!(out, "{all:#}");
    }
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    let plural =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (errors, warnings) = (plural(errors, "error"), plural(warnings, "warning"));
    writeln!(out, "{errors}, {warnings} in {}", plural(files, "file"))
}
