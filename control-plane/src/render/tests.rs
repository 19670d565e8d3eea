use super::*;
use heddle_core::spec::set::judge;
use heddle_xds::endpoint::ClusterLoadAssignment;
use heddle_xds::prost::Message as _;
use heddle_xds::route::{
    self as wire, RouteConfiguration, route::Action, route_action::ClusterSpecifier,
    route_match::PathSpecifier,
};
use heddle_xds::{cluster as cds, unpack};

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: heddle.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
    )
}

fn mesh(documents: &[String]) -> Vec<Sound> {
    let judged = judge(&[("mesh".into(), documents.concat())]);
    assert!(judged.unsound.is_empty(), "{:#?}", judged.findings);
    judged.sound
}

fn served(documents: &[String]) -> (Rules, Set) {
    let sound = mesh(documents);
    let mesh = Mesh::new(&sound);
    (mesh.rules(([127, 0, 0, 1], 4140).into()), mesh.endpoints())
}

fn sets() -> Vec<String> {
    ["v1", "v2", "v3"]
        .iter()
        .map(|name| document("Cluster", name, "{endpoints: ['127.0.0.1:1']}"))
        .collect()
}

/// The routes of the one service.
fn routes_of(rules: &Rules, service: &str) -> Vec<wire::Route> {
    let any = &rules.routes.resources[&format!("service/{service}")].any;
    let configuration: RouteConfiguration = unpack(any).unwrap();
    configuration.virtual_hosts[0].routes.clone()
}

