//! Heads, trailers and lengths that would be another request as HTTP/1.

use crate::frames::{Attacker, DATA, END_HEADERS, END_STREAM, HEADERS, Place, block, frame};
use heddle_e2e::script::eventually;

type Fields = Vec<(&'static str, &'static str)>;

fn with(extra: &[(&'static str, &'static str)]) -> Fields {
    let mut fields = pseudo("GET", "/", "echo");
    fields.extend(extra);
    fields
}

fn pseudo(method: &'static str, path: &'static str, authority: &'static str) -> Fields {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", authority),
        (":path", path),
    ]
}

/// Heads whose fields say what no field may.
fn injections() -> Vec<Fields> {
    let inject = "a\r\n\r\nGET /admin HTTP/1.1\r\nhost: echo\r\n\r\n";
    let values = [
        ("x-note", inject),
        ("x-note", "a\nb: c"),
        ("x-note", "a\rb"),
        ("x-note", "a\0b"),
        ("x-note", "a\u{1}b"),
        ("x-note", "a\u{7f}b"),
        ("x-note", "a\u{b}b"),
        ("x-note", " a"),
        ("x-note", "a "),
        ("x-note", "\ta"),
        ("x-note", "a\t"),
        ("x-note", "\r\n"),
        ("x-note", "\n"),
        ("cookie", "a=b\r\nx: y"),
        ("x\r\nb", "c"),
        ("x: a\r\nb", "c"),
        ("x note", "c"),
        ("x:note", "c"),
        ("x\0note", "c"),
        ("x\tnote", "c"),
        ("x(note)", "c"),
        ("x\u{e9}", "c"),
        ("\u{7f}", "c"),
        (" x", "c"),
        ("x ", "c"),
        ("X-Note", "c"),
        ("x-Note", "c"),
        ("", "c"),
        (":", "c"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", ""),
        ("transfer_encoding", "chunked"),
        ("content_length", "5"),
        ("connection", "close"),
        ("connection", "x-forwarded-for"),
        ("connection", "transfer-encoding"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
        ("te", "chunked"),
        ("te", "trailers, chunked"),
        ("te", "gzip"),
        ("te", ""),
        ("host", "other"),
        ("host", "echo, other"),
        ("host", "echo:81"),
        ("host", "user@echo"),
        ("host", "echo/x"),
        ("host", ""),
        ("host", "echo\r\nx: y"),
        ("content-length", "+0"),
        ("content-length", "-0"),
        ("content-length", "0x10"),
        ("content-length", "00"),
        ("content-length", "0, 0"),
        ("content-length", ""),
        ("content-length", "1 "),
        ("content-length", "18446744073709551616"),
        ("content-length", "9223372036854775808"),
        ("content-length", "5"),
        ("expect", "200-ok"),
        ("expect", "100-continue, 100-continue"),
        ("proxy", "http://evil"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x.forwarded.for", "10.0.0.1"),
        ("heddle_dtab", "/svc=>/#/static/other"),
        ("trailer", "content-length"),
        (":path", "/other"),
        (":method", "POST"),
        (":authority", "other"),
        (":scheme", "https"),
        (":status", "200"),
        (":unknown", "1"),
        (":protocol", "websocket"),
    ];
    let pairs = [
        ("host", "echo"),
        ("content-length", "0"),
        ("authorization", "Bearer a"),
        ("content-type", "text/plain"),
        ("expect", "100-continue"),
    ];
    let values = values.into_iter().map(|field| with(&[field]));
    let twice = pairs.into_iter().map(|field| with(&[field, field]));
    let differing = [
        with(&[("content-length", "1"), ("content-length", "2")]),
        with(&[("host", "echo"), ("host", "other")]),
    ];
    values.chain(twice).chain(differing).collect()
}

/// Methods, paths, authorities and schemes.
fn pseudo_fields() -> Vec<Fields> {
    let methods = [
        "GET\r\nx: y",
        "GET /admin HTTP/1.1\r\n",
        "GET /admin HTTP/1.1\r\nhost: echo\r\n\r\n",
        "G ET",
        "GET ",
        " GET",
        "GET\t",
        "G\0ET",
        "G:ET",
        "G(ET",
        "\u{e9}",
        "",
        "PRI",
        "GETGETGETGETGETGETGETGETGETGETGETGET",
    ];
    let paths = [
        "/ HTTP/1.1\r\nhost: x\r\n\r\nGET /",
        "/ HTTP/1.1",
        "/a b",
        "/a\tb",
        "/a\0",
        "/a\r",
        "/a\nb",
        "/a\u{7f}",
        "/\u{e9}",
        "/a%00",
        "/a%0d%0ab",
        "/a\\b",
        "/a<b",
        "/a>b",
        "/a%",
        "/a%2",
        "/a%zz",
        "/?a=%",
        "/?a=%00",
        "/%2e%2e/b",
        "/a/%2e./b",
        "/..",
        "/../b",
        "/a/../../b",
        "/a/..;/b",
        "/a%2f..%2fb",
        "/%c0%ae%c0%ae/b",
        "/%252e%252e/b",
        "",
        "*",
        "a",
        "?a",
        "//other/%2e%2e",
        "http://other/",
        "http:other",
        "echo:80",
    ];
    let authorities = [
        "user@echo",
        "user:password@echo",
        "@echo",
        "echo\r\nx: y",
        "echo\0",
        "echo/admin",
        "echo?a",
        "echo#a",
        "echo, other",
        "echo other",
        "echo ",
        " echo",
        "echo:",
        "echo:0x50",
        "echo:-1",
        "echo:080",
        "echo:65536",
        "echo:80:80",
        "[::1",
        "::1",
        "[::1]x",
        "127.1",
        "0x7f.1",
        "echo..x",
        ".echo",
        "%65cho",
        "echo\\other",
        "",
    ];
    let schemes = [
        "https",
        "HTTP",
        "HTTPS",
        "gopher",
        "ftp",
        "ws",
        "http:",
        "http://echo/",
        "http\r\nx: y",
        " http",
        "",
    ];
    let heads = methods.map(|method| pseudo(method, "/", "echo"));
    let paths = paths.map(|path| pseudo("GET", path, "echo"));
    let hosts = authorities.map(|authority| pseudo("GET", "/", authority));
    let schemes = schemes.map(|scheme| {
        let mut fields = pseudo("GET", "/", "echo");
        fields[1].1 = scheme;
        fields
    });
    let star = [pseudo("POST", "*", "echo")];
    let mut all: Vec<_> = heads.into_iter().chain(paths).chain(hosts).collect();
    all.extend(schemes.into_iter().chain(star));
    all
}

/// Pseudo fields that are missing, too many, or not where they belong.
fn incomplete() -> Vec<Fields> {
    let field = |name, value| vec![(name, value)];
    let (method, scheme) = ((":method", "GET"), (":scheme", "http"));
    let (authority, path) = ((":authority", "echo"), (":path", "/"));
    let connect = (":method", "CONNECT");
    vec![
        Vec::new(),
        field(":method", "GET"),
        vec![method, scheme, path],
        vec![scheme, authority, path],
        vec![method, authority, path],
        vec![method, scheme, authority],
        vec![method, scheme, ("x-a", "b"), authority, path],
        vec![("x-a", "b"), method, scheme, authority, path],
        vec![method, method, scheme, authority, path],
        vec![method, scheme, authority, path, path],
        vec![method, scheme, authority, authority, path],
        vec![method, scheme, scheme, authority, path],
        vec![method, scheme, path, ("host", "")],
        vec![method, scheme, path, ("host", "echo"), ("host", "echo")],
        vec![connect],
        vec![connect, authority],
        vec![connect, (":authority", "echo:80"), scheme],
        vec![connect, (":authority", "echo:80"), path],
        vec![connect, (":authority", "echo:80"), scheme, path],
        vec![connect, (":authority", "echo:80")],
        vec![connect, (":authority", "127.0.0.1:22")],
        vec![connect, (":protocol", "websocket"), scheme, authority, path],
        vec![method, (":protocol", "websocket"), scheme, authority, path],
    ]
}

#[test]
fn nothing_is_injected_on_the_way_down_to_http1() {
    let place = Place::new();
    let before = place.echo.requests();
    for fields in [injections(), pseudo_fields(), incomplete()].concat() {
        let refusals = place.all_refusals();
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.send(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block(&fields),
        ));
        let seen = attacker.answer(1);
        let refused = seen
            .status(1)
            .is_some_and(|status| (400..600).contains(&status));
        assert!(
            refused || seen.is_reset(1) || seen.goaway().is_some(),
            "{fields:?}: {seen:?}"
        );
        assert_eq!(
            place.echo.requests(),
            before,
            "{fields:?} reached the service"
        );
        let status = seen.status(1);
        eventually(&format!("{fields:?} is counted"), || {
            place.all_refusals() > refusals || status == Some(501)
        });
    }
    place.is_well();
}

/// Where the head can be read, it is answered as HTTP/1's is, and counted under the same reason.
#[test]
fn refused_heads_have_http1s_answers_and_reasons() {
    let table: [(Fields, u16, &str); 16] = [
        (pseudo("PRI", "/", "echo"), 400, "request-line"),
        (pseudo("GET", "/a\\b", "echo"), 400, "target"),
        (pseudo("POST", "*", "echo"), 400, "target"),
        (pseudo("GET", "/", "user@echo"), 400, "host"),
        (with(&[("host", "other")]), 400, "host"),
        (with(&[("x_forwarded_for", "a")]), 400, "name"),
        (with(&[("proxy", "a")]), 400, "name"),
        (with(&[("x-note", " a")]), 400, "value"),
        (with(&[("content-length", "00")]), 400, "framing"),
        (with(&[("expect", "a")]), 417, "expectation"),
        (
            with(&[("authorization", "a"), ("authorization", "b")]),
            400,
            "duplicate",
        ),
        (with(&[("trailer", "host")]), 400, "trailers"),
        (with(&[("cookie", "a=b"); 101]), 431, "size"),
        (with(&[("x-note", "a\nb")]), 0, "h2-connection-error"),
        (with(&[("connection", "close")]), 0, "h2-malformed"),
        (with(&[("content-length", "5")]), 0, "h2-malformed"),
    ];
    for (fields, status, reason) in table {
        let place = Place::new();
        let mut attacker = Attacker::connect(&place.proxy);
        let head = block(&fields);
        attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
        let seen = attacker.answer(1);
        let found = seen.status(1).unwrap_or(0);
        assert_eq!(found, status, "{fields:?}: {seen:?}");
        eventually(&format!("{fields:?} counts as {reason}"), || {
            place.refused(reason)
        });
        assert_eq!(place.all_refusals(), 1, "{fields:?} is counted once");
    }
}

/// What is odd but has one meaning is served, and that meaning is what arrives.
#[test]
fn what_has_one_meaning_arrives_with_it() {
    let place = Place::new();
    let crumbs = with(&[
        ("cookie", "a=b"),
        ("x-a", "1"),
        ("cookie", "c=d"),
        ("cookie", ""),
    ]);
    let cases: [(Fields, &str); 8] = [
        (crumbs, r#"["cookie","a=b"]"#),
        (with(&[("te", "trailers")]), r#"["te","trailers"]"#),
        (with(&[("host", "ECHO:80")]), r#""authority":"echo""#),
        (with(&[("x-a", "1"), ("x-a", "2")]), r#"["x-a","2"]"#),
        (with(&[("content-length", "0")]), r#""bodyBytes":0"#),
        (
            pseudo("GET", "/a?b=c&d=%23", "echo"),
            r#""target":"/a?b=c&d=%23""#,
        ),
        (
            pseudo("GET", "/a/./b//c", "echo"),
            r#""target":"/a/./b//c""#,
        ),
        (pseudo("QUERY", "/", "echo"), r#""method":"QUERY""#),
    ];
    for (fields, expected) in cases {
        let mut attacker = Attacker::connect(&place.proxy);
        let head = block(&fields);
        attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
        attacker.read_until(|seen| seen.has_ended(1) || seen.goaway().is_some());
        let body = attacker.seen.body(1);
        assert!(body.contains(expected), "{fields:?}: {body}");
    }
    assert_eq!(place.all_refusals(), 0);
}

#[test]
fn more_fields_than_the_limit_are_refused_though_each_is_a_crumb() {
    let place = Place::new();
    let before = place.echo.requests();
    let mut attacker = Attacker::connect(&place.proxy);
    let fields = with(&[("cookie", "a=b"); 101]);
    attacker.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block(&fields),
    ));
    assert_ne!(attacker.answer(1).status(1), Some(200));
    assert_eq!(place.echo.requests(), before);
    place.is_well();
}

#[test]
fn trailers_do_not_change_the_head() {
    let place = Place::new();
    let cases = [
        ("content-length", "3"),
        ("host", "other"),
        ("transfer-encoding", "chunked"),
        ("authorization", "Bearer x"),
        ("cookie", "a=b"),
        ("te", "trailers"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "10.0.0.1"),
        ("content-type", "text/html"),
        ("set-cookie", "a=b"),
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("trailer", "x-a"),
        ("heddle-dtab", "/svc=>/#/static/other"),
        ("l5d-dtab", "/svc=>/#/static/other"),
        ("traceparent", "00-0-0-00"),
        ("expect", "100-continue"),
        ("if-match", "a"),
        ("proxy-authorization", "a"),
        ("x-note", "a\r\nb"),
        ("X-Note", "a"),
        ("", "a"),
    ];
    for (name, value) in cases {
        let mut attacker = Attacker::connect(&place.proxy);
        let mut bytes = frame(
            HEADERS,
            END_HEADERS,
            1,
            &block(&pseudo("POST", "/", "echo")),
        );
        bytes.extend(frame(DATA, 0, 1, b"body"));
        bytes.extend(frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block(&[(name, value)]),
        ));
        let refusals = place.all_refusals();
        attacker.send(&bytes);
        let seen = attacker.answer(1);
        assert!(
            seen.status(1) == Some(400) || seen.is_reset(1) || seen.goaway().is_some(),
            "{name}: {seen:?}"
        );
        eventually(&format!("{name} is counted"), || {
            place.all_refusals() > refusals
        });
    }
    place.is_well();
}

#[test]
fn more_trailers_than_anybody_has_are_refused() {
    let place = Place::new();
    for (count, status) in [(100, 200), (101, 431)] {
        let mut attacker = Attacker::connect(&place.proxy);
        let post = block(&pseudo("POST", "/", "echo"));
        let trailers = block(&vec![("x-a", "b"); count]);
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &post);
        bytes.extend(frame(DATA, 0, 1, b"body"));
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
        attacker.send(&bytes);
        assert_eq!(attacker.answer(1).status(1), Some(status), "{count}");
    }
    assert!(place.refused("trailers"));
    place.is_well();
}

#[test]
fn a_body_of_another_length_resets_its_stream() {
    let place = Place::new();
    for (length, body) in [("5", &b"abc"[..]), ("3", b"abcde"), ("0", b"a")] {
        let mut attacker = Attacker::connect(&place.proxy);
        let mut fields = pseudo("POST", "/", "echo");
        fields.push(("content-length", length));
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        bytes.extend(frame(DATA, END_STREAM, 1, body));
        attacker.send(&bytes);
        let seen = attacker.answer(1);
        assert!(
            seen.is_reset(1) || seen.goaway().is_some(),
            "content-length {length} with {} bytes: {seen:?}",
            body.len()
        );
        place.is_well();
    }
}
