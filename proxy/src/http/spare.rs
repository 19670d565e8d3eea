//! Copies of heads, for the few requests that go out twice.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri, Version};

/// A head in the cheapest form to copy: fields in a row, in a buffer that is used again.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Spare {
    /// Becomes a copy of `head`, without its extensions.
    pub(crate) fn copy(&mut self, head: &Parts) {
        self.method = head.method.clone();
        self.uri = head.uri.clone();
        self.version = head.version;
        self.fields.clear();
        let fields = head.headers.iter();
        self.fields
            .extend(fields.map(|(name, value)| (name.clone(), value.clone())));
    }

    /// Makes `head` what was copied.
    pub(crate) fn put_back(&self, head: &mut Parts) {
        head.method = self.method.clone();
        head.uri = self.uri.clone();
        head.version = self.version;
        head.headers.clear();
        for (name, value) in &self.fields {
            head.headers.append(name.clone(), value.clone());
        }
    }

    /// Forgets the head, and keeps the buffer.
    pub(crate) fn clear(&mut self) {
        self.fields.clear();
        self.uri = Uri::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    #[test]
    fn gives_back_what_was_copied() {
        let request = Request::post("/a?b=c")
            .header("host", "web")
            .header("x-list", "1")
            .header("x-list", "2")
            .body(());
        let (head, ()) = request.expect("a request").into_parts();
        let mut spare = Spare::default();
        spare.copy(&head);
        let (mut other, ()) = Request::new(()).into_parts();
        other
            .headers
            .insert("x-left", HeaderValue::from_static("over"));
        spare.put_back(&mut other);
        assert_eq!(
            (other.method, other.uri, other.version, other.headers),
            (head.method, head.uri, head.version, head.headers)
        );
    }
}
