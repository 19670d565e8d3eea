//! `Route` documents and their rules.
//!
//! Pure.

use super::super::codes;
use super::super::fields::Fields;
use super::super::format;
use super::super::report::Report;
use super::super::table::{policy as policy_table, rules as table};
use super::super::yaml::{Node, Value};
use super::{Collected, Target, Written, policy};
use crate::config::{
    Destination, Match, Mirror, PathRewrite, Redirect, Rewrite, Route, Rule, StringMatch,
};

/// A redirect without a status is temporary, so that a mistake does not stick in browsers.
const REDIRECT_STATUS: u16 = 302;

pub(super) fn route(
    spec: Fields<'_>,
    namespace: String,
    name: String,
    report: &mut Report,
    into: &mut Collected,
) {
    let timeout = spec.time("timeout");
    let attempt_timeout = spec.time("attemptTimeout");
    if let (Some(total), Some(attempt)) = (timeout, attempt_timeout)
        && attempt > total
    {
        report.add(
            &codes::TIMEOUTS_CROSS,
            spec.get("attemptTimeout").map_or(spec.node.place, |node| node.place),
            format!("an attempt may take {}, the whole request {}", format::show(attempt), format::show(total)),
            "the request would end before its first attempt does, so no attempt could ever time out",
            "make `attemptTimeout` shorter than `timeout`, or remove one",
        );
    }
    let rules = rules(spec.items("rules"), report, into);
    let value = Route {
        namespace,
        name,
        service: spec.owned("service").unwrap_or_default(),
        rules,
        timeout,
        attempt_timeout,
        retries: policy::retries(spec.child("retries", &policy_table::RETRIES), report),
        hedge: spec
            .child("hedge", &policy_table::HEDGE)
            .and_then(|hedge| hedge.number("percentile")),
        balancer: policy::balancer(spec.child("balancer", &policy_table::BALANCER), report),
        accrual: policy::accrual(spec.child("accrual", &policy_table::ACCRUAL), report),
        pool: policy::pool(spec.child("pool", &policy_table::POOL)),
    };
    if let Some(service) = spec.get("service").filter(|node| node.text().is_some()) {
        into.routes.push(Written {
            value,
            spot: report.spot(service.place),
        });
    }
}

fn rules(items: &[Node], report: &mut Report, into: &mut Collected) -> Vec<Rule> {
    let is_catch_all = |node: &Node| node.get("match").is_none_or(|m| m.entries().is_empty());
    let catch_all = items
        .iter()
        .position(|node| matches!(node.value, Value::Map(_)) && is_catch_all(node));
    if let Some(first) = catch_all {
        for rule in items.iter().skip(first + 1) {
            report.add(
                &codes::UNREACHABLE_RULE,
                rule.place,
                "no request reaches this rule",
                format!(
                    "the rule in line {} has no conditions, and the first match wins",
                    items[first].place.line
                ),
                "move it up, or remove it",
            );
        }
    } else if let Some(last) = items
        .last()
        .filter(|node| matches!(node.value, Value::Map(_)))
    {
        report.add(
            &codes::NO_CATCH_ALL,
            last.get("match").map_or(last.place, |node| node.place),
            "the last rule has conditions",
            "a request that no rule matches is answered 404",
            "add a last rule without `match`, if that is not wanted",
        );
    }
    items
        .iter()
        .map(|node| rule(Fields::new(node, &table::RULE), report, into))
        .collect()
}

fn rule(fields: Fields<'_>, report: &mut Report, into: &mut Collected) -> Rule {
    let matches = fields
        .child("match", &table::MATCH)
        .map(matches)
        .unwrap_or_default();
    let set = fields.child("set", &table::SET);
    let rule = Rule {
        to: destinations(fields, report, into),
        sticky_by: fields.parse("stickyBy", format::key),
        mirror: fields
            .child("mirror", &table::MIRROR)
            .and_then(|mirror| self::mirror(mirror, report, into)),
        set: set.map(|set| rewrite(set, report)).unwrap_or_default(),
        idempotent: fields.flag("idempotent").unwrap_or(false),
        matches,
    };
    where_it_goes(fields, &rule, report);
    let arms = rule.to.iter().filter(|to| to.weight > 0.0).count();
    if let (Some(sticky), 0 | 1) = (fields.get("stickyBy"), arms) {
        report.add(
            &codes::STICKY_ALONE,
            sticky.place,
            "there is nothing to choose between",
            "`stickyBy` decides between destinations, and this rule has at most one with a positive weight",
            "remove it, or add a destination",
        );
    }
    let by_prefix = matches!(rule.set.path, Some(PathRewrite::Prefix(_)));
    if let (true, Some(StringMatch::Exact(_) | StringMatch::Regex(_))) =
        (by_prefix, &rule.matches.path)
    {
        let place = set
            .and_then(|set| set.get("path"))
            .map_or(fields.node.place, |node| node.place);
        report.add(
            &codes::KEYS_EXCLUDE,
            place,
            "`set.path.prefix` stands beside a `match.path` that is no prefix",
            "there is no matched prefix to replace",
            "match by `prefix`, or write `set: {path: {full: /…}}`",
        );
    }
    rule
}

