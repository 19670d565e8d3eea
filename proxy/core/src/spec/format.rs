//! The formats of single texts, each with its parser.
//!
//! Pure. The checker and the decoders share these parsers, so what passes the one cannot
//! surprise the other.

use super::codes;
use super::shape::Format;

mod parse;
pub(super) use parse::*;

macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident { $title:literal, $code:ident, why: $why:literal, fix: $fix:literal, pattern: $pattern:literal, $check:expr })*) => {
        $($(#[$doc])*
        pub(super) static $name: Format = Format {
            name: $title,
            code: &codes::$code,
            why: $why,
            fix: $fix,
            pattern: $pattern,
            numbers: false,
            check: $check,
        };)*
    };
}

formats! {
    TEXT {
        "text", EMPTY_LIST,
        why: "an empty text says nothing", fix: "write something between the quotes, or remove the key",
        pattern: "^.+$", |text| ok(!text.is_empty(), "is empty")
    }
    /// Any text, the empty one too.
    ANY {
        "text", EMPTY_LIST, why: "", fix: "", pattern: "", |_| Ok(())
    }
    COLLECTOR {
        "a collector's address", BAD_ADDRESS,
        why: "spans are sent over OTLP/gRPC, without TLS", fix: "write `http://host:port`, such as `http://127.0.0.1:4317`",
        pattern: "^http://[^/@ ]+:[0-9]+/?$", |text| collector(text)
    }
    CONTROL_PLANE {
        "a control plane's address", BAD_ADDRESS,
        why: "xDS is spoken over gRPC, without TLS", fix: "write `http://host:port`, such as `http://127.0.0.1:15010`",
        pattern: "^http://[^/@ ]+:[0-9]+/?$", |text| collector(text)
    }
    LABEL {
        "a name", BAD_NAME,
        why: "it becomes part of names in DNS, Kubernetes and metrics (RFC 1123)",
        fix: "use lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63",
        pattern: "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", |text| label(text)
    }
    OBJECT_NAME {
        "a name", BAD_NAME,
        why: "it must be legal in Kubernetes as well (RFC 1123)",
        fix: "use lower-case letters, digits, `-` and `.`, each part beginning and ending with a letter or digit",
        pattern: "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", |text| subdomain(text)
    }
    SERVICE {
        "a service's name", BAD_NAME,
        why: "it is compared with what callers write as host, which is lower-cased first",
        fix: "write a host name such as `accounts`, `accounts.bank` or `accounts:8080`",
        pattern: "", |text| service(text)
    }
    DESTINATION {
        "a service's name or an absolute path", BAD_NAME,
        why: "a destination is a service (`accounts-v2`) or a path of the naming language (`/#/static/accounts-v2`)",
        fix: "write one of the two",
        pattern: "", |text| destination(text).map(|_| ())
    }
    ADDRESS {
        "an address with port", BAD_ADDRESS,
        why: "listening takes a literal IP address and a port from 0 to 65535",
        fix: "write for example `127.0.0.1:4140`, `0.0.0.0:8080` or `[::1]:4140`",
        pattern: "^(\\[[0-9a-fA-F:.]+\\]|[0-9.]+):[0-9]{1,5}$", |text| address(text).map(|_| ())
    }
    TARGET_ADDRESS {
        "an address with port", BAD_ADDRESS,
        why: "connections go to a literal IP address and a port from 1 to 65535",
        fix: "write for example `127.0.0.1:8080` or `[::1]:8080`",
        pattern: "^(\\[[0-9a-fA-F:.]+\\]|[0-9.]+):[0-9]{1,5}$", |text| target(text).map(|_| ())
    }
    ENDPOINT {
        "an endpoint", BAD_ADDRESS,
        why: "an endpoint is an IP address or host name with a port from 1 to 65535, and perhaps a weight",
        fix: "write for example `10.0.0.1:8080`, `accounts.example:80` or `10.0.0.1:8080 * 2`",
        pattern: "", |text| endpoint(text).map(|_| ())
    }
    HOST_PORT {
        "a host with port", BAD_ADDRESS,
        why: "it is an IP address or host name with a port from 1 to 65535",
        fix: "write for example `10.0.0.1:8080` or `accounts.example:80`",
        pattern: "", |text| host_port(text).map(|_| ())
    }
    NETWORK {
        "a network or an address", BAD_NETWORK,
        why: "headers of callers outside these networks are removed, so a slip would trust nobody or everybody",
        fix: "write for example `10.0.0.0/8`, `192.168.1.7` or `fd00::/8`",
        pattern: "", |text| network(text).map(|_| ())
    }
    HEADER {
        "a header's name", BAD_TOKEN,
        why: "header names are tokens of RFC 9110 (letters, digits and a few marks)",
        fix: "write for example `x-user-id`",
        pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", |text| token(text)
    }
    HEADER_VALUE {
        "a header's value", BAD_TOKEN,
        why: "line breaks and control characters in a header's value would end the header (RFC 9110 section 5.5)",
        fix: "remove them",
        pattern: "", |text| ok(!text.chars().any(|c| c.is_control() && c != '\t') && text.trim() == text, "has control characters, or blanks at its ends")
    }
    METHOD {
        "a method", BAD_TOKEN,
        why: "methods are tokens, and their case counts (RFC 9110 section 9.1)",
        fix: "write it in capitals, as `GET`",
        pattern: "^[A-Z][A-Z0-9!#$%&'*+.^_`|~-]*$", |text| token(text).and_then(|()| ok(!text.bytes().any(|b| b.is_ascii_lowercase()), "has small letters"))
    }
    AUTHORITY {
        "a host", BAD_TOKEN,
        why: "it becomes the Host header",
        fix: "write a host name, with a port if needed",
        pattern: "", |text| ok(!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'?' | b'#' | b'@')), "is not a host")
    }
    LOCATION {
        "a location", BAD_TOKEN,
        why: "it becomes the Location header",
        fix: "write a URL or a path, percent-encoded",
        pattern: "", |text| ok(!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()), "is not a URL or path")
    }
    URL_PATH {
        "a path", BAD_PATH,
        why: "paths of requests begin with `/` and have neither query nor blanks",
        fix: "write for example `/v1`",
        pattern: "^/[^?#\\s]*$", |text| url_path(text)
    }
    REGEX {
        "a regular expression", BAD_REGEX,
        why: "it is matched against the whole value, in time linear in the value's length, and its compiled size is bounded",
        fix: "mend it, or use smaller repetition bounds (the syntax is that of the `regex` crate: no look-around, no back-references)",
        pattern: "", |text| regex(text).map(|_| ())
    }
    DTAB {
        "a dtab", BAD_DTAB,
        why: "a dtab is a list of `/prefix => /destination ;`",
        fix: "mend the text at this place; `heddle bind --dtab '…' /svc/x` shows what a dtab does",
        pattern: "", |text| dtab(text).map(|_| ())
    }
    STICKY_KEY {
        "a source of keys", BAD_KEY_SOURCE,
        why: "a request's key is a header, a cookie or the caller's address",
        fix: "write `header:<name>`, `cookie:<name>` or `address`",
        pattern: "^(header:.+|cookie:.+|address)$", |text| key(text).map(|_| ())
    }
    GRPC {
        "a gRPC status", BAD_RETRY,
        why: "gRPC statuses have names and the numbers 1 to 16",
        fix: "write for example `unavailable`",
        pattern: "", |text| grpc(text).map(|_| ())
    }
    NAME_PREFIX {
        "a prefix of bound names", BAD_PATH,
        why: "replica sets are named by paths that begin with `/`",
        fix: "write for example `/#/dns/api.example`",
        pattern: "^/.+$", |text| name_prefix(text).map(|_| ())
    }
    FILE {
        "a file or folder", EMPTY_LIST,
        why: "it is read relative to the file that names it", fix: "write a path",
        pattern: "^.+$", |text| ok(!text.is_empty() && !text.contains('\0'), "is not a path")
    }
}

/// A reason to retry; an unquoted status is fine.
pub(super) static RETRY_ON: Format = Format {
    name: "a reason to retry",
    code: &codes::BAD_RETRY,
    why: "failures are named, so that nothing is repeated that might be done twice",
    fix: "write `connect`, `refused-stream`, `unused-connection`, `reset`, `attempt-timeout`, `5xx`, a status such as `503`, or `grpc:unavailable`",
    pattern: "^(connect|refused-stream|unused-connection|reset|attempt-timeout|5xx|[1-5][0-9][0-9]|grpc:.+)$",
    numbers: true,
    check: |text| retry_on(text).map(|_| ()),
};

/// The status of a redirect; numbers are not quoted.
pub(super) static REDIRECT_STATUS: Format = Format {
    name: "the status of a redirect",
    code: &codes::OUT_OF_RANGE,
    why: "only some statuses make a client follow the location (RFC 9110 section 15.4)",
    fix: "write 301, 302, 303, 307 or 308",
    pattern: "^(301|302|303|307|308)$",
    numbers: true,
    check: |text| {
        ok(
            matches!(text, "301" | "302" | "303" | "307" | "308"),
            "is not the status of a redirect",
        )
    },
};
