use super::*;

fn accepted<T>(parse: impl Fn(&str) -> Parsed<T>, good: &[&str], bad: &[&str]) {
    for text in good {
        if let Err(problem) = parse(text) {
            panic!("`{text}` {}", problem.what);
        }
    }
    for text in bad {
        assert!(parse(text).is_err(), "`{text}` is accepted");
    }
}

#[test]
fn durations() {
    let rows = [
        ("0s", Some(0)),
        ("500ms", Some(500_u128)),
        ("2s", Some(2000)),
        ("10m", Some(600_000)),
        ("1h", Some(3_600_000)),
        ("1h30m", Some(5_400_000)),
        ("1m30s250ms", Some(90_250)),
        ("", None),
        ("5", None),
        ("s", None),
        ("1.5s", None),
        ("-1s", None),
        ("1 s", None),
        ("1s1m", None),
        ("1s1s", None),
        ("1d", None),
        ("99999999999999999999h", None),
        ("18446744073709551615h", None),
    ];
    for (text, milliseconds) in rows {
        let parsed = duration(text).ok().map(|d| d.as_millis());
        assert_eq!(parsed, milliseconds, "{text}");
    }
    for text in ["0s", "500ms", "2s", "10m", "24h", "90s", "1500ms"] {
        let time = duration(text).unwrap();
        assert_eq!(
            duration(&show(time)).unwrap(),
            time,
            "{text} {}",
            show(time)
        );
    }
}

#[test]
fn names() {
    let long = "a".repeat(64);
    accepted(
        label,
        &["a", "a-b", "0"],
        &["", "A", "a.b", "-a", "a-", "a_b", "ä", &long],
    );
    accepted(
        subdomain,
        &["a", "a.b", "a-1.b"],
        &["", "a..b", ".a", "A.b"],
    );
    accepted(
        service,
        &["a", "a.b", "a_b", "a:8080", "a/b", "1.1/GET/a"],
        &[
            "", "A", "a b", "a:", "a:0", "a:99999", "a:x", "a//b", "/a", "a..b", "-a", &long,
        ],
    );
    accepted(
        destination,
        &["a", "/a/b", "/#/static/a", "/$/inet/1.2.3.4/80"],
        &["", "/", "A", "//", "/a/"],
    );
}

#[test]
fn addresses() {
    accepted(
        address,
        &["127.0.0.1:80", "[::1]:80", "0.0.0.0:0"],
        &[
            "",
            "127.0.0.1",
            "localhost:80",
            ":80",
            "*:80",
            "127.0.0.1:65536",
            "1.2.3:80",
            "::1:80",
        ],
    );
    accepted(target, &["127.0.0.1:80"], &["127.0.0.1:0"]);
    accepted(
        host_port,
        &[
            "127.0.0.1:80",
            "[::1]:80",
            "a.example:80",
            "a.example.:80",
            "A:80",
            "a_b:80",
        ],
        &[
            "",
            "a",
            "a:",
            "a:b",
            "::1:80",
            "1.2.3:80",
            "300.1.1.1:80",
            "a b:80",
            "-:x",
            "[::1]",
            "[::1]80",
        ],
    );
    accepted(
        endpoint,
        &["a:80 * 2", "a:80*0.5", "127.0.0.1:80 * 0", "a:80"],
        &[
            "a:80 *",
            "a:80 * x",
            "a:80 * -1",
            "a:80 * NaN",
            "a:80 * inf",
            "a:80 * 1e9",
            "a:80 2",
            "* 2",
        ],
    );
    let parsed = endpoint("A.Example.:80 * 2.5").ok();
    let host = Host::Name("a.example".to_owned());
    assert_eq!(
        parsed,
        Some(HostPort {
            host,
            port: 80,
            weight: 2.5
        })
    );
}

#[test]
fn networks() {
    accepted(
        network,
        &[
            "10.0.0.0/8",
            "0.0.0.0/0",
            "1.2.3.4",
            "1.2.3.4/32",
            "::/0",
            "fd00::/8",
            "::1",
        ],
        &[
            "",
            "x",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "fd00::1/8",
            "::/129",
        ],
    );
}

#[test]
fn parts_of_messages() {
    accepted(
        token,
        &["x-a", "GET", "!#$%&'*+-.^_`|~"],
        &["", "a b", "a:b", "ä", "a\n", "(x)"],
    );
    accepted(
        url_path,
        &["/", "/a/b", "/a%20b;c=d"],
        &["", "a", "/a b", "/a?b", "/a#b", "/ä"],
    );
    accepted(
        key,
        &["header:x-a", "cookie:sid", "address"],
        &["", "x-a", "header:", "header:a b", "query:x"],
    );
    accepted(
        regex,
        &["", "a+", "(a|b)?", "a|b"],
        &["(", "a)", "(?=a)", "[", "(a{100}){100}", "a)|(b"],
    );
    assert!(
        !regex("a|b").ok().unwrap().is_match("ab"),
        "both alternatives are anchored"
    );
}

#[test]
fn reasons_to_retry() {
    accepted(
        retry_on,
        &[
            "connect",
            "5xx",
            "429",
            "599",
            "grpc:unavailable",
            "grpc:DEADLINE_EXCEEDED",
            "grpc:14",
        ],
        &[
            "", "4xx", "200", "600", "grpc:", "grpc:ok", "grpc:0", "grpc:17", "timeout",
        ],
    );
    for (code, name) in GRPC_NAMES.iter().enumerate().skip(1) {
        assert_eq!(grpc(name).ok(), Some(code as u32), "{name}");
    }
}