/// A rule forwards, redirects or answers: exactly one of the three.
fn where_it_goes(fields: Fields<'_>, rule: &Rule, report: &mut Report) {
    let ways = [
        ("to", fields.get("to").is_some()),
        ("set.redirect", rule.set.redirect.is_some()),
        ("set.status", rule.set.status.is_some()),
    ];
    let given: Vec<_> = ways
        .iter()
        .filter(|(_, given)| *given)
        .map(|(way, _)| *way)
        .collect();
    if let [first, second, ..] = given[..] {
        report.add(
            &codes::KEYS_EXCLUDE,
            fields.node.place,
            format!("the rule has `{second}` beside `{first}`"),
            "a request is either forwarded, redirected or answered with a status",
            "remove one of the two",
        );
    }
    let broken = fields
        .get("set")
        .is_some_and(|set| set.get("redirect").or(set.get("status")).is_some());
    if given.is_empty() && !broken && matches!(fields.node.value, Value::Map(_)) {
        report.add(
            &codes::MISSING_KEY,
            fields.node.place,
            "the rule sends nowhere",
            "a rule needs `to`, or `set` with `redirect` or `status`",
            "add `to: <service>`",
        );
    }
}

fn destinations(fields: Fields<'_>, report: &mut Report, into: &mut Collected) -> Vec<Destination> {
    let Some(to) = fields.get("to") else {
        return Vec::new();
    };
    let items = match &to.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(to),
    };
    let mut destinations: Vec<Destination> = Vec::new();
    for item in items {
        let Some(destination) = destination(item) else {
            continue;
        };
        into.targets.push(Target {
            path: destination.path.clone(),
            spot: report.spot(item.place),
        });
        if destinations
            .iter()
            .any(|other| other.path == destination.path)
        {
            report.add(
                &codes::DUPLICATE_ENDPOINT,
                item.place,
                format!("`{}` stands in this rule a second time", destination.name),
                "a sticky choice counts a destination once, so the shares would not be what they seem",
                "write it once, with the sum of the weights",
            );
        }
        destinations.push(destination);
    }
    if destinations.len() == items.len()
        && !destinations.is_empty()
        && destinations.iter().all(|to| to.weight == 0.0)
    {
        report.add(
            &codes::NO_WEIGHT,
            to.place,
            "all destinations have weight 0",
            "no request could go anywhere",
            "give at least one a weight above 0",
        );
    }
    destinations
}

fn destination(node: &Node) -> Option<Destination> {
    let (name, weight) = match node.text() {
        Some(text) => (text, 1.0),
        None => {
            let fields = Fields::new(node, &table::DESTINATION);
            (
                fields.text("service")?,
                fields.number("weight").unwrap_or(1.0),
            )
        }
    };
    Some(Destination {
        name: name.to_owned(),
        path: format::destination(name).ok()?,
        weight,
    })
}

fn mirror(fields: Fields<'_>, report: &mut Report, into: &mut Collected) -> Option<Mirror> {
    let to = fields.get("to")?;
    let percent = fields.number("percent").unwrap_or(100.0);
    if percent == 0.0 {
        report.add(
            &codes::NO_EFFECT,
            fields.node.place,
            "nothing is mirrored",
            "0 percent of the requests are copied",
            "raise `percent`, or remove `mirror`",
        );
    }
    let to = Target {
        path: destination(to)?.path,
        spot: report.spot(to.place),
    };
    into.targets.push(to);
    Some(Mirror {
        to: destination(fields.get("to")?)?,
        percent,
    })
}

