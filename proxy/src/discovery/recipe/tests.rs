use super::*;
use crate::discovery::dns::question::Record;
use std::collections::HashMap;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

#[test]
fn names_say_what_they_stand_for() {
    // `1.2.3.4:5` is literal, `?host:5` asks for addresses, `srv name` for services, `!` fails, `-` is no such name.
    let table = [
        ("/#/dns/accounts.example/8080", "?accounts.example:8080"),
        ("/#/dns/Accounts.EXAMPLE/8080", "?accounts.example:8080"),
        ("/#/dns/10.0.0.1/80", "10.0.0.1:80"),
        ("/#/dns/fd00::1/80", "[fd00::1]:80"),
        ("/#/dns/localhost/80", "127.0.0.1:80"),
        ("/#/dns/a.localhost./80", "127.0.0.1:80"),
        ("/#/dns/accounts/http", "-"),
        ("/#/dns/accounts/0", "-"),
        ("/#/dns/accounts/65536", "-"),
        ("/#/dns/accounts", "-"),
        ("/#/dns/a..b/80", "-"),
        ("/#/dns/a/80/rest", "-"),
        ("/#/dns-srv/_http._tcp.Accounts", "srv _http._tcp.accounts"),
        ("/#/dns-srv/_http._tcp.accounts/x", "-"),
        ("/#/static/a", "-"),
        ("/#/files/a", "-"),
        ("/$/inet/10.0.0.1/80", "10.0.0.1:80"),
        ("/$/inet/accounts.example/80", "?accounts.example:80"),
        ("/$/inet/8080", "127.0.0.1:8080"),
        ("/$/inet/accounts/0", "!"),
        ("/$/inet/accounts/99999", "!"),
        ("/$/inet/a%b/80", "!"),
        ("/$/fixedinet/accounts/80", "?accounts:80 once"),
        ("/$/io.buoyant.rinet/80/accounts", "?accounts:80"),
        ("/svc/a", "-"),
        ("/", "-"),
    ];
    for (name, expect) in table {
        let shown = match of_name(&path(name)) {
            None => "-".into(),
            Some(Err(_)) => "!".into(),
            Some(Ok(named)) => {
                let part = match named.part {
                    Part::Literal(endpoint) => endpoint.address.to_string(),
                    Part::Asked {
                        question: Question::Addresses(host),
                        port,
                        ..
                    } => format!("?{host}:{port}"),
                    Part::Asked {
                        question: Question::Services(name),
                        ..
                    } => format!("srv {name}"),
                };
                format!("{part}{}", if named.once { " once" } else { "" })
            }
        };
        assert_eq!(shown, expect, "{name}");
    }
}

#[test]
fn names_for_dns_are_known_in_lower_case_and_others_as_they_are() {
    for (name, expect) in [
        ("/#/dns/A.b/80", "/#/dns/a.b/80"),
        ("/#/dns-srv/_HTTP._tcp.a", "/#/dns-srv/_http._tcp.a"),
        ("/#/static/A", "/#/static/A"),
        ("/$/inet/A/80", "/$/inet/A/80"),
    ] {
        assert_eq!(canonical(&path(name)), path(expect));
    }
}

#[test]
fn sets_are_composed_of_what_is_known() {
    let record = |ip: &str, port, weight| Record {
        ip: ip.parse().unwrap(),
        port,
        weight,
    };
    let known: HashMap<Question, Known> = [
        (
            "two",
            Known::Good(vec![record("10.0.0.1", 0, 1.0), record("10.0.0.2", 0, 1.0)]),
        ),
        ("srv", Known::Good(vec![record("10.0.0.1", 7, 0.5)])),
        ("none", Known::Never(Failure::NoSuchName(None))),
        ("broken", Known::Never(Failure::Broken("SERVFAIL".into()))),
    ]
    .into_iter()
    .map(|(host, known)| (Question::Addresses(host.into()), known))
    .collect();
    let part = |text: &str| match text.parse() {
        Ok(address) => Part::Literal(Endpoint {
            weight: 3.0,
            ..Endpoint::new(address)
        }),
        Err(_) => Part::host(text, 80, 2.0, Locality::default()),
    };
    let show = |addr: Addr| match addr {
        Addr::Bound(endpoints) => endpoints
            .iter()
            .map(|e| format!("{}*{}", e.address, e.weight))
            .collect::<Vec<_>>()
            .join(" "),
        Addr::Pending => "pending".into(),
        Addr::Neg => "neg".into(),
        Addr::Failed(why) => format!("failed: {why}"),
    };
    let table: &[(&[&str], bool, &str)] = &[
        (&[], false, ""),
        (&["10.0.0.9:1"], false, "10.0.0.9:1*3"),
        (&["10.0.0.9:1", "10.0.0.9:1"], false, "10.0.0.9:1*3"),
        (&["two"], true, "10.0.0.1:80*2 10.0.0.2:80*2"),
        (&["srv"], true, "10.0.0.1:7*1"),
        (
            &["10.0.0.1:80", "two"],
            false,
            "10.0.0.1:80*3 10.0.0.2:80*2",
        ),
        (&["unasked"], true, "pending"),
        (&["unasked", "none"], false, "pending"),
        (&["unasked", "10.0.0.9:1"], false, "10.0.0.9:1*3"),
        (&["none", "10.0.0.9:1"], false, "10.0.0.9:1*3"),
        (&["none"], true, "neg"),
        (
            &["none"],
            false,
            "failed: DNS gives no addresses of none: no such name (NXDOMAIN)",
        ),
        (
            &["broken"],
            true,
            "failed: DNS gives no addresses of broken: SERVFAIL",
        ),
        (
            &["broken"],
            false,
            "failed: DNS gives no addresses of broken: SERVFAIL",
        ),
    ];
    for (parts, named, expect) in table {
        let parts: Vec<Part> = parts.iter().map(|text| part(text)).collect();
        let known = |question: &Question| known.get(question).unwrap_or(&Known::Pending);
        assert_eq!(
            show(compose(&parts, known, *named)),
            *expect,
            "{parts:?} {named}"
        );
    }
}
