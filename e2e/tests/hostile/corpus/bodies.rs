//! Hostile chunked bodies and trailers.

use super::Corpus;

pub(super) fn chunks(all: &mut Corpus) {
    for body in [
        "\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "\t5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "-0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5.0\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "\"5\"\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "5\x0b\r\nhello\r\n0\r\n\r\n",
        "\u{665}\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        "x;5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\rhello\r\n0\r\n\r\n",
        "5\n\rhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5;x\nhello\r\n0\r\n\r\n",
        "5;x\rhello\r\n0\r\n\r\n",
        "5;x\r\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5;\x7f\r\nhello\r\n0\r\n\r\n",
        "5;\u{e9}\r\nhello\r\n0\r\n\r\n",
        "5;x=\"\n\"\r\nhello\r\n0\r\n\r\n",
        "5;x=\"\r\"\r\nhello\r\n0\r\n\r\n",
        "5;\r\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "5\r\nhello \r\n0\r\n\r\n",
        "5\r\nhellox\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "8000000000000000\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\n\r\n",
        "0\r\n\n",
        "0\n\n",
        "0\r\r\n",
        "0\r\n\r\r\n",
        "0\r\n\rX\r\n\r\n",
        "0 \r\n\r\n",
        "0;\n\r\n",
        "0;x\n\n",
        "00000000000000000\r\n\r\n",
    ] {
        all.chunked("chunk", body);
    }
    all.chunked(
        "chunk",
        &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000)),
    );
    all.chunked(
        "chunk",
        &format!(
            "{}0\r\n\r\n",
            format!("1;{}\r\nx\r\n", "y".repeat(1000)).repeat(20)
        ),
    );
    all.chunked("chunk", &format!("{}\r\n\r\n", "0".repeat(5000)));
}

pub(super) fn trailers(all: &mut Corpus) {
    for line in [
        "Content-Length: 5",
        "content-length: 0",
        "Transfer-Encoding: chunked",
        "Host: other",
        "Connection: close",
        "TE: trailers",
        "Upgrade: x",
        "Keep-Alive: 1",
        "Authorization: x",
        "Cookie: a=b",
        "Set-Cookie: a=b",
        "Content-Type: x",
        "Content-Encoding: gzip",
        "Content-Range: bytes 0-1/2",
        "Expect: 100-continue",
        "Range: bytes=0-1",
        "If-Match: x",
        "Cache-Control: no-cache",
        "X-Forwarded-For: 1.2.3.4",
        "x-forwarded-proto: https",
        "Forwarded: for=1.2.3.4",
        "Via: 1.1 x",
        "Trailer: x",
        "heddle-dtab: /a=>/b",
        "heddle-context: x",
        "l5d-dtab: /a=>/b",
        "grpc-timeout: 1n",
        "traceparent: x",
        "Proxy-Authorization: x",
        "Max-Forwards: 1",
        "content_length: 5",
        "x_forwarded_for: 1",
        ":path: /",
        ": x",
        "X : y",
        "X",
        " X: y",
        "X: y\r\n z",
        "X: \0",
        "X: y\rz",
        "X: y\nZ: a",
        "X\0: y",
    ] {
        all.chunked("trailers", &format!("5\r\nhello\r\n0\r\n{line}\r\n\r\n"));
    }
    all.chunked("trailers", &format!("0\r\n{}\r\n", "X: y\r\n".repeat(200)));
    all.chunked(
        "trailers",
        &format!("0\r\nX: {}\r\n\r\n", "y".repeat(30_000)),
    );
    all.chunked("trailers", &format!("0\r\n{}\r\n\r\n", "X".repeat(30_000)));
}
