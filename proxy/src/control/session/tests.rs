use super::*;
use heddle_core::config::WrittenEndpoint;
use heddle_xds::cluster::{Cluster, cluster};
use heddle_xds::core::{Address, SocketAddress, address, socket_address};
use heddle_xds::discovery::Resource;
use heddle_xds::endpoint::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use heddle_xds::{CLUSTER, DOCUMENT, Document, ENDPOINTS, pack};

fn eds(name: &str) -> Resource {
    resource(
        name,
        pack(&Cluster {
            name: name.into(),
            cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
                cluster::DiscoveryType::Eds.into(),
            )),
            ..Cluster::default()
        }),
    )
}

fn assignment(host: &str, port: u32) -> ClusterLoadAssignment {
    let socket = SocketAddress {
        address: host.into(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port)),
        ..SocketAddress::default()
    };
    let endpoint = LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(Address {
                address: Some(address::Address::SocketAddress(socket)),
            }),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    ClusterLoadAssignment {
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: vec![endpoint],
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    }
}

fn resource(name: &str, any: Any) -> Resource {
    Resource {
        name: name.into(),
        version: "1".into(),
        resource: Some(any),
        ..Resource::default()
    }
}

fn route(name: &str, spec: &str) -> Resource {
    let document = Document {
        kind: "Route".into(),
        namespace: "default".into(),
        name: name.into(),
        text: format!(
            "apiVersion: heddle.dev/v1alpha1\nkind: Route\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        ),
    };
    resource(&document.resource_name(), pack(&document))
}

fn answer(url: &str, resources: Vec<Resource>, removed: &[&str]) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: url.into(),
        resources,
        removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
        nonce: "n".into(),
        ..DeltaDiscoveryResponse::default()
    }
}

fn ports(told: &Told) -> Option<Vec<u16>> {
    let Told::Known(endpoints, _) = told else {
        return None;
    };
    Some(
        endpoints
            .iter()
            .map(|endpoint| match endpoint {
                WrittenEndpoint::Address(endpoint) => endpoint.address.port(),
                WrittenEndpoint::Host { port, .. } => *port,
            })
            .collect(),
    )
}

const A: &str = "static/a";

