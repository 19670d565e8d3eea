//! Tables of single exchanges, and a law: whatever happens in between, a client ends with what it is to have, and never
//! holds a route that names a cluster which it does not have.

use super::*;
use crate::snapshot::{Resource as Served, Rules, Set};
use heddle_core::random::{Rng, Xoshiro};
use heddle_xds::cluster::Cluster;
use heddle_xds::pack;
use heddle_xds::protobuf::Any;
use heddle_xds::{CLUSTER, ENDPOINTS, LISTENER, ROUTES};
use std::sync::Arc;

fn any(url: &str, text: &str) -> Any {
    Any {
        type_url: url.into(),
        value: text.into(),
    }
}

fn eds(name: &str, version: &str) -> Served {
    Served::new(pack(&Cluster {
        name: name.into(),
        alt_stat_name: version.into(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Eds.into(),
        )),
        ..Cluster::default()
    }))
}

/// A mesh whose route configuration names all its clusters; content is `name=version`.
fn mesh(clusters: &[(&str, &str)]) -> Snapshot {
    let set = |make: &dyn Fn(&str, &str) -> Served| -> Set {
        clusters
            .iter()
            .map(|(name, version)| ((*name).to_owned(), make(name, version)))
            .collect()
    };
    let names: Vec<&str> = clusters.iter().map(|(name, _)| *name).collect();
    let one = |url: &str, name: &str, text: &str| -> Set {
        [(name.to_owned(), Served::new(any(url, text)))]
            .into_iter()
            .collect()
    };
    Snapshot {
        rules: Arc::new(Rules {
            clusters: set(&eds),
            listeners: one(LISTENER, "outbound", "l"),
            routes: one(ROUTES, "outbound", &names.join(",")),
            documents: Set::default(),
        }),
        endpoints: Arc::new(set(&|name, version| {
            Served::new(any(ENDPOINTS, &format!("{name}={version}")))
        })),
    }
}

fn ask(url: &str, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: url.into(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..DiscoveryRequest::default()
    }
}

