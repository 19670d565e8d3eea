//! What can be told of a message that is refused unread, for those who have to find out who sent it.

/// Bytes that are kept of a method and of a host: longer ones are not real.
const SHORT: usize = 256;
/// Bytes that are kept of a target.
const LONG: usize = 1024;

/// Beginnings of a refused message, bounded. They may be wrong in every way: nothing is decided by them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Glimpse {
    /// What stands where the method should.
    pub method: Option<String>,
    /// What stands where the target should, without its query.
    pub target: Option<String>,
    /// The value of the first field that is called `Host`.
    pub host: Option<String>,
}

/// Looks at the bytes of an HTTP/1 head, complete or not.
///
/// ```
/// use heddle_core::guard::glimpse;
/// let seen = glimpse(b"GET /a?secret=1 HTTP/1.1\r\nHost : accounts\r\nHo");
/// assert_eq!(seen.method.as_deref(), Some("GET"));
/// assert_eq!(seen.target.as_deref(), Some("/a"));
/// assert_eq!(seen.host.as_deref(), Some("accounts"));
/// ```
pub fn glimpse(head: &[u8]) -> Glimpse {
    let mut lines = head
        .split(|&byte| byte == b'\n')
        .skip_while(|line| line.trim_ascii().is_empty());
    let first = lines.next().unwrap_or_default();
    let mut parts = first
        .split(u8::is_ascii_whitespace)
        .filter(|part| !part.is_empty());
    let method = parts.next().map(|part| text(part, SHORT));
    let target = parts.next().map(|part| {
        let path = part.split(|&byte| matches!(byte, b'?' | b'#')).next();
        text(path.unwrap_or_default(), LONG)
    });
    let host = lines.find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (line[..colon].trim_ascii(), &line[colon + 1..]);
        name.eq_ignore_ascii_case(b"host")
            .then(|| text(value.trim_ascii(), SHORT))
    });
    Glimpse {
        method,
        target,
        host,
    }
}

fn text(bytes: &[u8], most: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_is_bounded_text() {
        for (head, method, target, host) in [
            (&b""[..], None, None, None),
            (b"\r\n\r\n", None, None, None),
            (b"GET", Some("GET"), None, None),
            (b"\r\nGET  /a", Some("GET"), Some("/a"), None),
            (
                b"G\xff /\xfe HTTP/1.1\nhost:\tb \nhost: c\n",
                Some("G\u{fffd}"),
                Some("/\u{fffd}"),
                Some("b"),
            ),
            (b"A /#secret X\r\n:\r\nhost", Some("A"), Some("/"), None),
        ] {
            let seen = glimpse(head);
            assert_eq!(seen.method.as_deref(), method, "{head:?}");
            assert_eq!(seen.target.as_deref(), target, "{head:?}");
            assert_eq!(seen.host.as_deref(), host, "{head:?}");
        }
        let long = glimpse(&b"x".repeat(100_000));
        assert_eq!(long.method.map(|text| text.len()), Some(SHORT));
    }
}
