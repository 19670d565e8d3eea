//! `heddle bind`: what a name binds to.

use crate::names::{self, Format, fail};
use heddle_core::name::{BindError, Dtab, MAX_DEPTH, Namer, Path, bind};
use heddle_proxy::explain::Vocabulary;
use heddle_proxy::view::tree_json;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print what a name binds to
///
/// Without a configuration every name of the known namers counts as existing and binds to its id, so that a dtab can be
/// tried by itself: /#/static/NAME, /#/files/NAME, /#/dns/HOST/PORT, /#/dns-srv/NAME,
/// /#/k8s/NAMESPACE/PORT/SERVICE, and /$/inet/HOST/PORT with the other utility namers. With -c only names
/// that the configuration knows exist; DNS names are not asked for and bind as they are.
///
/// Exits 0 when the name was bound, be it to neg, and 1 when it could not be: a cycle, a failing namer, a mistake.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    group = clap::ArgGroup::new("by").args(["dtab", "config"]).required(true).multiple(true),
    after_help = "Try: heddle bind --dtab '/svc => /#/static ; /svc/a => /svc/b' /svc/a"
)]
pub(crate) struct Args {
    /// The name, such as /svc/accounts
    path: String,
    /// Dentries, such as '/svc => /#/static'; with -c they come behind those of the configuration and so win
    #[arg(long, value_name = "DTAB")]
    dtab: Option<String>,
    /// A proxy's configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The listener whose dtab counts, with -c; the first outbound one unless given
    #[arg(long, value_name = "NAME", requires = "config")]
    listener: Option<String>,
    /// How to print; json is {"leaf": id, "residual": path, "addrWeight": n}, {"union": [[weight, tree], ..]},
    /// {"alt": [..]}, "neg", "fail" or "empty"
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    let Outcome { shown, failed } = outcome(&args);
    if let Some(shown) = shown {
        println!("{shown}");
    }
    failed.map_or(ExitCode::SUCCESS, fail)
}

/// What goes to stdout, and what went wrong.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    shown: Option<String>,
    failed: Option<String>,
}

fn outcome(args: &Args) -> Outcome {
    let (dtab, namer, path) = match resolve(args) {
        Ok(resolved) => resolved,
        Err(failed) => {
            return Outcome {
                failed: Some(failed),
                shown: None,
            };
        }
    };
    match (bind(&dtab, &*namer, &path, MAX_DEPTH), args.format) {
        (Ok(tree), Format::Text) => Outcome {
            shown: Some(tree.to_string()),
            failed: None,
        },
        (Ok(tree), Format::Json) => Outcome {
            shown: Some(tree_json(&tree).to_string()),
            failed: None,
        },
        (Err(error), Format::Text) => Outcome {
            shown: None,
            failed: Some(error.to_string()),
        },
        (Err(error), Format::Json) => {
            let failed = if error == BindError::Pending {
                "pending"
            } else {
                "error"
            };
            Outcome {
                shown: Some(json!({failed: true}).to_string()),
                failed: Some(error.to_string()),
            }
        }
    }
}

