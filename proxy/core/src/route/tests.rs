use super::*;
use crate::config::Rewrite;
use crate::name::Path;
use regex::Regex;

struct Request {
    method: &'static str,
    target: &'static str,
    headers: Vec<(&'static str, &'static str)>,
}

impl RequestView for Request {
    fn method(&self) -> &str {
        self.method
    }
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
    fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
    fn http10(&self) -> bool {
        false
    }
    fn authority(&self) -> Option<&str> {
        self.headers
            .iter()
            .find(|(name, _)| *name == "host")
            .map(|(_, value)| *value)
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value.as_bytes())
    }
    fn headers_all(&self, name: &str) -> Vec<&[u8]> {
        self.headers
            .iter()
            .filter(|(n, _)| *n == name)
            .map(|(_, value)| value.as_bytes())
            .collect()
    }
}

fn get(target: &'static str, headers: &[(&'static str, &'static str)]) -> Request {
    Request {
        method: "GET",
        target,
        headers: headers.to_vec(),
    }
}

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.to_owned())
}
fn prefix(text: &str) -> StringMatch {
    StringMatch::Prefix(text.to_owned())
}
fn regex(text: &str) -> StringMatch {
    StringMatch::Regex(Regex::new(&format!("^(?:{text})$")).unwrap())
}

const CALLER: Caller<'static> = Caller {
    namespace: "bank",
    service: Some("web"),
};

#[test]
fn paths_match_by_whole_segments() {
    let rows = [
        (prefix("/v1"), "/v1", true),
        (prefix("/v1"), "/v1/x", true),
        (prefix("/v1/"), "/v1/x?y", true),
        (prefix("/v1/"), "/v1", true),
        (prefix("/v1"), "/v10", false),
        (prefix("/"), "/anything", true),
        (prefix("/v1"), "/V1", false),
        (exact("/v1"), "/v1?q=1", true),
        (exact("/v1"), "/v1/", false),
        (regex("/users/[0-9]+"), "/users/12", true),
        (regex("/users/[0-9]+"), "/users/12/x", false),
    ];
    for (condition, target, expected) in rows {
        let conditions = Match {
            path: Some(condition.clone()),
            ..Match::default()
        };
        assert_eq!(
            matches(&conditions, &get(target, &[]), &CALLER),
            expected,
            "{condition:?} on {target}"
        );
    }
}

#[test]
fn headers_match_any_of_their_values() {
    let request = get(
        "/",
        &[
            ("x-stage", "v1"),
            ("x-stage", "v2"),
            ("host", "accounts:81"),
            ("x-bad", "\u{e9}"),
        ],
    );
    let rows = [
        ("x-stage", exact("v1"), true),
        ("x-stage", exact("v2"), true),
        ("x-stage", exact("v"), false),
        ("x-stage", prefix("v"), true),
        ("x-stage", regex("v[23]"), true),
        ("x-stage", StringMatch::Present(true), true),
        ("x-stage", StringMatch::Present(false), false),
        ("x-none", StringMatch::Present(false), true),
        ("x-none", StringMatch::Present(true), false),
        ("x-none", regex(".*"), false),
        ("host", exact("accounts:81"), true),
        ("x-bad", regex("."), true),
    ];
    for (name, condition, expected) in rows {
        let conditions = Match {
            headers: vec![(name.to_owned(), condition.clone())],
            ..Match::default()
        };
        assert_eq!(
            matches(&conditions, &request, &CALLER),
            expected,
            "{name} {condition:?}"
        );
    }
}

#[test]
fn query_parameters_are_decoded() {
    let request = get("/?a=1&b=x%20y&a=2&c&d=%zz&=e&f+g=h", &[]);
    let rows = [
        ("a", exact("1"), true),
        ("a", exact("2"), true),
        ("a", exact("3"), false),
        ("b", exact("x y"), true),
        ("c", StringMatch::Present(true), true),
        ("c", exact(""), true),
        ("d", exact("%zz"), true),
        ("e", StringMatch::Present(true), false),
        ("f g", exact("h"), true),
    ];
    for (name, condition, expected) in rows {
        let conditions = Match {
            query: vec![(name.to_owned(), condition.clone())],
            ..Match::default()
        };
        assert_eq!(
            matches(&conditions, &request, &CALLER),
            expected,
            "{name} {condition:?}"
        );
    }
}

#[test]
fn methods_and_callers() {
    let request = get("/", &[]);
    let only = |methods: &[&str]| Match {
        methods: methods.iter().map(|m| (*m).to_owned()).collect(),
        ..Match::default()
    };
    assert!(matches(&only(&["PUT", "GET"]), &request, &CALLER));
    assert!(!matches(&only(&["PUT"]), &request, &CALLER));
    let unknown = Caller {
        service: None,
        ..CALLER
    };
    let rows = [
        (exact("bank"), CALLER, true),
        (exact("web"), CALLER, true),
        (exact("web.bank"), CALLER, true),
        (exact("web"), unknown, false),
        (exact("bank"), unknown, true),
        (StringMatch::Present(true), unknown, false),
    ];
    for (condition, caller, expected) in rows {
        let conditions = Match {
            from: Some(condition.clone()),
            ..Match::default()
        };
        assert_eq!(
            matches(&conditions, &request, &caller),
            expected,
            "{condition:?} {caller:?}"
        );
    }
}