/// The conditions of a rule or a fault.
pub(in crate::spec) fn matches(fields: Fields<'_>) -> Match {
    let methods = match fields.get("method") {
        Some(node) if node.text().is_some() => std::slice::from_ref(node),
        Some(node) => node.items(),
        None => &[],
    };
    let conditions = |key: &'static str, name: fn(&str) -> String| {
        let entries = fields.get(key).map(Node::entries).unwrap_or_default();
        entries
            .iter()
            .filter_map(|(key, node)| Some((name(&key.text), condition(node)?)))
            .collect()
    };
    Match {
        methods: methods
            .iter()
            .filter_map(|node| node.text().map(str::to_owned))
            .collect(),
        path: fields.get("path").and_then(path_condition),
        headers: conditions("headers", |name| name.to_ascii_lowercase()),
        query: conditions("query", str::to_owned),
        from: fields.get("from").and_then(condition),
    }
}

fn condition(node: &Node) -> Option<StringMatch> {
    if let Some(text) = node.text() {
        return Some(StringMatch::Exact(text.to_owned()));
    }
    let fields = Fields::new(node, &table::CONDITION_OBJECT);
    let present = fields.flag("present").map(StringMatch::Present);
    present.or_else(|| exact_prefix_or_regex(fields))
}

fn path_condition(node: &Node) -> Option<StringMatch> {
    if let Some(text) = node.text() {
        return Some(StringMatch::Exact(text.to_owned()));
    }
    exact_prefix_or_regex(Fields::new(node, &table::PATH_CONDITION))
}

fn exact_prefix_or_regex(fields: Fields<'_>) -> Option<StringMatch> {
    let exact = fields.owned("exact").map(StringMatch::Exact);
    let prefix = fields.owned("prefix").map(StringMatch::Prefix);
    let regex = fields.parse("regex", format::regex).map(StringMatch::Regex);
    exact.or(prefix).or(regex)
}

/// Header fields that say how a message is framed or where it goes; a rule may not touch them.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn rewrite(fields: Fields<'_>, report: &mut Report) -> Rewrite {
    let remove = fields.child("remove", &table::REMOVE);
    let removed = |key: &'static str, report: &mut Report| -> Vec<String> {
        let items = remove.map(|remove| remove.items(key)).unwrap_or_default();
        items
            .iter()
            .filter_map(|node| header_name(node.text()?, node.place, report))
            .collect()
    };
    let remove_request_headers = removed("requestHeaders", report);
    let remove_response_headers = removed("responseHeaders", report);
    let mut headers = |key: &'static str| -> Vec<(String, String)> {
        let entries = fields.get(key).map(Node::entries).unwrap_or_default();
        let header = |(name, value): &(super::super::yaml::Key, Node)| {
            let name = header_name(&name.text, name.place, report)?;
            Some((name, value.text()?.to_owned()))
        };
        entries.iter().filter_map(header).collect()
    };
    Rewrite {
        request_headers: headers("requestHeaders"),
        response_headers: headers("responseHeaders"),
        remove_request_headers,
        remove_response_headers,
        path: fields.child("path", &table::SET_PATH).and_then(|path| {
            let prefix = path.owned("prefix").map(PathRewrite::Prefix);
            prefix.or_else(|| path.owned("full").map(PathRewrite::Full))
        }),
        host: fields.owned("host"),
        redirect: fields.get("redirect").and_then(redirect),
        status: fields.count("status"),
    }
}

fn header_name(
    name: &str,
    place: super::super::yaml::Place,
    report: &mut Report,
) -> Option<String> {
    let name = name.to_ascii_lowercase();
    if FRAMING.contains(&name.as_str()) {
        report.add(
            &codes::BAD_TOKEN,
            place,
            format!("`{name}` is not a rule's to change"),
            "it says how the message is framed or where it goes, which is the proxy's to write",
            if name == "host" {
                "write `set: {host: …}`"
            } else {
                "remove it"
            },
        );
        return None;
    }
    Some(name)
}

fn redirect(node: &Node) -> Option<Redirect> {
    if let Some(location) = node.text() {
        return Some(Redirect {
            location: location.to_owned(),
            status: REDIRECT_STATUS,
        });
    }
    let fields = Fields::new(node, &table::REDIRECT);
    Some(Redirect {
        location: fields.owned("location")?,
        status: fields.count("status").unwrap_or(REDIRECT_STATUS),
    })
}