/// The dtab, the namer and the path that the arguments ask for.
fn resolve(args: &Args) -> Result<(Dtab, Box<dyn Namer>, Path), String> {
    let path = Path::parse(&args.path).map_err(|error| {
        format!(
            "{:?} is not a path: {error}; write it like /svc/accounts",
            args.path
        )
    })?;
    let text = args.dtab.as_deref().unwrap_or_default();
    let own = Dtab::parse(text).map_err(|error| {
        format!("--dtab {text:?} is wrong: {error}; dentries are written '/prefix => /tree ; ...'")
    })?;
    let Some(file) = &args.config else {
        return Ok((own, Box::new(Vocabulary), path));
    };
    let config = names::load(file)?;
    let listener = names::listener(&config, args.listener.as_deref())?;
    let dtab = listener.base_dtab.concat(&config.dtab).concat(&own);
    Ok((dtab, Box::new(names::offline(&config)), path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::Value;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn bound(words: &[&str]) -> Outcome {
        let command = Command::try_parse_from([&["bind"], words].concat()).unwrap();
        outcome(&command.args)
    }

    #[test]
    fn known_names_bind_without_a_proxy() {
        let cases = [
            (
                "/svc => /#/static",
                "/svc/a/x",
                json!({"leaf": "/#/static/a", "residual": "/x"}),
            ),
            ("/svc => /#/files", "/svc/a", json!({"leaf": "/#/files/a"})),
            (
                "/svc => /#/dns",
                "/svc/a.example/80/x",
                json!({"leaf": "/#/dns/a.example/80", "residual": "/x"}),
            ),
            ("/svc => /#/dns", "/svc/a.example", json!("neg")),
            (
                "/svc => /#/dns-srv",
                "/svc/_http._tcp.a",
                json!({"leaf": "/#/dns-srv/_http._tcp.a"}),
            ),
            (
                "/svc => /#/k8s/ns/http",
                "/svc/a",
                json!({"leaf": "/#/k8s/ns/http/a"}),
            ),
            (
                "/svc => /$/inet",
                "/svc/127.0.0.1/80",
                json!({"leaf": "/$/inet/127.0.0.1/80"}),
            ),
            ("/svc => /#/elsewhere", "/svc/a", json!("neg")),
            ("/svc => ! ; /svc/b => ~ | $", "/svc/b", json!("empty")),
            ("/svc => !", "/svc/b", json!("fail")),
            (
                "/svc => 3 * /#/static & 1 * /#/static/b",
                "/svc/a",
                json!({"union": [
                    [3.0, {"leaf": "/#/static/a", "addrWeight": 3.0}],
                    [1.0, {"leaf": "/#/static/b", "residual": "/a", "addrWeight": 1.0}],
                ]}),
            ),
        ];
        for (dtab, path, expected) in cases {
            let outcome = bound(&["--dtab", dtab, path, "--format", "json"]);
            let shown: Value = serde_json::from_str(&outcome.shown.unwrap()).unwrap();
            assert_eq!((shown, outcome.failed), (expected, None), "{dtab} {path}");
        }
        let text = bound(&["--dtab", "/svc => /#/static", "/svc/a/x"]);
        assert_eq!(text.shown.as_deref(), Some("/#/static/a[/x]"));
    }

    #[test]
    fn what_cannot_be_bound_says_why() {
        let cases = [
            (
                &["--dtab", "/a => /a/b", "/a"][..],
                None,
                "most likely the dtab has a cycle",
            ),
            (
                &["--dtab", "/a => /a/b", "/a", "--format", "json"],
                Some("{\"error\":true}"),
                "cycle",
            ),
            (
                &["--dtab", "/a -> /b", "/a"],
                None,
                "--dtab \"/a -> /b\" is wrong: at byte",
            ),
            (&["--dtab", "", "a"], None, "\"a\" is not a path"),
            (&["-c", "/nowhere/heddle.yaml", "/a"], None, "has errors"),
        ];
        for (words, shown, failed) in cases {
            let outcome = bound(words);
            assert_eq!(outcome.shown.as_deref(), shown, "{words:?}");
            assert!(
                outcome
                    .failed
                    .as_ref()
                    .is_some_and(|found| found.contains(failed)),
                "{words:?}: {outcome:?}"
            );
        }
        assert!(
            Command::try_parse_from(["bind", "/a"]).is_err(),
            "a dtab or a configuration is needed"
        );
    }

    #[test]
    fn a_configuration_gives_names_and_dtab() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("heddle.yaml");
        std::fs::write(&file, "discovery: {static: {accounts: [127.0.0.1:9001]}}\n").unwrap();
        let file = file.to_str().unwrap();
        let shown = |words: &[&str]| bound(&[&["-c", file], words].concat()).shown.unwrap();
        assert_eq!(shown(&["/svc/accounts"]), "/#/static/accounts");
        assert_eq!(shown(&["/svc/nobody"]), "~");
        assert_eq!(
            shown(&["--dtab", "/svc/nobody => /svc/accounts", "/svc/nobody"]),
            "/#/static/accounts"
        );
        let missing = bound(&["-c", file, "--listener", "no", "/svc/a"])
            .failed
            .unwrap();
        assert!(missing.contains("there is no listener \"no\""), "{missing}");
    }
}
