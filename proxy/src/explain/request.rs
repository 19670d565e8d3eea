//! The request that is to be explained.

use heddle_core::identify::RequestView;
use heddle_core::name::Dtab;
use http::Uri;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A request as someone describes it: a method, a URL, headers, and where it arrives.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name of the listener it comes to; `None`: the first outbound one, else the first.
    pub listener: Option<String>,
    /// Address of the caller; loopback unless set.
    pub peer: IpAddr,
    /// The logical name or other path, when identification is to be left out.
    pub name: Option<heddle_core::name::Path>,
    pub(super) method: String,
    pub(super) uri: Uri,
    pub(super) headers: Vec<(String, String)>,
    pub(super) dtab: Option<Dtab>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "name {name}"),
            None => write!(f, "{} {}", self.method, self.uri),
        }
    }
}

impl Request {
    /// A request without headers. The URL may leave out `http://`; `/path` alone needs a `host` header.
    ///
    /// # Errors
    /// What is wrong with the method or the URL, for people.
    ///
    /// ```
    /// use heddle_proxy::explain::Request;
    /// assert!(Request::new("GET", "http://accounts/v1?x=1").is_ok());
    /// assert!(Request::new("GET", "accounts:8080/v1").is_ok());
    /// assert!(Request::new("GET", "http://").is_err());
    /// ```
    pub fn new(method: &str, url: &str) -> Result<Self, String> {
        http::Method::from_bytes(method.as_bytes())
            .map_err(|_| format!("{method:?} is not an HTTP method"))?;
        let whole = if url.starts_with('/') || url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let wrong =
            |why: &str| format!("{url:?} is not a URL: {why}; write it as http://service/path");
        let uri: Uri = whole
            .parse()
            .map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
            return Err(wrong("the scheme must be http or https"));
        }
        Ok(Self {
            listener: None,
            peer: Ipv4Addr::LOCALHOST.into(),
            name: None,
            method: method.to_owned(),
            uri,
            headers: Vec::new(),
            dtab: None,
        })
    }

    /// Adds a header, written `name: value`.
    ///
    /// # Errors
    /// When it is not of that form, or could not be sent.
    pub fn add_header(&mut self, line: &str) -> Result<(), String> {
        let wrong =
            |why: &str| format!("{line:?} is not a header: {why}; write it as 'name: value'");
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| wrong("there is no colon"))?;
        let (name, value) = (name.trim(), value.trim());
        http::HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong("the name is empty or has a bad character"))?;
        http::HeaderValue::from_str(value)
            .map_err(|_| wrong("the value has a control character"))?;
        self.headers
            .push((name.to_ascii_lowercase(), value.to_owned()));
        Ok(())
    }

    /// Adds dentries behind all others, as a trial, whatever the listener accepts.
    ///
    /// # Errors
    /// When the text is not a dtab, with the place.
    pub fn set_dtab(&mut self, text: &str) -> Result<(), String> {
        let dtab =
            Dtab::parse(text).map_err(|error| format!("the dtab {text:?} is wrong: {error}"))?;
        self.dtab = Some(dtab);
        Ok(())
    }

    /// The same request for another path and query.
    pub(super) fn to_target(&self, target: &str) -> Result<Self, String> {
        let mut parts = self.uri.clone().into_parts();
        let wrong = |why: String| format!("{target:?} cannot be the path of a request: {why}");
        parts.path_and_query = Some(
            target
                .try_into()
                .map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?,
        );
        let uri = Uri::from_parts(parts).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            uri,
            ..self.clone()
        })
    }

    /// Path and query, as they would be on the request line.
    pub(super) fn target(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str)
    }
}

impl RequestView for Request {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        self.uri.path()
    }

    fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    fn http10(&self) -> bool {
        false
    }

    /// A `host` header given by hand stands in for the URL's host, as with curl.
    fn authority(&self) -> Option<&str> {
        let given = self
            .headers
            .iter()
            .find(|(name, _)| name == "host")
            .map(|(_, value)| value.as_str());
        given.or_else(|| self.uri.authority().map(http::uri::Authority::as_str))
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        if name.eq_ignore_ascii_case("host") {
            return self.authority().map(str::as_bytes);
        }
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_bytes())
    }

    fn headers_all(&self, name: &str) -> Vec<&[u8]> {
        if name.eq_ignore_ascii_case("host") {
            return self.header(name).into_iter().collect();
        }
        let named = self
            .headers
            .iter()
            .filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_bytes()).collect()
    }
}