fn knowing_a() -> Session {
    let mut session = Session::default();
    session.want(&[A.into()], &[]);
    session.take(answer(CLUSTER, vec![eds(A)], &[]), 100);
    assert_eq!(
        session.set(A),
        Told::Waiting,
        "its endpoints are still to come"
    );
    session.take(
        answer(
            ENDPOINTS,
            vec![resource(A, pack(&assignment("127.0.0.1", 1)))],
            &[],
        ),
        100,
    );
    assert_eq!(ports(&session.set(A)), Some(vec![1]));
    session
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason_and_what_was_known_stays() {
    let mut session = knowing_a();
    session.want(&["static/b".into()], &[]);
    let table = [
        (assignment("127.0.0.1", 0), "0 is no port"),
        (assignment("127.0.0.1", 70_000), "70000 is no port"),
        (
            assignment("no host", 1),
            "neither an IP address nor a host name",
        ),
    ];
    for (bad, why) in table {
        let good = resource("static/b", pack(&assignment("127.0.0.1", 2)));
        let taken = session.take(
            answer(ENDPOINTS, vec![resource(A, pack(&bad)), good], &[]),
            100,
        );
        assert!(
            taken
                .refused
                .as_ref()
                .is_some_and(|text| text.contains(why) && text.contains(A)),
            "{taken:?}"
        );
        assert!(taken.reply.error_detail.is_some() && taken.reply.response_nonce == "n");
        assert_eq!(ports(&session.set(A)), Some(vec![1]));
        assert!(taken.sets.contains("static/b"), "the others count");
    }
    let torn = Any {
        type_url: ENDPOINTS.into(),
        value: vec![0xff],
    };
    assert!(
        session
            .take(answer(ENDPOINTS, vec![resource(A, torn)], &[]), 100)
            .refused
            .is_some()
    );
    assert_eq!(ports(&session.set(A)), Some(vec![1]));
}

#[test]
fn rules_are_judged_as_in_a_file_of_the_proxys_own() {
    let mut session = Session::default();
    assert!(!session.told_rules);
    let taken = session.take(
        answer(
            DOCUMENT,
            vec![
                route("a", "{service: a, rules: [{to: b}]}"),
                route("c", "{service: c, rulez: []}"),
            ],
            &[],
        ),
        0,
    );
    assert!(taken.documents && session.told_rules);
    assert!(
        taken
            .refused
            .as_ref()
            .is_some_and(|why| why.contains("HED203")),
        "{taken:?}"
    );
    assert_eq!(session.documents().len(), 1);
    let mut other = route("a", "{service: a, rules: [{to: b}]}");
    other.name = "Route/default/z".into();
    assert!(
        session
            .take(answer(DOCUMENT, vec![other], &[]), 0)
            .refused
            .is_some(),
        "under another's name"
    );
    session.take(answer(DOCUMENT, vec![], &["Route/default/a"]), 0);
    assert!(session.documents().is_empty());
}

#[test]
fn what_does_not_exist_is_missing_until_it_does() {
    let mut session = Session::default();
    session.want(&[A.into()], &[]);
    session.take(answer(CLUSTER, vec![], &[A]), 0);
    assert_eq!(
        session.set(A),
        Told::Waiting,
        "somebody may know its endpoints"
    );
    session.take(answer(ENDPOINTS, vec![], &[A]), 0);
    assert_eq!(session.set(A), Told::Missing);
    session.hello(&Node::default());
    assert_eq!(
        session.set(A),
        Told::Waiting,
        "another connection may know it"
    );
    session.take(answer(CLUSTER, vec![eds(A)], &[]), 0);
    session.take(
        answer(
            ENDPOINTS,
            vec![resource(A, pack(&assignment("10.0.0.1", 9)))],
            &[],
        ),
        0,
    );
    assert_eq!(ports(&session.set(A)), Some(vec![9]));
    session.take(answer(ENDPOINTS, vec![], &[A]), 0);
    session.take(answer(CLUSTER, vec![], &[A]), 0);
    assert_eq!(session.set(A), Told::Missing, "it was taken away");
}

#[test]
fn a_connection_begins_with_what_is_wanted_and_known() {
    let mut session = Session::default();
    let topics: Vec<_> = session
        .hello(&Node::default())
        .into_iter()
        .map(|request| request.type_url)
        .collect();
    assert_eq!(
        topics,
        [DOCUMENT],
        "no clusters at all, or all would be asked for"
    );
    let mut session = knowing_a();
    let said = session.want(&[A.into(), "static/b".into()], &[]);
    assert_eq!(said.len(), 2);
    assert!(
        said.iter()
            .all(|request| request.resource_names_subscribe == ["static/b"]),
        "a was wanted already"
    );
    let hello = session.hello(&Node::default());
    assert_eq!(hello[1].resource_names_subscribe, ["static/a", "static/b"]);
    assert_eq!(
        hello[1].initial_resource_versions,
        [(A.to_owned(), "1".to_owned())].into()
    );
    let said = session.want(&[], &[A.into()]);
    assert_eq!(said[0].resource_names_unsubscribe, [A]);
    assert_eq!(session.set(A), Told::Waiting);
}

#[test]
fn what_is_kept_comes_back_unless_it_was_not_used_for_a_month() {
    let mut session = knowing_a();
    session.take(
        answer(
            DOCUMENT,
            vec![route("r", "{service: a, rules: [{to: b}]}")],
            &[],
        ),
        100,
    );
    let day = 24 * 3600;
    let kept = session.kept(100, |_| None);
    let back = Session::new(kept.clone(), 100 + 30 * day);
    assert_eq!(ports(&back.set(A)), Some(vec![1]));
    assert!(back.told_rules && back.documents().len() == 1);
    assert_eq!(
        back.wanted().collect::<Vec<_>>(),
        [A],
        "it is asked for again"
    );
    let back = Session::new(kept, 101 + 30 * day);
    assert_eq!(
        (back.set(A), back.documents().len()),
        (Told::Waiting, 1),
        "rules do not age"
    );
    let used = session.kept(100 + 29 * day, |_| Some(0));
    assert_eq!(
        ports(&Session::new(used, 100 + 58 * day).set(A)),
        Some(vec![1]),
        "it was used yesterday"
    );
}