#[test]
fn keys_come_from_headers_cookies_and_addresses() {
    let request = get(
        "/",
        &[
            ("x-user-id", " u1 "),
            ("cookie", "a=1; sid = s%2F1 "),
            ("cookie", "late=x"),
            ("x-empty", ""),
        ],
    );
    let peer: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
    let rows: [(Key, Option<&[u8]>); 7] = [
        (Key::Header("x-user-id".into()), Some(b"u1")),
        (Key::Header("x-empty".into()), None),
        (Key::Header("x-none".into()), None),
        (Key::Cookie("sid".into()), Some(b"s%2F1")),
        (Key::Cookie("late".into()), Some(b"x")),
        (Key::Cookie("i".into()), None),
        (Key::Address, Some(&[10, 0, 0, 1])),
    ];
    for (key, expected) in rows {
        assert_eq!(key_of(&key, &request, peer).as_deref(), expected, "{key:?}");
    }
}

#[test]
fn paths_are_rewritten() {
    let rows = [
        (
            Some("/v1"),
            PathRewrite::Prefix("/v2".into()),
            "/v1/x?q=1",
            "/v2/x?q=1",
        ),
        (Some("/v1"), PathRewrite::Prefix("/v2".into()), "/v1", "/v2"),
        (Some("/v1"), PathRewrite::Prefix("/".into()), "/v1/x", "/x"),
        (Some("/v1"), PathRewrite::Prefix("/".into()), "/v1?q", "/?q"),
        (None, PathRewrite::Prefix("/v2/".into()), "/x", "/v2/x"),
        (None, PathRewrite::Full("/y".into()), "/x/z?q", "/y?q"),
        (None, PathRewrite::Full("/y".into()), "*", "*"),
    ];
    for (matched, rewrite, target, expected) in rows {
        let rule = Rule {
            matches: Match {
                path: matched.map(prefix),
                ..Match::default()
            },
            set: Rewrite {
                path: Some(rewrite),
                ..Rewrite::default()
            },
            ..Rule::default()
        };
        assert_eq!(rewrite_path(&rule, target), expected, "{rule:?}");
    }
}

#[test]
fn the_service_is_what_follows_svc() {
    let rows = [
        ("/svc/accounts", Some("accounts")),
        ("/svc/a/b", Some("a/b")),
        ("/svc", None),
        ("/x/y", None),
    ];
    for (path, expected) in rows {
        assert_eq!(
            service_of(&Path::parse(path).unwrap()).as_deref(),
            expected,
            "{path}"
        );
    }
}

#[test]
fn routes_are_found_by_namespace() {
    let route = |namespace: &str, service: &str| {
        let (documents, findings) = crate::spec::check_documents(
            "r.yaml",
            &format!(
                "apiVersion: heddle.dev/v1alpha1\nkind: Route\nmetadata: {{name: r, namespace: {namespace}}}\n\
                 spec: {{service: \"{service}\", rules: [{{to: x}}]}}"
            ),
        );
        assert_eq!(findings, []);
        (
            (namespace.to_owned(), service.to_owned()),
            documents.routes[0].clone(),
        )
    };
    let routes = BTreeMap::from([
        route("bank", "accounts"),
        route("bank", "accounts:8080"),
        route("shop", "accounts.bank.example"),
        route("shop", "a/b"),
    ]);
    let rows = [
        ("bank", "/svc/accounts", Some("accounts")),
        ("shop", "/svc/accounts", None),
        ("shop", "/svc/accounts.bank", Some("accounts")),
        ("shop", "/svc/accounts.bank:8080", Some("accounts:8080")),
        ("bank", "/svc/accounts:8080", Some("accounts:8080")),
        ("bank", "/svc/accounts:81", None),
        (
            "shop",
            "/svc/accounts.bank.example",
            Some("accounts.bank.example"),
        ),
        ("bank", "/svc/accounts.bank.example", None),
        ("shop", "/svc/a/b", Some("a/b")),
        ("bank", "/other/accounts", None),
    ];
    for (namespace, name, expected) in rows {
        let name = Path::parse(name).unwrap();
        let found = find(&routes, namespace, &name);
        assert_eq!(
            found.map(|route| route.service.as_str()),
            expected,
            "{name} from {namespace}"
        );
        for (of, service) in routes.keys() {
            let about = is_about(of, service, namespace, &name);
            assert_eq!(
                about,
                Some(service.as_str()) == expected,
                "{of}/{service} and {name} from {namespace}"
            );
        }
    }
}
