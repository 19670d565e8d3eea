//! Tables: requests and the names they get.

use super::{HOST_MAX, Identified, RequestView, consume_path, host_name, identify, identify_first};
use crate::config::Identifier;
use crate::name::Path;

/// A request to a target, with an authority and headers.
struct Request {
    target: &'static str,
    authority: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
    http10: bool,
}

impl RequestView for Request {
    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    fn http10(&self) -> bool {
        self.http10
    }

    fn authority(&self) -> Option<&str> {
        self.authority
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers_all(name).first().copied()
    }

    fn headers_all(&self, name: &str) -> Vec<&[u8]> {
        self.headers
            .iter()
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value.as_bytes())
            .collect()
    }
}

fn to(target: &'static str) -> Request {
    Request {
        target,
        authority: Some("Web:8080"),
        headers: Vec::new(),
        http10: false,
    }
}

fn with(headers: &[(&'static str, &'static str)]) -> Request {
    Request {
        headers: headers.to_vec(),
        ..to("/")
    }
}

fn shown(identified: Identified) -> String {
    match identified {
        Identified::Name {
            path,
            consumed_segments: 0,
        } => path.to_string(),
        Identified::Name {
            path,
            consumed_segments,
        } => format!("{path} -{consumed_segments}"),
        Identified::Unidentified => "none".to_owned(),
        Identified::Bad(_) => "bad".to_owned(),
    }
}

#[test]
fn each_identifier_makes_its_name() {
    let header = || Identifier::Header("x-name".to_owned());
    let token = |name: &str| Identifier::HeaderToken(name.to_owned());
    let segments = |segments, consume| Identifier::Path { segments, consume };
    let method_host = |uri| Identifier::MethodHost { uri };
    let no_host = || Request {
        authority: None,
        ..to("/a/b")
    };
    let old = || Request {
        http10: true,
        ..no_host()
    };
    let cases = [
        (Identifier::Host, to("/"), "/svc/web:8080"),
        (Identifier::Host, no_host(), "none"),
        (
            Identifier::Host,
            Request {
                authority: Some("a b"),
                ..to("/")
            },
            "bad",
        ),
        (header(), with(&[("x-name", "/a/b")]), "/svc/a/b"),
        (header(), with(&[("x-name", " /a ")]), "/svc/a"),
        (header(), with(&[("x-name", "a")]), "bad"),
        (header(), with(&[("x-name", "")]), "none"),
        (header(), with(&[]), "none"),
        (
            header(),
            with(&[("x-name", "/a"), ("x-name", "/a")]),
            "/svc/a",
        ),
        (header(), with(&[("x-name", "/a"), ("x-name", "/b")]), "bad"),
        (
            token("x-name"),
            with(&[("x-name", "A/b")]),
            "/svc/\\x41\\x2f\\x62",
        ),
        (token("host"), to("/"), "/svc/Web:8080"),
        (token("host"), no_host(), "none"),
        (segments(1, false), to("/a/b?c/d"), "/svc/a"),
        (segments(2, true), to("/a/b/c"), "/svc/a/b -2"),
        (segments(2, true), to("/a/"), "none"),
        (segments(1, false), to("/"), "none"),
        (segments(1, false), to("*"), "none"),
        (segments(2, false), to("//a"), "bad"),
        (method_host(false), to("/a"), "/svc/1.1/GET/web:8080"),
        (method_host(true), to("/a/b?c"), "/svc/1.1/GET/web:8080/a/b"),
        (method_host(true), to("/a/"), "bad"),
        (method_host(false), no_host(), "none"),
        (method_host(true), old(), "/svc/1.0/GET/a/b"),
        (Identifier::Static("a/b".to_owned()), to("/"), "/svc/a/b"),
        (Identifier::Static("a//b".to_owned()), to("/"), "bad"),
    ];
    for (identifier, request, expected) in cases {
        let identified = identify(&identifier, &request);
        assert_eq!(
            shown(identified),
            expected,
            "{identifier:?} of {}",
            request.target
        );
    }
}

#[test]
fn the_first_that_identifies_wins_and_a_bad_one_stops() {
    let both = [Identifier::Header("x-name".to_owned()), Identifier::Host];
    let cases = [
        (vec![], "/svc/web:8080"),
        (vec![("x-name", "/a")], "/svc/a"),
        (vec![("x-name", "?")], "bad"),
    ];
    for (headers, expected) in cases {
        assert_eq!(shown(identify_first(&both, &with(&headers))), expected);
    }
    assert_eq!(identify_first(&[], &to("/")), Identified::Unidentified);
}

#[test]
fn hosts_have_one_form_and_the_odd_ones_none() {
    let cases = [
        ("Web", Some("web")),
        ("web.", Some("web")),
        ("web.:443", Some("web")),
        ("web:80", Some("web")),
        ("web:0080", Some("web")),
        ("web:8080", Some("web:8080")),
        ("web:", Some("web")),
        ("10.0.0.1:80", Some("10.0.0.1")),
        ("[::1]", Some("[::1]")),
        ("[0:0:0:0:0:0:0:1]:80", Some("[::1]")),
        ("[::1", None),
        ("[::1]x", None),
        ("[fe80::1%25eth0]", None),
        ("::1", None),
        ("", None),
        (".", None),
        (":80", None),
        ("a..b", None),
        (".a", None),
        ("web:0", None),
        ("web:65536", None),
        ("web:+80", None),
        ("web:80:80", None),
        ("user@web", None),
        ("web/x", None),
        ("web,other", None),
        ("web%2f", None),
        ("wéb", None),
        ("a b", None),
        ("a\r\nb", None),
    ];
    for (authority, expected) in cases {
        assert_eq!(host_name(authority).as_deref(), expected, "{authority:?}");
    }
    assert!(host_name(&"a".repeat(HOST_MAX)).is_some());
    assert!(host_name(&"a".repeat(HOST_MAX + 1)).is_none());
}

#[test]
fn consuming_keeps_the_slash_and_the_query() {
    let cases = [
        ("/a/b", 1, "/b"),
        ("/a/b/", 2, "/"),
        ("/a/b/c/", 2, "/c/"),
        ("/a?x=/y/", 1, "/?x=/y/"),
        ("/a/b?x=/", 1, "/b?x=/"),
        ("/a", 3, "/"),
        ("/a//b", 1, "//b"),
        ("/a/", 0, "/a/"),
    ];
    for (target, segments, expected) in cases {
        assert_eq!(
            consume_path(target, segments),
            expected,
            "{target} without {segments}"
        );
    }
}

#[test]
fn names_of_any_bytes_survive() {
    let request = with(&[("x-name", "\\\u{1}")]);
    let identified = identify(&Identifier::HeaderToken("x-name".to_owned()), &request);
    let expected = Path::from_elements([&b"svc"[..], b"\\\x01"]).unwrap();
    assert_eq!(
        identified,
        Identified::Name {
            path: expected,
            consumed_segments: 0
        }
    );
}
