//! Under which names the admin server may be asked.
//!
//! A web page may point its own name at this host (DNS rebinding); a browser then lets it read what
//! is answered, as from its own site. But it must send that name as `Host`. So a name that nobody
//! vouched for gets nothing. An address is no name that a page could own.

use http::Request;
use http::header::HOST;
use http::uri::Authority;
use std::net::IpAddr;

/// Whether the request names this server by an address, as `localhost`, or by one of `hosts`.
///
/// A request that names no host comes from no browser, and passes.
pub(super) fn check<B>(
    request: &Request<B>,
    hosts: impl FnOnce() -> Vec<String>,
) -> Result<(), String> {
    let given = match (request.uri().authority(), request.headers().get(HOST)) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().unwrap_or("?"),
        (None, None) => return Ok(()),
    };
    let authority: Option<Authority> = given.parse().ok();
    let host = authority
        .as_ref()
        .map_or("", Authority::host)
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost" || host.ends_with(".localhost");
    if local || address.parse::<IpAddr>().is_ok() || hosts().contains(&host) {
        return Ok(());
    }
    Err(format!(
        "this admin server does not answer to the name {given:?}, which a web page might have pointed here; \
         ask it by its address or as localhost, or add the name to `admin.hosts` in the proxy's configuration"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_vouched_for_are_refused() {
        let cases = [
            (Some("127.0.0.1:9990"), true),
            (Some("[::1]:9990"), true),
            (Some("10.1.2.3"), true),
            (Some("LocalHost:9990"), true),
            (Some("heddle.localhost"), true),
            (Some("proxy.bank:9990"), true),
            (Some("Proxy.Bank."), true),
            (None, true),
            (Some("evil.example"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("localhost.evil.example:9990"), false),
            (Some("admin"), false),
            (Some(""), false),
            (Some("user@evil.example"), false),
        ];
        for (host, passes) in cases {
            let mut request = Request::get("/");
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let result = check(&request.body(()).unwrap(), || vec!["proxy.bank".to_owned()]);
            assert_eq!(result.is_ok(), passes, "{host:?}: {result:?}");
        }
        let absolute = Request::get("http://evil.example/").header(HOST, "localhost");
        assert!(check(&absolute.body(()).unwrap(), Vec::new).is_err());
    }
}
