//! Spellings of hostile HTTP/1, by class. Each is followed by a request that nobody may ever see.

mod bodies;

/// What is sent on a connection of its own.
#[derive(Debug)]
pub(crate) struct Case {
    /// The class, as in docs/security.md.
    pub(crate) class: &'static str,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

/// The path of requests that are hidden behind or in others.
pub(crate) const CANARY: &str = "/smuggled";

/// All spellings, for the server of this name.
pub(crate) fn cases(host: &str) -> Vec<Case> {
    let mut all = Corpus {
        host: host.to_owned(),
        cases: Vec::new(),
    };
    lines(&mut all);
    targets(&mut all);
    hosts(&mut all);
    names(&mut all);
    values(&mut all);
    lengths(&mut all);
    codings(&mut all);
    bodies::chunks(&mut all);
    bodies::trailers(&mut all);
    connections(&mut all);
    sizes(&mut all);
    all.cases
}

struct Corpus {
    host: String,
    cases: Vec<Case>,
}

impl Corpus {
    fn canary(&self) -> String {
        format!("GET {CANARY} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host)
    }

    fn raw(&mut self, class: &'static str, bytes: impl AsRef<[u8]>) {
        let bytes = [bytes.as_ref(), self.canary().as_bytes()].concat();
        self.cases.push(Case { class, bytes });
    }

    /// A request line in front of a good Host.
    fn line(&mut self, class: &'static str, line: &str) {
        let host = self.host.clone();
        self.raw(class, format!("{line}\r\nHost: {host}\r\n\r\n"));
    }

    /// Field lines behind a good Host, before whatever stands behind the head.
    fn fields(&mut self, class: &'static str, fields: &str, body: &str) {
        let host = self.host.clone();
        self.raw(
            class,
            format!("POST /x HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n{body}"),
        );
    }

    fn chunked(&mut self, class: &'static str, body: &str) {
        self.fields(class, "Transfer-Encoding: chunked\r\n", body);
    }
}

fn lines(all: &mut Corpus) {
    for line in [
        " GET /x HTTP/1.1",
        "\tGET /x HTTP/1.1",
        "\x0bGET /x HTTP/1.1",
        "\u{feff}GET /x HTTP/1.1",
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        "GET /x HTTP/1.1 ",
        "GET /x HTTP/1.1\t",
        "GET\t/x HTTP/1.1",
        "GET /x\tHTTP/1.1",
        "GET\x0b/x HTTP/1.1",
        "GET\x0c/x HTTP/1.1",
        "GET /x\x0cHTTP/1.1",
        "GET /x y HTTP/1.1",
        "GET /x HTTP/1.1 HTTP/1.1",
        "GET /x",
        "GET /x HTTP",
        "GET /x HTTP/",
        "GET /x HTTP/1",
        "GET /x HTTP/1.",
        "GET /x HTTP/.1",
        "GET /x HTTP/1.10",
        "GET /x HTTP/01.1",
        "GET /x HTTP/1.1x",
        "GET /x HTTP/1 .1",
        "GET /x HTTP /1.1",
        "GET /x http/1.1",
        "GET /x Http/1.1",
        "GET /x HTTP/a.b",
        "GET /x HTTPS/1.1",
        "GET /x FTP/1.1",
        "GET /x ICY/1.1",
        "GET /x HTTP\\1.1",
        "GET /x HTTP/+1.1",
        "GET /x HTTP/-1.1",
        "GET /x HTTP/1,1",
        "GET /x HTTP/\u{661}.1",
        "G(T /x HTTP/1.1",
        "GET: /x HTTP/1.1",
        "GET, /x HTTP/1.1",
        "\"GET\" /x HTTP/1.1",
        "G\u{e9}T /x HTTP/1.1",
        "GET\0 /x HTTP/1.1",
        "G\0T /x HTTP/1.1",
        "/x HTTP/1.1",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /x HTTP/1.1",
    ] {
        all.line("request-line", line);
    }
    for version in [
        "HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.0",
    ] {
        all.line("version", &format!("GET /x {version}"));
    }
    let host = all.host.clone();
    for bytes in [
        format!("\nGET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("\rGET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("\r\n\r\nGET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("\r\n\r\n\r\nGET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("\r\n GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET /x HTTP/1.1\nHost: {host}\n\n"),
        format!("GET /x HTTP/1.1\nHost: {host}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: {host}\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\n"),
        format!("GET /x HTTP/1.1\r\nHost: {host}\r\nX: y\n\r\n"),
        format!("GET /x HTTP/1.1\rHost: {host}\r\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\r\nHost: {host}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: {host}\r\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: {host}\r\nX: y\r\r\n\r\n"),
        format!("GET /x HTTP/1.1\n\rHost: {host}\n\r\n\r"),
        format!("GET /x HTTP/1.1\r\n Host: {host}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\n\tHost: {host}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\n X: y\r\nHost: {host}\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: {host}\r\n \r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nHost:\r\n {host}\r\n\r\n"),
    ] {
        all.raw("line-end", bytes);
    }
}

fn targets(all: &mut Corpus) {
    for target in [
        "x",
        "x/y",
        "?x",
        "./x",
        "../x",
        "\\x",
        "/\\x",
        "/x\\..\\y",
        "//h\\x",
        "gopher://{h}/x",
        "ftp://{h}/",
        "file:///etc/passwd",
        "javascript:1",
        "http:/x",
        "http:x",
        "http:///x",
        "http://",
        "https://",
        "://{h}/x",
        "http//{h}/",
        "httpx://{h}/",
        "http ://{h}/",
        "/#",
        "/x#y",
        "/x?y#z",
        "#",
        "http://{h}/#x",
        "/%",
        "/%4",
        "/%%",
        "/%zz",
        "/%g0",
        "/%0g",
        "/x%",
        "/?x=%",
        "/?x=%1",
        "/?%xy",
        "/%00",
        "/x%00y",
        "/x%00.html",
        "/?x=%00",
        "/%0a",
        "/%0d%0aX:%20y",
        "/x%0D%0Ay",
        "/%09",
        "/%1b",
        "/%7f",
        "/\u{e4}",
        "/x?\u{e4}",
        "/\u{7f}",
        "/\x01",
        "/x\0y",
        "/x\ry",
        "/<x>",
        "/x<",
        "/x>",
        "/`x`",
        "/?<",
        "/?\\",
        "/..",
        "/../x",
        "/../../etc/passwd",
        "/a/../..",
        "/a/../../x",
        "/a/b/../../../x",
        "//../x",
        "/./../x",
        "/%2e",
        "/%2e/x",
        "/%2e%2e",
        "/%2e%2e/x",
        "/a/%2e%2e/x",
        "/a/%2E%2E/x",
        "/a/.%2e/x",
        "/a/%2e./x",
        "/a/%2e/x",
        "/..%2fx",
        "/a/..%2fx",
        "/a/..%2Fx",
        "/a%2f../x",
        "/a%2f..%2fx",
        "/a/..%5cx",
        "/a/%2e%2e%5cx",
        "/a/..;/x",
        "/a/..;y/x",
        "/a/..;y=z/x",
        "/a/.;/x",
        "/a/%2e%2e;/x",
        "/a/%252e%252e/x",
        "/a/%252e./x",
        "/a/..%252fx",
        "/%c0%ae%c0%ae/x",
        "/%c0%afx",
        "/%c1%9cx",
        "/%e0%80%afx",
        "/%e0%80%ae/x",
        "/%f0%80%80%af",
        "*",
        "**",
        "/x\u{2028}y",
    ] {
        let target = target.replace("{h}", &all.host);
        all.line("target", &format!("GET {target} HTTP/1.1"));
    }
    for line in [
        "CONNECT / HTTP/1.1",
        "CONNECT * HTTP/1.1",
        "CONNECT {h} HTTP/1.1",
        "CONNECT {h}: HTTP/1.1",
        "CONNECT {h}:0 HTTP/1.1",
        "CONNECT {h}:99999 HTTP/1.1",
        "CONNECT http://{h}:80/ HTTP/1.1",
        "CONNECT u@{h}:80 HTTP/1.1",
        "CONNECT {h}:80/x HTTP/1.1",
        "GET {h}:80 HTTP/1.1",
        "POST * HTTP/1.1",
        "HEAD * HTTP/1.1",
        "OPTIONS ** HTTP/1.1",
        "OPTIONS *x HTTP/1.1",
        "PRI * HTTP/1.1",
    ] {
        let line = line.replace("{h}", &all.host);
        all.line("target", &line);
    }
}

fn hosts(all: &mut Corpus) {
    let host = all.host.clone();
    for value in [
        "",
        " ",
        "{h} x",
        "{h}\tx",
        "{h},x",
        "{h}, x",
        "x,{h}",
        "{h};x",
        "u@{h}",
        "u:p@{h}",
        "@{h}",
        "{h}/",
        "{h}/x",
        "{h}?x",
        "{h}#x",
        "{h}\\x",
        "http://{h}",
        "//{h}",
        "{h}:",
        "{h}:x",
        "{h}:0",
        "{h}:080",
        "{h}:99999",
        "{h}:80:80",
        "{h}:+80",
        "{h}:-1",
        "{h}:80x",
        "{h}:8 0",
        ":80",
        "[{h}]",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]:",
        "[]",
        "[::g]",
        "[fe80::1%25lo]",
        "[fe80::1%lo]",
        "..",
        ".",
        ".{h}",
        "{h}..",
        "x..{h}",
        "%61",
        "{h}%00",
        "{h}%20x",
        "{h}\0",
        "\0{h}",
        "\"{h}\"",
        "<{h}>",
        "{h}'",
        "({h})",
        "{h}=",
        "{h}&x",
        "{h}|x",
        "{h}^",
        "{h}`",
        "$({h})",
        "{h}\u{e9}",
        "\u{2024}",
        "127.1",
        "1.2.3.256",
        "1.2.3.4.5",
        "0x7f.0.0.0x1",
        "010.0.0.01",
    ] {
        let value = value.replace("{h}", &host);
        all.raw("host", format!("GET /x HTTP/1.1\r\nHost: {value}\r\n\r\n"));
    }
    for head in [
        "GET /x HTTP/1.1\r\n",
        "GET /x HTTP/1.1\r\nHost: {h}\r\nHost: {h}\r\n",
        "GET /x HTTP/1.1\r\nHost: {h}\r\nhost: other\r\n",
        "GET /x HTTP/1.1\r\nHost: other\r\nX: y\r\nHOST: {h}\r\n",
        "GET /x HTTP/1.1\r\nHost: {h}\r\nHost:\r\n",
        "GET /x HTTP/1.0\r\nHost: {h}\r\nHost: {h}\r\n",
        "GET /x HTTP/1.0\r\nHost: a b\r\n",
        "GET http://{h}/x HTTP/1.1\r\n",
        "GET http://{h}/x HTTP/1.1\r\nHost: other\r\n",
        "GET http://other/x HTTP/1.1\r\nHost: {h}\r\n",
        "GET http://{h}:81/x HTTP/1.1\r\nHost: {h}\r\n",
        "GET http://{h}/x HTTP/1.1\r\nHost: {h}:81\r\n",
        "GET https://{h}/x HTTP/1.1\r\nHost: {h}:80\r\n",
        "GET http://u@{h}/x HTTP/1.1\r\nHost: {h}\r\n",
        "GET http://{h}@other/x HTTP/1.1\r\nHost: {h}\r\n",
        "GET http://{h}:80@other/x HTTP/1.1\r\nHost: {h}\r\n",
        "GET http://{h}:/x HTTP/1.1\r\nHost: {h}\r\n",
        "GET http://{h}%2eother/x HTTP/1.1\r\nHost: {h}\r\n",
        "GET http://{h},other/x HTTP/1.1\r\nHost: {h}\r\n",
        "CONNECT {h}:80 HTTP/1.1\r\nHost: other:80\r\n",
        "CONNECT {h}:80 HTTP/1.1\r\nHost: {h}:81\r\n",
        "CONNECT {h}:80 HTTP/1.1\r\n",
    ] {
        let head = head.replace("{h}", &host);
        all.raw("host", format!("{head}\r\n"));
    }
}

fn names(all: &mut Corpus) {
    for line in [
        ": x",
        " : x",
        "X : y",
        "X\t: y",
        "X Y: z",
        "X",
        "X y",
        "=x",
        "X\0: y",
        "X\x0b: y",
        "\x0bX: y",
        "\u{e4}: y",
        "X\u{a0}: y",
        "X(y): z",
        "X/y: z",
        "X[0]: y",
        "X@y: z",
        "{X}: y",
        "\"X\": y",
        "X;y: z",
        "X,y: z",
        "X=y: z",
        "X?: y",
        "<X>: y",
        "X\\y: z",
        ":path: /",
        ":authority: x",
        ":method: GET",
        "Host : x",
        "Host\t: x",
        "Host\0: x",
        "Content-Length : 5",
        "Content-Length\t: 5",
        "Content-Length\0: 5",
        "Content Length: 5",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\x0b: chunked",
        "\x0cTransfer-Encoding: chunked",
        "Transfer Encoding: chunked",
        "content_length: 5",
        "Content_Length: 5",
        "transfer_encoding: chunked",
        "TRANSFER_ENCODING: chunked",
        "Transfer.Encoding: chunked",
        "Transfer~Encoding: chunked",
        "Content!Length: 5",
        "content.length: 5",
        "x_forwarded_for: 1.2.3.4",
        "X_Forwarded_For: 1.2.3.4",
        "X-Forwarded_For: 1.2.3.4",
        "x_forwarded-proto: https",
        "X.Forwarded.For: 1.2.3.4",
        "x_forwarded_host: x",
        "heddle_dtab: /a=>/b",
        "heddle_context: x",
        "l5d_dtab: /a=>/b",
        "l5d_ctx_dtab: /a=>/b",
        "set_cookie: a",
        "content_type: x",
        "content_encoding: gzip",
        "grpc_timeout: 1n",
        "idempotency_key: 1",
        "proxy_authorization: x",
        "keep_alive: 1",
        "x_b3_traceid: 1",
        "Proxy: http://x/",
        "PROXY: x",
    ] {
        all.fields("name", &format!("{line}\r\n"), "");
    }
    all.fields("name", &format!("{}: x\r\n", "x".repeat(300)), "");
    all.fields("name", &format!("{}: x\r\n", "x".repeat(65_000 / 2)), "");
}

fn values(all: &mut Corpus) {
    for value in [
        "\0", "x\0y", "x\0", "x\ry", "\r", "x\r", "x\rY: z", "\x01", "\x08", "\x0b", "\x0c",
        "x\x0by", "\x1b[31m", "\x1f", "\x7f", "x\x7fy",
    ] {
        all.fields("value", &format!("X: {value}\r\n"), "");
    }
    all.fields("value", "Content-Length: 5\r\r\n", "");
    for folded in [
        "X: y\r\n z\r\n",
        "X: y\r\n\tz\r\n",
        "X:\r\n y\r\n",
        "X: y\r\n \r\n",
    ] {
        all.fields("line-end", folded, "");
    }
}

fn lengths(all: &mut Corpus) {
    for value in [
        "",
        " ",
        "+5",
        "-5",
        "-0",
        "+0",
        "0x5",
        "0X5",
        "05",
        "00",
        "5 5",
        "5,5",
        "5, 5",
        "5;",
        "5.0",
        "5e0",
        "5x",
        "x5",
        "x",
        "\"5\"",
        "'5'",
        "5\x0b",
        "\x0b5",
        "5\0",
        "5\u{a0}",
        "\u{665}",
        "\u{ff15}",
        "1_0",
        "(5)",
        "5/5",
        "NaN",
        "Infinity",
        "null",
        "18446744073709551616",
        "18446744073709551615",
        "9223372036854775808",
        "36893488147419103237",
        "-9223372036854775808",
        "99999999999999999999999999999999999999",
    ] {
        all.fields("framing", &format!("Content-Length: {value}\r\n"), "hello");
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 6\r\n",
        "Content-Length: 5\r\nX: y\r\nCONTENT-LENGTH: 5\r\n",
        "Content-Length:\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\n 6\r\n",
        "Content-Length:\r\n 5\r\n",
    ] {
        all.fields("framing", fields, "hello");
    }
}

fn codings(all: &mut Corpus) {
    for value in [
        "",
        "identity",
        "gzip",
        "deflate",
        "compress",
        "br",
        "x",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,chunked",
        "chunked, identity",
        "identity, chunked",
        "chunked,",
        ",chunked",
        "chunked;q=1",
        "chunked; x",
        "chunked x",
        "x chunked",
        "chunke",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "'chunked'",
        "chunk\u{e9}d",
        "chun\u{212a}ed",
        "\u{ff43}hunked",
        "chunked\x0b",
        "\x0bchunked",
        "chunked\0",
        "\0chunked",
        "chunked\x0c",
        "[chunked]",
        "(chunked)",
        "chunked/1",
        "chunked\u{a0}",
    ] {
        all.fields(
            "framing",
            &format!("Transfer-Encoding: {value}\r\n"),
            "0\r\n\r\n",
        );
    }
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer-Encoding: chunked\r\ntransfer-encoding:\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: x\r\n",
        "content-length: 5\r\nX: y\r\ntransfer-encoding: CHUNKED\r\n",
        "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n",
        "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nX: y\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nX: y\rTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent_Length: 5\r\n",
        "Content-Length: 5\r\nTransfer_Encoding: chunked\r\n",
    ] {
        all.fields("framing", fields, "0\r\n\r\n");
    }
    let host = all.host.clone();
    for head in [
        "POST /x HTTP/1.0\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n",
        "POST /x HTTP/1.0\r\nHost: {h}\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
        "POST /x HTTP/1.0\r\nTransfer-Encoding: identity\r\n",
        "TRACE /x HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\n",
        "TRACE /x HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n",
        "CONNECT {h}:80 HTTP/1.1\r\nHost: {h}:80\r\nContent-Length: 5\r\n",
        "CONNECT {h}:80 HTTP/1.1\r\nHost: {h}:80\r\nTransfer-Encoding: chunked\r\n",
        "GET /x HTTP/1.1\r\nHost: {h}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
        "GET /x HTTP/1.1\r\nHost: {h}\r\nConnection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n",
    ] {
        all.raw(
            "framing",
            format!("{}\r\n0\r\n\r\n", head.replace("{h}", &host)),
        );
    }
}

fn connections(all: &mut Corpus) {
    for value in [
        "host",
        "Host",
        "content-length",
        "Content-Length",
        "close, Content-Length",
        "transfer-encoding",
        "keep-alive,Transfer-Encoding",
        "te",
        "authorization",
        "cookie",
        "x-forwarded-for",
        "close, X-Forwarded-For, X-Forwarded-Proto",
        "forwarded",
        "via",
        "traceparent",
        "heddle-context",
        "heddle-dtab",
        "l5d-dtab",
        "grpc-timeout",
        "idempotency-key",
        "expect",
        "content-type",
        "content_length",
        "a b",
        "close;x",
        "\"close\"",
        "close=1",
        "clos\u{e9}",
        "close/1",
        "close, {x}",
        "@",
    ] {
        all.fields("connection", &format!("Connection: {value}\r\n"), "");
    }
    for fields in [
        "Connection: close\r\nConnection: host\r\n",
        "Connection: upgrade\r\nUpgrade: x\r\nUpgrade: y\r\n",
        "Connection: upgrade\r\nUpgrade: x y\r\n",
        "Connection: upgrade\r\nUpgrade:\r\n",
        "Connection: upgrade\r\nUpgrade: \"x\"\r\n",
        "Trailer: Content-Length\r\n",
        "Trailer: X, Transfer-Encoding\r\n",
        "Authorization: a\r\nAuthorization: b\r\n",
        "Content-Type: a/b\r\ncontent-type: c/d\r\n",
    ] {
        all.fields("connection", fields, "");
    }
    for value in [
        "",
        "x",
        "100",
        "200-ok",
        "100-continued",
        "x100-continue",
        "100 continue",
        "100-continue, x",
        "x, 100-continue",
        "100-continue;x",
        "\"100-continue\"",
        "100-continue\x0b",
        "100-cont\u{131}nue",
    ] {
        all.fields(
            "expectation",
            &format!("Expect: {value}\r\nContent-Length: 5\r\n"),
            "hello",
        );
    }
    all.fields(
        "expectation",
        "Expect: 100-continue\r\nExpect: 100-continue\r\n",
        "",
    );
    all.fields("expectation", "Expect: 100-continue\r\nexpect: x\r\n", "");
}

fn sizes(all: &mut Corpus) {
    all.line("size", &format!("GET /{} HTTP/1.1", "x".repeat(20_000)));
    all.line("size", &format!("GET /?{} HTTP/1.1", "x".repeat(70_000)));
    all.line("size", &format!("GET http://{}/ HTTP/1.1", "x".repeat(300)));
    all.fields("size", &"X: y\r\n".repeat(101), "");
    all.fields("size", &"X: y\r\n".repeat(5000), "");
    all.fields("size", &format!("X: {}\r\n", "y".repeat(20_000)), "");
    all.fields("size", &format!("X: {}\r\n", "y".repeat(65_536)), "");
    all.fields(
        "size",
        &format!("X: {}\r\n", "y".repeat(10_000)).repeat(8),
        "",
    );
    all.fields(
        "size",
        &format!("Cookie: {}\r\n", "a=b; ".repeat(15_000)),
        "",
    );
    all.raw("size", "x".repeat(40));
}