fn delta(url: &str, subscribe: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: url.into(),
        resource_names_subscribe: subscribe.iter().map(|name| (*name).to_owned()).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn next_delta(
    session: &mut Session,
    snapshot: &Snapshot,
) -> Option<(Vec<String>, Vec<String>, String)> {
    match session.next(snapshot, 0)? {
        Response::Delta(d) => Some((
            d.resources.iter().map(|r| r.name.clone()).collect(),
            d.removed_resources,
            d.nonce,
        )),
        Response::World(_) => panic!("the wrong flavor"),
    }
}

fn accept(session: &mut Session, url: &str, nonce: &str) {
    let ack = DeltaDiscoveryRequest {
        response_nonce: nonce.into(),
        ..delta(url, &[])
    };
    session.delta(ack, 0).unwrap();
}

fn refuse(session: &mut Session, url: &str, nonce: &str, why: &str) {
    let nack = DeltaDiscoveryRequest {
        response_nonce: nonce.into(),
        error_detail: Some(rpc::Status {
            code: 3,
            message: why.into(),
            details: Vec::new(),
        }),
        ..delta(url, &[])
    };
    session.delta(nack, 7).unwrap();
}

#[test]
fn names_are_told_when_they_differ_and_told_to_be_missing_once() {
    let mut session = Session::new(Flavor::Delta);
    let snapshot = mesh(&[("a", "1"), ("b", "1")]);
    session.delta(delta(ENDPOINTS, &["a", "x"]), 0).unwrap();
    let (sent, gone, nonce) = next_delta(&mut session, &snapshot).unwrap();
    assert_eq!((sent, gone), (vec!["a".to_owned()], vec!["x".to_owned()]));
    assert_eq!(
        next_delta(&mut session, &mesh(&[("a", "2")])),
        None,
        "one answer is under way"
    );
    assert!(!session.is_synced(&snapshot));
    accept(&mut session, ENDPOINTS, &nonce);
    assert!(session.is_synced(&snapshot));
    assert_eq!(next_delta(&mut session, &snapshot), None);
    let (sent, gone, nonce) = next_delta(&mut session, &mesh(&[("a", "1"), ("x", "1")])).unwrap();
    assert_eq!(
        (sent, gone),
        (vec!["x".to_owned()], vec![]),
        "it was remembered"
    );
    accept(&mut session, ENDPOINTS, &nonce);
    session.delta(delta(ENDPOINTS, &["a"]), 0).unwrap();
    let (sent, ..) = next_delta(&mut session, &mesh(&[("a", "1"), ("x", "1")])).unwrap();
    assert_eq!(sent, ["a"], "who subscribes again is told again");
}

#[test]
fn what_is_refused_is_not_sent_again_until_it_changes() {
    let mut session = Session::new(Flavor::Delta);
    session.delta(delta(CLUSTER, &[]), 0).unwrap();
    let first = mesh(&[("a", "1")]);
    let (.., nonce) = next_delta(&mut session, &first).unwrap();
    refuse(&mut session, CLUSTER, &nonce, "bad cluster");
    assert_eq!(next_delta(&mut session, &first), None);
    assert!(!session.is_synced(&first));
    let standing = &session.standing()[0];
    assert_eq!(
        standing.refused,
        Some(Refusal {
            at: 7,
            why: "bad cluster".into()
        })
    );
    assert_eq!((standing.accepted.as_ref(), standing.names), (None, None));
    let (sent, _, nonce) = next_delta(&mut session, &mesh(&[("a", "2")])).unwrap();
    assert_eq!(sent, ["a"]);
    accept(&mut session, CLUSTER, &nonce);
    assert_eq!(session.standing()[0].refused, None);
}

#[test]
fn a_client_that_comes_back_is_told_only_what_differs() {
    let snapshot = mesh(&[("a", "2"), ("b", "1")]);
    let version = |name: &str| snapshot.endpoints.resources[name].version.clone();
    let mut session = Session::new(Flavor::Delta);
    let request = DeltaDiscoveryRequest {
        initial_resource_versions: [
            ("a".into(), "old".into()),
            ("b".into(), version("b")),
            ("c".into(), "1".into()),
        ]
        .into(),
        ..delta(ENDPOINTS, &["a", "b", "c"])
    };
    session.delta(request, 0).unwrap();
    let (sent, gone, nonce) = next_delta(&mut session, &snapshot).unwrap();
    assert_eq!((sent, gone), (vec!["a".to_owned()], vec![]));
    accept(&mut session, ENDPOINTS, &nonce);
    let (sent, gone, _) = next_delta(&mut session, &snapshot).unwrap();
    assert_eq!(
        (sent, gone),
        (vec![], vec!["c".to_owned()]),
        "what is gone comes last"
    );
}

#[test]
fn nothing_is_an_answer_to_who_asks_first() {
    let empty = Snapshot::default();
    let mut session = Session::new(Flavor::Delta);
    session.delta(delta(CLUSTER, &[]), 0).unwrap();
    let (sent, gone, _) = next_delta(&mut session, &empty).unwrap();
    assert_eq!((sent, gone), (vec![], vec![]));
    let mut session = Session::new(Flavor::World);
    session.world(ask(CLUSTER, &[]), 0).unwrap();
    assert!(session.next(&empty, 0).is_some());
    session.world(ask(ENDPOINTS, &["a"]), 0).unwrap();
    assert!(
        session.next(&empty, 0).is_none(),
        "absence means nothing there"
    );
}

#[test]
fn stale_requests_for_the_world_do_not_count_and_empty_ones_mean_nothing_after_names() {
    let snapshot = mesh(&[("a", "1"), ("b", "1")]);
    let mut session = Session::new(Flavor::World);
    session.world(ask(CLUSTER, &["a"]), 0).unwrap();
    let Some(Response::World(first)) = session.next(&snapshot, 0) else {
        panic!()
    };
    assert_eq!(first.resources.len(), 1);
    let stale = DiscoveryRequest {
        response_nonce: "cds-99".into(),
        ..ask(CLUSTER, &["a", "b"])
    };
    session.world(stale, 0).unwrap();
    assert!(session.next(&snapshot, 0).is_none());
    let both = DiscoveryRequest {
        response_nonce: first.nonce,
        ..ask(CLUSTER, &["a", "b"])
    };
    session.world(both, 0).unwrap();
    let Some(Response::World(second)) = session.next(&snapshot, 0) else {
        panic!()
    };
    assert_eq!(
        second.resources.len(),
        2,
        "all of them, since absence would delete"
    );
    let none = DiscoveryRequest {
        response_nonce: second.nonce,
        ..ask(CLUSTER, &[])
    };
    session.world(none, 0).unwrap();
    assert_eq!(session.standing()[0].names, Some(0));
    assert!(session.next(&mesh(&[("a", "2")]), 0).is_none());
}

#[test]
fn who_names_more_than_a_mesh_holds_is_sent_away() {
    let names: Vec<String> = (0..=NAMES_MAX).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(
        Session::new(Flavor::World)
            .world(ask(ENDPOINTS, &names), 0)
            .is_err()
    );
    assert!(
        Session::new(Flavor::Delta)
            .delta(delta(ENDPOINTS, &names), 0)
            .is_err()
    );
    assert!(
        Session::new(Flavor::World)
            .world(ask("type.googleapis.com/other", &names), 0)
            .is_ok(),
        "it is not kept"
    );
}

mod law;
