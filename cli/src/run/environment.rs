//! What the program is told by its environment: where to listen, and how to reach others.
//!
//! Pure: the environment that there is already is an argument.

use std::net::SocketAddr;

/// What always is reached directly.
const DIRECT: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the proxy is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// Where calls of the program go.
    pub(super) outbound: SocketAddr,
    /// The admin server.
    pub(super) admin: SocketAddr,
    /// Where the program is to listen.
    pub(super) port: Option<u16>,
}

/// Variables to set, and with `None` to remove.
///
/// `HTTP_PROXY` in upper case is removed and never set: a CGI program gets the header `Proxy` of any
/// caller under that name ("httpoxy", CVE-2016-5385), every runtime below reads the lower-case one,
/// and those that read both prefer the upper-case one, so that an inherited one would win.
pub(super) fn variables(
    places: &Places,
    existing: &dyn Fn(&str) -> Option<String>,
) -> Vec<(&'static str, Option<String>)> {
    let proxy = format!("http://{}", places.outbound);
    let direct = direct(existing);
    let mut variables = vec![
        // curl, Python (urllib, requests, httpx), Go, Ruby, .NET, PHP with Guzzle.
        ("http_proxy", Some(proxy.clone())),
        ("HTTP_PROXY", None),
        // gRPC's C core (C++, Python, Ruby, PHP) prefers this one; it speaks CONNECT to it.
        ("grpc_proxy", Some(proxy.clone())),
        // Which of the two spellings is read differs.
        ("no_proxy", Some(direct.clone())),
        ("NO_PROXY", Some(direct)),
        // Node from 22.21 and 24.5 on: makes fetch and http read `http_proxy`.
        ("NODE_USE_ENV_PROXY", Some("1".to_owned())),
        // Every JVM reads this one, whoever starts it.
        ("JAVA_TOOL_OPTIONS", Some(java(places.outbound, existing))),
        ("HEDDLE_OUTBOUND", Some(proxy)),
        ("HEDDLE_ADMIN", Some(format!("http://{}", places.admin))),
    ];
    if let Some(port) = places.port {
        variables.push(("PORT", Some(port.to_string())));
    }
    variables
}

/// What is direct already, and loopback.
fn direct(existing: &dyn Fn(&str) -> Option<String>) -> String {
    let before = existing("no_proxy").or_else(|| existing("NO_PROXY"));
    let before = before.unwrap_or_default();
    let mut all: Vec<&str> = before.split(',').map(str::trim).collect();
    all.retain(|name| !name.is_empty());
    for name in DIRECT {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all.join(",")
}

/// A JVM has no environment variable for a proxy, but one for its options.
fn java(outbound: SocketAddr, existing: &dyn Fn(&str) -> Option<String>) -> String {
    let own = format!(
        "-Dhttp.proxyHost={} -Dhttp.proxyPort={} -Dhttp.nonProxyHosts=localhost|127.*|[::1]",
        outbound.ip(),
        outbound.port()
    );
    match existing("JAVA_TOOL_OPTIONS").filter(|options| !options.is_empty()) {
        Some(options) => format!("{options} {own}"),
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Existing<'a> = &'a [(&'a str, &'a str)];

    fn of(existing: Existing<'_>, name: &str) -> Option<String> {
        let places = Places {
            outbound: "127.0.0.1:4140".parse().unwrap(),
            admin: "127.0.0.1:9990".parse().unwrap(),
            port: Some(9001),
        };
        let known = |name: &str| {
            let found = existing.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let variables = variables(&places, &known);
        let found = variables.into_iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("{name} is missing")).1
    }

    #[test]
    fn every_runtime_is_told() {
        let java = "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=4140 -Dhttp.nonProxyHosts=localhost|127.*|[::1]";
        let after = format!("-Xmx1g {java}");
        let table: &[(Existing<'_>, &str, Option<&str>)] = &[
            (&[], "PORT", Some("9001")),
            (
                &[("http_proxy", "x")],
                "http_proxy",
                Some("http://127.0.0.1:4140"),
            ),
            (&[("HTTP_PROXY", "x")], "HTTP_PROXY", None),
            (&[], "no_proxy", Some("localhost,127.0.0.1,::1")),
            (
                &[("NO_PROXY", "a, ::1,")],
                "no_proxy",
                Some("a,::1,localhost,127.0.0.1"),
            ),
            (
                &[("no_proxy", "b"), ("NO_PROXY", "a")],
                "NO_PROXY",
                Some("b,localhost,127.0.0.1,::1"),
            ),
            (&[], "JAVA_TOOL_OPTIONS", Some(java)),
            (
                &[("JAVA_TOOL_OPTIONS", "-Xmx1g")],
                "JAVA_TOOL_OPTIONS",
                Some(&after),
            ),
            (&[], "HEDDLE_ADMIN", Some("http://127.0.0.1:9990")),
        ];
        for (existing, name, expect) in table {
            assert_eq!(
                of(existing, name).as_deref(),
                *expect,
                "{name} {existing:?}"
            );
        }
    }
}
