use super::*;
use crate::random::{Rng, Xoshiro};

const LIMITS: Limits = Limits {
    header_bytes: 65_536,
    header_count: 100,
};

/// What came of a connection's bytes: those handed on, the heads among them, and a refusal.
type Outcome = (Vec<u8>, u64, Option<Refusal>);

/// Shows a scanner `bytes` in pieces whose lengths `piece` says. An upgrade is declined.
fn run(bytes: &[u8], mut piece: impl FnMut() -> usize) -> Outcome {
    let mut scanner = Scanner::new(LIMITS);
    let (mut passed, mut shown) = (0, 0);
    while shown < bytes.len() {
        shown = (shown + piece().max(1)).min(bytes.len());
        loop {
            match scanner.scan(&bytes[passed..shown]) {
                Step::Pass(more) => passed += more,
                Step::Refuse(more, refusal) => {
                    passed += more;
                    return (bytes[..passed].to_vec(), scanner.heads(), Some(refusal));
                }
            }
            if !scanner.is_asked() {
                break;
            }
            scanner.decide(false);
        }
    }
    (bytes[..passed].to_vec(), scanner.heads(), None)
}

fn whole(bytes: &[u8]) -> Outcome {
    run(bytes, || usize::MAX / 2)
}

/// A request with these field lines beside a good Host.
fn with(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn refused(reason: &str, status: u16, message: impl AsRef<[u8]>) {
    let message = message.as_ref();
    let (_, heads, refusal) = whole(message);
    let shown = message.escape_ascii().to_string();
    let shown = &shown[..shown.len().min(300)];
    let refusal = refusal.unwrap_or_else(|| panic!("passed: {shown}"));
    assert_eq!(
        (refusal.reason, refusal.status),
        (reason, status),
        "{shown}"
    );
    assert!(heads <= 1, "{shown}");
}

fn passes(message: impl AsRef<[u8]>) {
    let message = message.as_ref();
    let (passed, heads, refusal) = whole(message);
    assert_eq!(refusal, None, "{}", message.escape_ascii());
    assert_eq!(
        (passed.len(), heads),
        (message.len(), 1),
        "{}",
        message.escape_ascii()
    );
}

#[test]
fn request_lines() {
    for line in [
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET /",
        "GET",
        "GET / http/1.1",
        "GET / HTTP/1.1.1",
        "GET / HTTP/11",
        "GET / HTTP/1,1",
        "GET / HTTPS/1.1",
        "G@T / HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "(GET) / HTTP/1.1",
        " / HTTP/1.1",
        ": / HTTP/1.1",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHI / HTTP/1.1",
    ] {
        let message = format!("{line}\r\nHost: a\r\n\r\n");
        let reason = whole(message.as_bytes()).2.map(|refusal| refusal.reason);
        assert!(
            matches!(reason, Some("request-line" | "target")),
            "{line} {reason:?}"
        );
    }
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/9.9"] {
        refused(
            "version",
            505,
            format!("GET / {version}\r\nHost: a\r\n\r\n"),
        );
    }
    refused("request-line", 400, "PRI * HTTP/2\r\n\r\n");
    passes("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(
        "request-line",
        400,
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    passes("GET / HTTP/1.0\r\n\r\n");
    passes("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn line_ends() {
    for message in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
    ] {
        refused("line-end", 400, message);
    }
    for value in ["a\rb", "a\0b", "a\x0bb", "\x7f", "a\x1b[1m", "a\r"] {
        refused("value", 400, with(&format!("X: {value}\r\n")));
    }
    for line in ["GET /\rx HTTP/1.1", "GET /\0 HTTP/1.1"] {
        refused("target", 400, format!("{line}\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn targets() {
    for target in [
        "x",
        "a/b",
        "?x",
        "gopher://a/",
        "ftp://a/",
        "http:/a",
        "http:a",
        "https:",
        "//x\\y",
        "/#",
        "/a#b",
        "/?a#b",
        "/\\",
        "/a\\..\\b",
        "/%",
        "/%4",
        "/%zz",
        "/?%",
        "/?q=%4g",
        "/%00",
        "/a%00.txt",
        "/?q=%00",
        "/%0d%0aX:1",
        "/%0A",
        "/%7f",
        "/\u{fc}",
        "/?\u{fc}",
        "/\x7f",
        "/\x01",
        "/..",
        "/../",
        "/../etc",
        "/a/../..",
        "/a/../../b",
        "//..",
        "/./..",
        "/%2e",
        "/%2e/",
        "/a/%2e%2e/b",
        "/a/.%2e",
        "/a/%2E./b",
        "/a/..%2fb",
        "/a%2f..",
        "/a%2f../b",
        "/a/..%5cb",
        "/a/..;/b",
        "/a/..;x=1/b",
        "/a/.;/b",
        "/a/%2e%2e;/b",
        "/a/%252e%252e/b",
        "/a/%252E./b",
        "/a/..%252fb",
        "/%c0%ae%c0%ae/",
        "/a/%c0%afb",
        "/%e0%80%af",
        "/%f0%80%80%af",
        "/<a>",
        "/`id`",
        "*",
        "/?<",
        "/?a=\\",
    ] {
        refused(
            "target",
            400,
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        );
    }
    for target in [
        "/",
        "//",
        "/a//b",
        "/a/../c",
        "/a//b/../c",
        "/a/./b",
        "/.",
        "/.well-known/x",
        "/...",
        "/..a",
        "/a..",
        "/%7Euser/a%2Fb",
        "/%C3%BC",
        "/a%20b",
        "/a;x=1",
        "/?a=..",
        "/?a=%2e%2e",
        "/?u=/../",
        "/?a=b?c",
        "/?q=[1]|{2}'^`",
        "/a|b",
        "/%25",
        "/%2525",
        "/@a:b",
        "/a,b!$&'()*+=",
        "/?x=%0D%0A",
        "/%C0",
        "/a.b%2e",
        "/%2e%2ea",
    ] {
        passes(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for (target, host) in [
        ("http://a/", "a"),
        ("HTTP://A", "a"),
        ("http://a:80/", "a"),
        ("https://a/x?y", "a:443"),
        ("http://a?x", "A."),
        ("http://[::1]:8/", "[::1]:8"),
    ] {
        passes(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    passes("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    for target in [
        "/",
        "a",
        "a:",
        "a:0",
        "a:65536",
        "u@a:1",
        "http://a:1",
        "*",
        "a:1/",
        ":1",
    ] {
        refused(
            "target",
            400,
            format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        );
    }
    passes("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n");
    passes("CONNECT a:1 HTTP/1.0\r\n\r\n");
}

#[test]
fn hosts() {
    for host in [
        "",
        " ",
        "a b",
        "a,b",
        "a, a",
        "u@a",
        "u:p@a",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "a:",
        "a:x",
        "a:0",
        "a:080",
        "a:65536",
        "a:1:2",
        ":80",
        "http://a",
        "[::1",
        "::1",
        "[::1]x",
        "[::g]",
        "[a]",
        "[]",
        "[fe80::1%25eth0]",
        ".",
        "..",
        "a..b",
        ".a",
        "a%41",
        "a<b",
        "a\"",
        "a;b",
        "a'b",
        "a(b",
        "a=b",
        "127.1",
        "10.0.0.256",
        "1.2.3.4.5",
        "0x7f.0.0.0x1",
        "01.2.3.4",
        "a\tb",
        "\u{e4}",
    ] {
        refused(
            "host",
            400,
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        );
    }
    refused("host", 400, "GET / HTTP/1.1\r\n\r\n");
    for fields in ["Host: a\r\n", "host: a\r\n", "HOST: b\r\n", "Host:\r\n"] {
        refused("host", 400, with(fields));
    }
    for (target, host) in [
        ("http://a/", "b"),
        ("http://a:81/", "a"),
        ("http://a/", "a:443"),
        ("https://a/", "a:80"),
        ("http://a.b/", "a"),
        ("http://u@a/", "a"),
        ("http:///x", "a"),
        ("http://?x", "a"),
        ("http://a:/", "a"),
        ("http://a b/", "a"),
        ("http://[::1]/", "[::2]"),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let reason = whole(bytes.as_bytes()).2.map(|refusal| refusal.reason);
        assert!(
            matches!(reason, Some("host" | "target")),
            "{target} {host} {reason:?}"
        );
    }
    refused("host", 400, "CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n");
    refused("host", 400, "CONNECT a:1 HTTP/1.1\r\nHost: a:2\r\n\r\n");
    for host in [
        "a",
        "A.b-c_d",
        "a.",
        "a:1",
        "a:65535",
        "[::1]",
        "[::ffff:1.2.3.4]:80",
        "1.2.3.4:5",
        "7",
        "\ta\t",
    ] {
        passes(format!("GET / HTTP/1.1\r\nHost:{host}\r\n\r\n"));
    }
}

#[test]
fn names() {
    for line in [
        ": x",
        "X : x",
        "X\t: x",
        "X Y: x",
        "X",
        "X\0: x",
        "X\r: x",
        "\u{e4}: x",
        "X(a): x",
        "\"X\": x",
        "X/y: x",
        "{x}: y",
        "X[0]: x",
        "X@: y",
        "Host\x0b: b",
        ":path: /",
        "Proxy: http://evil/",
        "content_length: 5",
        "Transfer_Encoding: chunked",
        "transfer.encoding: chunked",
        "Content~Length: 1",
        "x_forwarded_for: 1.2.3.4",
        "X-Forwarded_For: 1.2.3.4",
        "x_forwarded-host: a",
        "heddle_context: x",
        "l5d_dtab: x",
        "set_cookie: a",
        "content_type: x",
        "grpc_timeout: 1S",
        "keep_alive: 5",
        "proxy_authorization: x",
        "x!forwarded!for: 1",
        "X_B3_TraceId: 1",
    ] {
        let bytes = with(&format!("{line}\r\n"));
        let reason = whole(bytes.as_bytes()).2.map(|refusal| refusal.reason);
        assert_eq!(reason, Some("name"), "{}", line.escape_debug());
    }
    refused("name", 400, with(&format!("{}: x\r\n", "n".repeat(129))));
    for line in [
        "X:",
        "X:\t",
        "x_custom: 1",
        "a.b: c",
        "X: \u{e4}\u{fc}",
        "X: a\tb",
        "X:y:z",
        "Cookie: a=b; c=d",
    ] {
        passes(with(&format!("{line}\r\n")));
    }
}

#[test]
fn lengths() {
    for value in [
        "",
        " ",
        "+1",
        "-1",
        "-0",
        "0x10",
        "1 1",
        "1,1",
        "1, 1",
        "1;",
        "1.0",
        "1e3",
        "01",
        "00",
        "a",
        "\u{661}",
        "18446744073709551616",
        "18446744073709551615",
        "9223372036854775808",
        "99999999999999999999999999",
        "1_000",
        "'1'",
        "\"1\"",
        "1\u{a0}",
    ] {
        refused(
            "framing",
            400,
            with(&format!("Content-Length: {value}\r\n")),
        );
    }
    for fields in [
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\ncontent-length: 2\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        refused("framing", 400, with(fields));
    }
    for value in [
        "",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked;q=1",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "chunked, identity",
        "chunk\u{e9}d",
        "'chunked'",
        "chunked chunked",
    ] {
        refused(
            "framing",
            501,
            with(&format!("Transfer-Encoding: {value}\r\n")),
        );
    }
    refused(
        "framing",
        400,
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    refused(
        "framing",
        400,
        "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    );
    refused(
        "framing",
        400,
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    passes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\t3 \r\n\r\nabc");
    passes(with("Content-Length: 0\r\n"));
    passes(with("transfer-encoding: CHUNKED\r\n") + "0\r\n\r\n");
}

#[test]
fn chunks() {
    let chunked = with("Transfer-Encoding: chunked\r\n");
    for (reason, body) in [
        ("chunk", "\r\n"),
        ("chunk", "g\r\n"),
        ("chunk", "0x5\r\nabcde\r\n0\r\n\r\n"),
        ("chunk", "+5\r\nabcde\r\n0\r\n\r\n"),
        ("chunk", "-5\r\n"),
        ("chunk", " 5\r\nabcde\r\n"),
        ("chunk", "5 \r\nabcde\r\n"),
        ("chunk", "5\t\r\nabcde\r\n"),
        ("chunk", ";a\r\n"),
        ("chunk", "5,5\r\nabcde\r\n"),
        ("chunk", "5.0\r\nabcde\r\n"),
        ("chunk", "10000000000000005\r\nabcde\r\n"),
        ("chunk", "ffffffffffffffff\r\n"),
        ("chunk", "8000000000000000\r\n"),
        ("chunk", "00000000000000005\r\nabcde\r\n"),
        ("line-end", "5\nabcde\r\n0\r\n\r\n"),
        ("line-end", "5;a\nabcde\r\n0\r\n\r\n"),
        ("chunk", "5\rabcde\r\n"),
        ("chunk", "5;a\rb\r\nabcde\r\n"),
        ("chunk", "5;\0\r\nabcde\r\n"),
        ("chunk", "5;\u{e4}\r\nabcde\r\n"),
        ("chunk", "5\r\nabcde0\r\n\r\n"),
        ("chunk", "5\r\nabcdef\r\n0\r\n\r\n"),
        ("chunk", "5\r\nabcde\n0\r\n\r\n"),
        ("chunk", "5\r\nabcde\r0\r\n\r\n"),
        ("line-end", "0\n\r\n"),
        ("line-end", "0\r\n\n"),
        ("trailers", "0\r\nContent-Length: 5\r\n\r\n"),
        ("trailers", "0\r\nhost: b\r\n\r\n"),
        ("trailers", "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("trailers", "0\r\nX-Ok: 1\r\nauthorization: x\r\n\r\n"),
        ("trailers", "0\r\ncookie: x\r\n\r\n"),
        ("trailers", "0\r\nx-forwarded-for: x\r\n\r\n"),
        ("trailers", "0\r\nheddle-dtab: x\r\n\r\n"),
        ("trailers", "0\r\nIf-Match: x\r\n\r\n"),
        ("trailers", "0\r\nConnection: close\r\n\r\n"),
        ("name", "0\r\n:path: /\r\n\r\n"),
        ("name", "0\r\nx_forwarded_for: x\r\n\r\n"),
        ("name", "0\r\nX : y\r\n\r\n"),
        ("line-end", "0\r\nX: y\nZ: a\r\n\r\n"),
        ("line-end", "0\r\nX: y\r\n z\r\n\r\n"),
        ("value", "0\r\nX: a\rb\r\n\r\n"),
    ] {
        refused(reason, 400, format!("{chunked}{body}"));
    }
    refused(
        "chunk",
        400,
        format!("{chunked}1;{}\r\nx\r\n", "e".repeat(17_000)),
    );
    let many = format!("1;{}\r\nx\r\n", "e".repeat(1000)).repeat(20);
    refused("chunk", 400, format!("{chunked}{many}"));
    refused(
        "trailers",
        431,
        format!("{chunked}0\r\n{}\r\n", "X: y\r\n".repeat(101)),
    );
    let long = format!("X: {}\r\n", "y".repeat(6000)).repeat(3);
    refused("trailers", 431, format!("{chunked}0\r\n{long}\r\n"));
    for body in [
        "0\r\n\r\n",
        "5\r\nabcde\r\n0\r\n\r\n",
        "00A;name=\"v\"\r\n0123456789\r\n1\r\nx\r\n0;z\r\nx-checksum: 1\r\ngrpc-status: 0\r\n\r\n",
    ] {
        passes(format!("{chunked}{body}"));
    }
}

#[test]
fn connection_options() {
    for option in [
        "host",
        "Content-Length",
        "transfer-encoding",
        "close, authorization",
        "X-Forwarded-For",
        "x-forwarded-proto",
        "heddle-context",
        "l5d-dtab",
        "cookie",
        "te",
        "keep-alive, te",
        "traceparent",
        "a b",
        "\"close\"",
        "close;x",
        "\u{e9}",
        "content_length",
    ] {
        refused(
            "connection",
            400,
            with(&format!("Connection: {option}\r\n")),
        );
    }
    for fields in [
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive, close\r\n",
        "Connection: close, TE\r\nTE: trailers\r\n",
        "TE: deflate,gzip;q=0.3\r\nConnection: TE, close\r\n",
        "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\n",
        "Connection:\r\n",
        "Connection: , close,,\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
        "Connection: Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Upgrade: websocket, x/1\r\nConnection: keep-alive, Upgrade\r\n",
        "Expect: 100-Continue\r\n",
        "Trailer: X-Checksum, Grpc-Status\r\n",
    ] {
        passes(with(fields));
    }
    passes(with("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n") + "x");
    for fields in [
        "Upgrade: websocket\r\nUpgrade: x\r\nConnection: upgrade\r\n",
        "Upgrade: a b\r\nConnection: upgrade\r\n",
        "Upgrade:\r\nConnection: upgrade\r\n",
    ] {
        refused("connection", 400, with(fields));
    }
    refused(
        "framing",
        400,
        with("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 1\r\n") + "x",
    );
    refused("trailers", 400, with("Trailer: Content-Length\r\n"));
    for value in [
        "",
        "100",
        "200-ok",
        "100-continue, x",
        "x 100-continue",
        "100-continue;",
        "\"100-continue\"",
    ] {
        refused("expectation", 417, with(&format!("Expect: {value}\r\n")));
    }
    refused(
        "duplicate",
        400,
        with("Authorization: a\r\nauthorization: a\r\n"),
    );
}

#[test]
fn sizes() {
    refused("size", 431, with(&"X: y\r\n".repeat(100)));
    passes(with(&"X: y\r\n".repeat(99)));
    refused("size", 431, with(&format!("X: {}\r\n", "y".repeat(17_000))));
    refused(
        "size",
        431,
        with(&format!("X: {}\r\n", "y".repeat(13_000)).repeat(6)),
    );
    refused(
        "size",
        414,
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(17_000)),
    );
    // Before its end has come.
    refused("size", 414, format!("GET /{}", "a".repeat(17_000)));
    refused("size", 431, with(&format!("X: {}", "y".repeat(70_000))));
}

#[test]
fn messages_follow_each_other_and_a_refusal_ends_it() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = format!(
        "{get}POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi{get}GET /\r\n{get}"
    );
    let (passed, heads, refusal) = whole(bytes.as_bytes());
    assert_eq!(heads, 3);
    assert!(refusal.is_some() && passed.ends_with(format!("hi{get}").as_bytes()));
}

#[test]
fn bytes_behind_an_upgrade_wait_for_its_answer() {
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\0\xff";
    let mut scanner = Scanner::new(LIMITS);
    assert_eq!(scanner.scan(upgrade), Step::Pass(upgrade.len() - 2));
    assert!(scanner.is_asked());
    assert_eq!(scanner.scan(b"\0\xff"), Step::Pass(0));
    scanner.decide(true);
    assert_eq!(scanner.scan(b"\0\xff"), Step::Pass(2));
    let mut scanner = Scanner::new(LIMITS);
    scanner.scan(upgrade);
    scanner.decide(false);
    assert!(matches!(scanner.scan(b"\0\n"), Step::Refuse(0, _)));
}

/// However its bytes arrive, a connection means the same, and no byte of a refused head passes.
#[test]
fn pieces_change_nothing() {
    let seed = 0x6865_6464_6c65;
    let mut rng = Xoshiro::seeded(seed);
    let parts = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET /a?b HTTP/1.1\r\nhost: a:80\r\nX: \r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
    ];
    for case in 0..2000 {
        let mut bytes: Vec<u8> = (0..1 + rng.next_u64() % 4)
            .flat_map(|_| parts[(rng.next_u64() % parts.len() as u64) as usize].bytes())
            .collect();
        if rng.next_u64().is_multiple_of(2) {
            let at = (rng.next_u64() % bytes.len() as u64) as usize;
            bytes[at] = b"\r\n \0:a0\xff"[(rng.next_u64() % 8) as usize];
        }
        let expected = whole(&bytes);
        let one = run(&bytes, || 1);
        let some = run(&bytes, || (rng.next_u64() % 30) as usize);
        for (passed, heads, refusal) in [one, some] {
            // Which of several mistakes is seen first may differ.
            assert_eq!(
                (passed, heads, refusal.is_some()),
                (expected.0.clone(), expected.1, expected.2.is_some()),
                "seed {seed:#x}, case {case}: {}",
                bytes.escape_ascii()
            );
        }
    }
}
