//! A request's head as the core sees it.

use heddle_core::identify::RequestView;
use http::request::Parts;

/// Borrows a head for identification and matching.
#[derive(Debug)]
pub(crate) struct HeadView<'a>(pub(crate) &'a Parts);

impl RequestView for HeadView<'_> {
    fn method(&self) -> &str {
        self.0.method.as_str()
    }

    fn path(&self) -> &str {
        self.0.uri.path()
    }

    fn query(&self) -> Option<&str> {
        self.0.uri.query()
    }

    fn http10(&self) -> bool {
        self.0.version == http::Version::HTTP_10
    }

    fn authority(&self) -> Option<&str> {
        authority(self.0)
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.headers.get(name).map(http::HeaderValue::as_bytes)
    }

    fn headers_all(&self, name: &str) -> Vec<&[u8]> {
        self.0
            .headers
            .get_all(name)
            .iter()
            .map(http::HeaderValue::as_bytes)
            .collect()
    }
}

/// The authority that a request names: `:authority` or an absolute target first, then `Host`
/// (RFC 9112 section 3.2.2).
pub(crate) fn authority(parts: &Parts) -> Option<&str> {
    if let Some(authority) = parts.uri.authority() {
        return Some(authority.as_str());
    }
    parts
        .headers
        .get(http::header::HOST)?
        .to_str()
        .ok()
        .filter(|host| !host.is_empty())
}
