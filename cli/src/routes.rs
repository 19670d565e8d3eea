//! `heddle routes`: every name, its rules, and where it leads now.

use crate::admin;
use crate::names::{self, Format, fail};
use heddle_proxy::routes::Routes;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print every name, its rules and where it leads now
///
/// A line for each destination of each rule of each logical name: its conditions, its share, what it binds to now, and how
/// many of its endpoints are open.
///
/// Asks a running proxy, which knows the names that requests asked for. With -c a configuration file alone is read:
/// nothing is sent, and DNS is not asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Admin address of a running proxy
    #[arg(long, value_name = "ADMIN", default_value = admin::DEFAULT, conflicts_with = "config")]
    admin: String,
    /// A proxy's configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    match table(&args) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => fail(message),
    }
}

fn table(args: &Args) -> Result<String, String> {
    let Some(file) = &args.config else {
        let format = match args.format {
            Format::Text => "text",
            Format::Json => "json",
        };
        return admin::get(&args.admin, &format!("/routes?format={format}"));
    };
    let config = names::load(file)?;
    let offline = names::offline(&config);
    let routes = Routes::of(&config, &offline, &|id| offline.set(id), &[]);
    Ok(match args.format {
        Format::Text => routes.to_text(),
        Format::Json => format!("{:#}\n", routes.to_json()),
    })
}
