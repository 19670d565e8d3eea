//! What the query of a request asks an echo server for.

use bytes::Bytes;
use std::time::Duration;

/// Wishes of one request, as `?status=503&delay=100`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controls {
    /// `status`: of the response. Default 200.
    pub status: u16,
    /// `delay`: milliseconds before the head of the response.
    pub delay: Duration,
    /// `bytes`: the response is so many bytes of [`pattern`] instead of the report.
    pub bytes: Option<usize>,
    /// `chunk`: bytes per piece of the response. Default 16 KiB.
    pub chunk: usize,
    /// `gap`: milliseconds after each piece.
    pub gap: Duration,
    /// `length`: whether `content-length` says how long the `bytes` are; otherwise they are chunked.
    pub length: bool,
    /// `trailers`: the response ends with `x-trailer: end` and `x-bytes: <count>`.
    pub trailers: bool,
    /// `early`: answer without reading the body.
    pub early: bool,
    /// `mirror`: the response is the body, piece by piece as it comes.
    pub mirror: bool,
    /// `fail`: the response breaks off after so many pieces.
    pub fail: Option<usize>,
    /// `header=name:value`, any number of times: fields of the response.
    pub headers: Vec<(String, String)>,
}

impl Controls {
    /// Reads a query; what is unknown or makes no sense has no effect.
    pub fn parse(query: Option<&str>) -> Self {
        let mut controls = Self {
            status: 200,
            delay: Duration::ZERO,
            bytes: None,
            chunk: 16 * 1024,
            gap: Duration::ZERO,
            length: false,
            trailers: false,
            early: false,
            mirror: false,
            fail: None,
            headers: Vec::new(),
        };
        for pair in query.unwrap_or_default().split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "1"));
            let number = value.parse::<u64>().ok();
            let size = value.parse::<usize>().ok();
            match key {
                "status" => controls.status = value.parse().unwrap_or(200),
                "delay" => controls.delay = Duration::from_millis(number.unwrap_or(0)),
                "bytes" => controls.bytes = size,
                "chunk" => controls.chunk = size.filter(|size| *size > 0).unwrap_or(controls.chunk),
                "gap" => controls.gap = Duration::from_millis(number.unwrap_or(0)),
                "length" => controls.length = number == Some(1),
                "trailers" => controls.trailers = number == Some(1),
                "early" => controls.early = number == Some(1),
                "mirror" => controls.mirror = number == Some(1),
                "fail" => controls.fail = size,
                "header" => controls.headers.extend(
                    value
                        .split_once(':')
                        .map(|(n, v)| (n.to_owned(), v.to_owned())),
                ),
                _ => {}
            }
        }
        controls
    }
}

/// `count` bytes from `start` on of an endless text that repeats every 251 bytes,
/// so that a lost, doubled or moved piece shows.
pub fn pattern(start: usize, count: usize) -> Bytes {
    (start..start + count)
        .map(|position| u8::try_from(position % 251).expect("below 251"))
        .collect()
}

/// Fletcher's checksum of a body with 16-bit halves: cheap in any language, and it sees order.
/// Continue with the last result; begin with 0.
pub fn checksum(so_far: u32, bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (so_far & 0xffff, so_far >> 16);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65535;
        high = (high + low) % 65535;
    }
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_sets_what_it_names() {
        let controls = Controls::parse(Some(
            "status=503&delay=20&bytes=5&trailers=1&header=a:b&header=c:d:e&nothing",
        ));
        assert_eq!(controls.status, 503);
        assert_eq!(controls.delay, Duration::from_millis(20));
        assert_eq!(controls.bytes, Some(5));
        assert!(controls.trailers && !controls.length);
        assert_eq!(
            controls.headers,
            [("a".into(), "b".into()), ("c".into(), "d:e".into())]
        );
        assert_eq!(
            Controls::parse(None),
            Controls::parse(Some("status=x&chunk=0"))
        );
    }

    #[test]
    fn the_checksum_sees_order_and_continues() {
        assert_eq!(checksum(0, b"abc"), checksum(checksum(0, b"a"), b"bc"));
        assert_ne!(checksum(0, b"abc"), checksum(0, b"acb"));
        assert_eq!(checksum(0, b"abcde"), 0x05c3_01ef);
    }

    #[test]
    fn the_pattern_can_be_cut_anywhere() {
        let whole = pattern(0, 600);
        assert_eq!(whole[100..400], pattern(100, 300));
    }
}
