//! Pure. The format of a file of the `files` namer (linkerd's `io.l5d.fs`).
//!
//! One address a line: `host port` or `host port * weight`, separated by white space. `#` starts a comment,
//! blank lines are skipped. One malformed line fails the whole file, so that a slip never halves a replica set
//! in silence.

use heddle_core::config::WrittenEndpoint;
use heddle_core::endpoint::{Endpoint, Locality};
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Size of one file, in bytes; about 100 000 addresses, far beyond any one replica set.
pub(crate) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A line that is not an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong and what is expected.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Reads the text of one file. Addresses that occur twice count once (the first line wins).
pub(crate) fn parse(text: &str) -> Result<Vec<WrittenEndpoint>, Malformed> {
    let mut endpoints = Vec::new();
    let mut places = HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = content.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let endpoint = parse_line(&words).map_err(|what| Malformed {
            line: index + 1,
            what,
        })?;
        if places.insert(place(&endpoint)) {
            endpoints.push(endpoint);
        }
    }
    Ok(endpoints)
}

fn parse_line(words: &[&str]) -> Result<WrittenEndpoint, String> {
    let (host, port, weight) = match words {
        [host, port] => (*host, *port, 1.0),
        [host, port, "*", weight] => (*host, *port, parse_weight(weight)?),
        _ => {
            return Err(format!(
                "expected `host port` or `host port * weight`, found `{}`",
                words.join(" ").chars().take(100).collect::<String>()
            ));
        }
    };
    let port = port
        .parse::<u16>()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("`{port}` is no port; expected a number from 1 to 65535"))?;
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let address = SocketAddr::new(address, port);
        return Ok(WrittenEndpoint::Address(Endpoint {
            weight,
            ..Endpoint::new(address)
        }));
    }
    if !is_host_name(host) {
        return Err(format!("`{host}` is neither an IP address nor a host name"));
    }
    Ok(WrittenEndpoint::Host {
        host: host.to_ascii_lowercase(),
        port,
        weight,
        locality: Locality::default(),
    })
}

fn parse_weight(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|weight| weight.is_finite() && *weight >= 0.0)
        .ok_or_else(|| format!("`{text}` is no weight; expected a number that is not negative"))
}

/// Whether DNS could know it: RFC 1123 labels, with the underscores that service names carry.
pub(crate) fn is_host_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

fn place(endpoint: &WrittenEndpoint) -> (String, u16) {
    match endpoint {
        WrittenEndpoint::Address(endpoint) => {
            (endpoint.address.ip().to_string(), endpoint.address.port())
        }
        WrittenEndpoint::Host { host, port, .. } => (host.clone(), *port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(endpoints: &[WrittenEndpoint]) -> Vec<String> {
        endpoints
            .iter()
            .map(|endpoint| match endpoint {
                WrittenEndpoint::Address(endpoint) => {
                    format!("{} * {}", endpoint.address, endpoint.weight)
                }
                WrittenEndpoint::Host {
                    host, port, weight, ..
                } => format!("{host}:{port} * {weight}"),
            })
            .collect()
    }

    #[test]
    fn reads_addresses_weights_comments_and_blank_lines() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("\n  \n# nobody\n", &[]),
            ("127.0.0.1 80", &["127.0.0.1:80 * 1"]),
            (
                "127.0.0.1 80\r\n127.0.0.2 81\r\n",
                &["127.0.0.1:80 * 1", "127.0.0.2:81 * 1"],
            ),
            ("\t127.0.0.1\t80   # first\n", &["127.0.0.1:80 * 1"]),
            ("127.0.0.1 80 * 2.5", &["127.0.0.1:80 * 2.5"]),
            ("127.0.0.1 80 * 0", &["127.0.0.1:80 * 0"]),
            ("::1 80\n[::2] 80", &["[::1]:80 * 1", "[::2]:80 * 1"]),
            ("Accounts.Example 8080 * 3", &["accounts.example:8080 * 3"]),
            ("_http._tcp.a. 1", &["_http._tcp.a.:1 * 1"]),
            ("127.0.0.1 80 * 2\n127.0.0.1 80 * 9", &["127.0.0.1:80 * 2"]),
        ];
        for (text, expect) in table {
            let endpoints = parse(text).unwrap_or_else(|malformed| panic!("{text:?}: {malformed}"));
            assert_eq!(show(&endpoints), *expect, "{text:?}");
        }
    }

    #[test]
    fn one_malformed_line_fails_the_file_and_says_where() {
        let table = [
            ("127.0.0.1", "line 1: expected `host port`"),
            ("127.0.0.1:80", "line 1: expected `host port`"),
            (
                "127.0.0.1 80\n\n127.0.0.1 81 2",
                "line 3: expected `host port`",
            ),
            ("127.0.0.1 80 * 2 extra", "line 1: expected `host port`"),
            ("127.0.0.1 80 *", "line 1: expected `host port`"),
            ("127.0.0.1 80*2", "line 1: `80*2` is no port"),
            ("127.0.0.1 0", "line 1: `0` is no port"),
            ("127.0.0.1 65536", "line 1: `65536` is no port"),
            ("127.0.0.1 -1", "line 1: `-1` is no port"),
            ("127.0.0.1 80 * -1", "line 1: `-1` is no weight"),
            ("127.0.0.1 80 * NaN", "line 1: `NaN` is no weight"),
            ("127.0.0.1 80 * inf", "line 1: `inf` is no weight"),
            ("a..b 80", "line 1: `a..b` is neither"),
            ("a/b 80", "line 1: `a/b` is neither"),
            ("-a 80", "line 1: `-a` is neither"),
        ];
        for (text, expect) in table {
            let malformed = parse(text).expect_err(text);
            assert!(
                malformed.to_string().starts_with(expect),
                "{text:?}: {malformed}"
            );
        }
    }
}
