//! `heddle bind`: what a name binds to.

use crate::names::{self, Format, fail};
use heddle_core::name::{BindError, Dtab, MAX_DEPTH, Namer, Path, bind};
use heddle_proxy::explain::{Offline, Vocabulary};
use heddle_proxy::view::tree_json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Prints the tree that a name binds to.
///
/// Without a configuration every name of the known namers counts as existing and binds to its id, so that a dtab can be
/// tried by itself: /#/static/<name>, /#/files/<name>, /#/dns/<host>/<port>, /#/dns-srv/<name>,
/// /#/k8s/<namespace>/<port>/<service>, and /$/inet/<host>/<port> with the other utility namers. With -c only names
/// that the configuration knows exist; DNS names are not asked for and bind as they are.
///
/// Exits 0 when the name was bound, be it to neg, and 1 when it could not be: a cycle, a failing namer, a mistake.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The name, such as /svc/accounts
    path: String,
    /// Dentries, such as '/svc => /#/static'; with -c they come behind those of the configuration and so win
    #[arg(long, value_name = "DTAB", required_unless_present = "config")]
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
    match resolve(&args) {
        Ok((dtab, namer, path)) => show(bind(&dtab, &*namer, &path, MAX_DEPTH), args.format),
        Err(message) => fail(message),
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
    let offline = Offline::new(&config);
    for (name, reason) in offline.file_errors() {
        eprintln!("heddle: {name} does not count: {reason}");
    }
    Ok((dtab, Box::new(offline), path))
}

fn show(
    bound: Result<heddle_core::name::NameTree<heddle_core::name::Bound>, BindError>,
    format: Format,
) -> ExitCode {
    match (bound, format) {
        (Ok(tree), Format::Text) => println!("{tree}"),
        (Ok(tree), Format::Json) => println!("{}", tree_json(&tree)),
        (Err(error), format) => {
            if format == Format::Json {
                let failed = if error == BindError::Pending {
                    "pending"
                } else {
                    "error"
                };
                println!("{}", serde_json::json!({failed: true}));
            }
            return fail(error);
        }
    }
    ExitCode::SUCCESS
}
