//! What clients do send, and means one thing.

/// A message, and what the server says of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) bytes: String,
    /// Method, target and length of the body.
    pub(crate) seen: &'static str,
}

const fn row(bytes: &'static str, seen: &'static str) -> (&'static str, &'static str) {
    (bytes, seen)
}

/// All of them, for the server of this name.
pub(crate) fn cases(host: &str) -> Vec<Case> {
    ROWS.iter()
        .map(|(bytes, seen)| Case {
            bytes: bytes.replace("{h}", host),
            seen,
        })
        .collect()
}

const ROWS: &[(&str, &str)] = &[
    row(
        "GET /curl HTTP/1.1\r\nHost: {h}\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
        "GET /curl 0",
    ),
    row(
        "\r\nGET /blank HTTP/1.1\r\nHost: {h}\r\n\r\n",
        "GET /blank 0",
    ),
    row(
        "GET http://{h}/absolute?x=1 HTTP/1.1\r\nHost: {h}\r\nProxy-Connection: Keep-Alive\r\n\r\n",
        "GET /absolute?x=1 0",
    ),
    row(
        "GET HTTP://{h}:80/port HTTP/1.1\r\nHost: {h}\r\n\r\n",
        "GET /port 0",
    ),
    row("GET /case HTTP/1.1\r\nHOST:{h}\r\n\r\n", "GET /case 0"),
    row(
        "GET /blanks HTTP/1.1\r\nHost: \t {h} \t \r\n\r\n",
        "GET /blanks 0",
    ),
    row(
        "GET /empty HTTP/1.1\r\nHost: {h}\r\nX-Empty:\r\nX-Blank:  \r\n\r\n",
        "GET /empty 0",
    ),
    row(
        "GET /own HTTP/1.1\r\nHost: {h}\r\nX-Own: a\tb\r\nx_own: 1\r\n\r\n",
        "GET /own 0",
    ),
    row(
        "GET /obs-text HTTP/1.1\r\nHost: {h}\r\nX-Name: J\u{f6}rg\r\n\r\n",
        "GET /obs-text 0",
    ),
    row(
        "GET /a%20b%2Fc?d=%0D%0A&e=f+g HTTP/1.1\r\nHost: {h}\r\n\r\n",
        "GET /a%20b%2Fc?d=%0D%0A&e=f+g 0",
    ),
    row(
        "GET /%C3%BC;p=1,2@x:~y!$&'()* HTTP/1.1\r\nHost: {h}\r\n\r\n",
        "GET /%C3%BC;p=1,2@x:~y!$&'()* 0",
    ),
    row(
        "GET /.well-known/a..b/... HTTP/1.1\r\nHost: {h}\r\n\r\n",
        "GET /.well-known/a..b/... 0",
    ),
    row(
        "GET /q?u=http://x/../y?z HTTP/1.1\r\nHost: {h}\r\n\r\n",
        "GET /q?u=http://x/../y?z 0",
    ),
    row(
        "GET /te HTTP/1.1\r\nHost: {h}\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
        "GET /te 0",
    ),
    row(
        "GET /lwp HTTP/1.1\r\nTE: deflate,gzip;q=0.3\r\nConnection: TE, close\r\nHost: {h}\r\n\r\n",
        "GET /lwp 0",
    ),
    row(
        "GET /java HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: {h}\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n\r\n",
        "GET /java 0",
    ),
    row(
        "POST /java HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\nHost: {h}\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n\r\nhello",
        "POST /java 5",
    ),
    row(
        "POST /length HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\n\r\nhello",
        "POST /length 5",
    ),
    row(
        "POST /none HTTP/1.1\r\nHost: {h}\r\nContent-Length: 0\r\n\r\n",
        "POST /none 0",
    ),
    row(
        "POST /chunked HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n",
        "POST /chunked 15",
    ),
    row(
        "POST /upper HTTP/1.1\r\nHost: {h}\r\ntransfer-encoding: Chunked\r\n\r\nA;x=\"y\"\r\n0123456789\r\n0;z\r\n\r\n",
        "POST /upper 10",
    ),
    row(
        "POST /trailers HTTP/1.1\r\nHost: {h}\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        "POST /trailers 5",
    ),
    row(
        "POST /lines HTTP/1.1\r\nHost: {h}\r\nContent-Length: 37\r\n\r\n\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n  ",
        "POST /lines 37",
    ),
    row(
        "POST /expect HTTP/1.1\r\nHost: {h}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        "POST /expect 5",
    ),
    row("GET /old HTTP/1.0\r\nHost: {h}\r\n\r\n", "GET /old 0"),
    row(
        "GET /kept HTTP/1.0\r\nHost: {h}\r\nConnection: keep-alive\r\n\r\n",
        "GET /kept 0",
    ),
    row(
        "GET /listed HTTP/1.1\r\nHost: {h}\r\nConnection: keep-alive, X-Hop,\r\nX-Hop: 1\r\n\r\n",
        "GET /listed 0",
    ),
    row(
        "DELETE /cookies HTTP/1.1\r\nHost: {h}\r\nCookie: a=b; c=\"d\"\r\nAuthorization: Bearer x.y\r\n\r\n",
        "DELETE /cookies 0",
    ),
];