/// Where a route goes, in short: `a`, `a 250000 b 750000`, or a status.
fn to(route: &wire::Route) -> String {
    match route.action.as_ref().unwrap() {
        Action::DirectResponse(direct) => direct.status.to_string(),
        Action::Route(action) => match action.cluster_specifier.as_ref().unwrap() {
            ClusterSpecifier::Cluster(name) => name.clone(),
            ClusterSpecifier::WeightedClusters(all) => {
                let one = |c: &wire::weighted_cluster::ClusterWeight| {
                    format!("{} {}", c.name, c.weight.as_ref().unwrap().value)
                };
                all.clusters.iter().map(one).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn rules_lead_where_names_lead() {
    let dtab = document(
        "Dtab",
        "d",
        "{dtab: '/svc/alias => /svc/v1 ; /svc/both => 3 * /svc/v1 & /svc/v2 ; /svc/first => /svc/none | /svc/v2 | /svc/v3 ; /svc/fails => ! ; /svc/loop => /svc/loop'}",
    );
    let table = [
        ("v1", "static/v1"),
        ("alias", "static/v1"),
        ("first", "static/v2"),
        ("both", "static/v1 750000 static/v2 250000"),
        (
            "[{service: both, weight: 1}, {service: v2, weight: 1}]",
            "static/v1 375000 static/v2 125000 static/v2 500000",
        ),
        (
            "[{service: v1, weight: 0}, {service: v2, weight: 9}]",
            "static/v2",
        ),
        (
            "[{service: v1, weight: 3}, {service: none, weight: 1}]",
            "static/v1 750000 nowhere 250000",
        ),
        ("none", "404"),
        ("fails", "502"),
        ("loop", "502"),
        ("/$/inet/10.0.0.1/80", "inet/10.0.0.1/80"),
        ("/#/dns/a.example/80", "dns/a.example/80"),
    ];
    for (written, expected) in table {
        let route = document(
            "Route",
            "r",
            &format!("{{service: s, rules: [{{to: {written}}}]}}"),
        );
        let all = [sets(), vec![dtab.clone(), route]].concat();
        let (rules, _) = served(&all);
        let route = &routes_of(&rules, "s")[0];
        assert_eq!(to(route), expected, "{written}");
        for name in expected
            .split(' ')
            .filter(|word| word.contains('/') || *word == "nowhere")
        {
            assert!(
                rules.clusters.resources.contains_key(name),
                "{name} is served"
            );
        }
    }
}

#[test]
fn a_rule_for_certain_callers_never_becomes_one_for_all() {
    let route = document(
        "Route",
        "r",
        "{service: s, rules: [{match: {from: staff}, to: v1}, {to: v2}]}",
    );
    let (rules, _) = served(&[sets(), vec![route]].concat());
    let routes: Vec<_> = routes_of(&rules, "s").iter().map(to).collect();
    assert_eq!(routes, ["static/v2"]);
}

#[test]
fn nothing_is_repeated_that_could_be_done_twice() {
    // (retries, attempt timeout, rule), then (retry_on, whether only idempotent methods)
    type Row = (&'static str, Option<(&'static str, bool)>);
    let table: &[Row] = &[
        (
            "",
            Some((
                "connect-failure,refused-stream,reset-before-request,reset",
                true,
            )),
        ),
        (
            "retries: {on: [connect, refused-stream]}",
            Some(("connect-failure,refused-stream", false)),
        ),
        (
            "retries: {on: [502, 503]}",
            Some(("retriable-status-codes", true)),
        ),
        ("retries: {on: [5xx]}", Some(("5xx", true))),
        ("retries: {max: 0}", None),
    ];
    for (written, expected) in table {
        let comma = if written.is_empty() { "" } else { ", " };
        let route = document(
            "Route",
            "r",
            &format!(
                "{{service: s{comma}{written}, rules: [{{to: v1}}, {{to: v2, idempotent: true}}]}}"
            ),
        );
        let (rules, _) = served(&[sets(), vec![route]].concat());
        let policy = |route: &wire::Route| match route.action.clone() {
            Some(Action::Route(action)) => action.retry_policy.map(|policy| {
                (
                    policy.retry_on,
                    !policy.retriable_request_headers.is_empty(),
                )
            }),
            other => panic!("{other:?}"),
        };
        let routes = routes_of(&rules, "s");
        let expected = expected.map(|(on, only)| (on.to_owned(), only));
        assert_eq!(policy(&routes[0]), expected, "{written}");
        assert_eq!(
            policy(&routes[1]),
            expected.map(|(on, _)| (on, false)),
            "{written}: the rule says it is idempotent"
        );
    }
}

#[test]
fn paths_are_matched_by_whole_segments_and_time_is_not_bounded_unless_written() {
    let route = document(
        "Route",
        "r",
        "{service: s, rules: [{match: {path: {prefix: /a}}, to: v1}, {match: {path: /b}, to: v1}, {to: v1}]}",
    );
    let (rules, _) = served(&[sets(), vec![route]].concat());
    let paths: Vec<_> = routes_of(&rules, "s")
        .into_iter()
        .map(|route| route.r#match.unwrap().path_specifier.unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            PathSpecifier::PathSeparatedPrefix("/a".into()),
            PathSpecifier::Path("/b".into()),
            PathSpecifier::Prefix("/".into())
        ]
    );
    let Some(Action::Route(action)) = &routes_of(&rules, "s")[2].action else {
        panic!()
    };
    assert_eq!(
        action.timeout,
        Some(heddle_xds::protobuf::Duration {
            seconds: 0,
            nanos: 0
        })
    );
}

#[test]
fn endpoints_have_zones_and_weights_and_none_of_weight_0() {
    let written = "{endpoints: ['10.0.0.1:1', {address: '10.0.0.2:1', weight: 2.5, zone: b, node: n}, '10.0.0.3:1 * 0']}";
    let (_, endpoints) = served(&[document("Cluster", "a", written)]);
    let assignment: ClusterLoadAssignment = unpack(&endpoints.resources["static/a"].any).unwrap();
    let shown: Vec<_> = assignment
        .endpoints
        .iter()
        .map(|locality| {
            let weights: Vec<_> = locality
                .lb_endpoints
                .iter()
                .map(|e| e.load_balancing_weight.unwrap().value)
                .collect();
            (
                locality.locality.as_ref().unwrap().zone.as_str(),
                locality.load_balancing_weight.unwrap().value,
                weights,
            )
        })
        .collect();
    assert_eq!(shown, [("", 1000, vec![1000]), ("b", 2500, vec![2500])]);
}

#[test]
fn hosts_are_left_to_dns() {
    let (rules, endpoints) = served(&[document(
        "Cluster",
        "a",
        "{dns: 'a.example:80', protocol: http2}",
    )]);
    let cluster: cds::Cluster = unpack(&rules.clusters.resources["static/a"].any).unwrap();
    let dns =
        cds::cluster::ClusterDiscoveryType::Type(cds::cluster::DiscoveryType::StrictDns.into());
    assert_eq!(cluster.cluster_discovery_type, Some(dns));
    assert!(cluster.load_assignment.is_some() && endpoints.resources.is_empty());
}

#[test]
fn what_is_drawn_follows_from_the_documents_alone() {
    let documents = [
        sets(),
        vec![
            document(
                "Route",
                "r",
                "{service: s, rules: [{to: [{service: v1, weight: 1}, {service: v2, weight: 2}]}]}",
            ),
            document("Dtab", "d", "{dtab: '/svc/x => /svc/v1'}"),
            document("Fault", "f", "{service: s, delay: 1s, until: 1m}"),
        ],
    ]
    .concat();
    let (once, again) = (
        served(&documents),
        served(&documents.iter().rev().cloned().collect::<Vec<_>>()),
    );
    assert_eq!(once, again, "whatever the order");
    let names: Vec<_> = once
        .0
        .documents
        .resources
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        ["Dtab/default/d", "Fault/default/f", "Route/default/r"],
        "sets have a path of their own"
    );
    for kind in [&once.0.clusters, &once.0.listeners, &once.0.routes, &once.1] {
        for resource in kind.resources.values() {
            assert!(!resource.any.value.is_empty() && resource.any.encoded_len() > 0);
        }
    }
    let unlisted: Vec<_> = once
        .0
        .listeners
        .resources
        .iter()
        .filter(|(_, r)| r.listed)
        .map(|(n, _)| n.as_str())
        .collect();
    assert_eq!(
        unlisted,
        ["outbound"],
        "Envoy is given no listener without an address"
    );
}
