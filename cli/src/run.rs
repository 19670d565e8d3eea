//! `heddle run`: a program with a proxy beside it, from its start to its end.

mod announce;
mod child;
mod environment;
mod life;
mod ports;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Run a program with a proxy beside it
///
/// Requests for the program wait until it listens; before it is stopped, what is in flight ends. Heddle exits with the
/// program's status.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The program is told by its environment: PORT, http_proxy, no_proxy and what its runtime reads besides (docs/run.md).\n\
    Two terminals are a mesh:\n  heddle run --service accounts --port 9001 --announce ./mesh -- python3 accounts.py\n  heddle run --service web --port 9002 --announce ./mesh -- node web.js\n  curl -x http://127.0.0.1:4140 http://accounts/"
)]
pub(crate) struct Args {
    /// What the program is called by others.
    #[arg(long, value_name = "NAME", value_parser = service, requires = "port")]
    service: Option<String>,
    /// Where the program listens, also in its variable PORT. Without it nothing comes in: a job.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Configuration file (docs/configuration.md); a listener in front of the program is added if it has none.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Writes the program's address into DIR for others to find, while it is ready, and finds others there.
    #[arg(long, value_name = "DIR", requires = "service")]
    announce: Option<PathBuf>,
    /// Where requests for the program are accepted [default: 127.0.0.1:4143, or a free port]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Option<SocketAddr>,
    /// How long the program may take to listen before that is told; requests for it wait meanwhile.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    start_within: Duration,
    /// How long the program may take to end once it is told, before it is killed.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    grace: Duration,
    /// Tells each step, and logs what the proxy does. HEDDLE_LOG sets the log's level by itself.
    #[arg(short, long)]
    verbose: bool,
    /// Worker threads of the proxy; one per core if neither this nor the file says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A name that is also that of a file.
fn service(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if text.len() <= 63
        && text.chars().all(allowed)
        && ends(text.chars().next())
        && ends(text.chars().last())
    {
        return Ok(text.to_owned());
    }
    Err("a service's name is up to 63 of a-z, 0-9, `-`, `_` and `.`, with a letter or digit at both ends".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "an address is IP:PORT, such as 127.0.0.1:4143 or [::1]:4143".to_owned())
}

/// `1500ms`, `10s`, `2m`, up to an hour.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: Option<u64> = digits.parse().ok();
    let time = number.and_then(|number| match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    });
    time.filter(|time| *time <= Duration::from_secs(3600))
        .ok_or_else(|| {
            "a time is a number and a unit, such as 500ms, 10s or 2m, up to 60m".to_owned()
        })
}

impl Args {
    /// The level of the log, if `HEDDLE_LOG` does not say: the terminal is the program's.
    pub(crate) fn level(&self) -> &'static str {
        if self.verbose { "info" } else { "warn" }
    }

    /// Tells a step, where somebody wants to know.
    fn tell(&self, what: &str) {
        if self.verbose {
            eprintln!("heddle run: {what}");
        }
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let ended = heddle_proxy::process::runtime()
        .map_err(|why| (1, why))
        .and_then(|runtime| runtime.block_on(life::run(args)));
    match ended {
        Ok(code) => ExitCode::from(code),
        Err((code, why)) => {
            eprintln!("heddle run: {why}");
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names() {
        for (text, expect) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("2m", Some(120_000)),
            ("0s", Some(0)),
            ("61m", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
        ] {
            let found = time(text).ok().map(|time| time.as_millis());
            assert_eq!(found, expect, "{text}");
        }
        for (text, expect) in [
            ("accounts", true),
            ("accounts.bank-1_x", true),
            ("", false),
            (".hidden", false),
            ("a/b", false),
            ("Upper", false),
            ("a-", false),
        ] {
            assert_eq!(service(text).is_ok(), expect, "{text}");
        }
    }
}
