use super::*;
use heddle_core::config::{ClusterSource, UpstreamProtocol, WrittenEndpoint};
use heddle_core::endpoint::Endpoint;
use heddle_core::name::{Lookup, Namer as _};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn cluster(name: &str, ports: &[u16]) -> Cluster {
    let endpoints = ports
        .iter()
        .map(|port| Endpoint::new(([127, 0, 0, 1], *port).into()));
    Cluster {
        name: name.into(),
        source: ClusterSource::Endpoints(endpoints.map(WrittenEndpoint::Address).collect()),
        protocol: UpstreamProtocol::Same,
    }
}

fn apply(discovery: &Discovery, clusters: &[Cluster]) {
    discovery.apply(
        clusters.iter(),
        &Dns::default(),
        Duration::from_secs(600),
        None,
    );
}

fn ports(set: &ReplicaSet) -> Vec<u16> {
    match &*set.addr() {
        Addr::Bound(endpoints) => endpoints
            .iter()
            .map(|endpoint| endpoint.address.port())
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn static_names_bind_at_once_and_keep_their_object() {
    let discovery = Discovery::new(Metrics::new(100));
    let lookup = |text: &str| discovery.namer().lookup(&path(text));
    assert_eq!(lookup("/#/static/a"), Lookup::NEG);
    let first = discovery.generation();
    apply(&discovery, &[cluster("a", &[1, 2]), cluster("empty", &[])]);
    assert_ne!(discovery.generation(), first);
    assert_eq!(
        lookup("/#/static/a/rest/of"),
        Lookup::bound(&path("/#/static/a/rest/of"), 3)
    );
    assert_eq!(
        lookup("/#/static/empty"),
        Lookup::bound(&path("/#/static/empty"), 3)
    );
    for unknown in [
        "/#/static",
        "/#/static/b",
        "/#/nobody/a",
        "/svc/a",
        "/#",
        "/",
    ] {
        assert_eq!(lookup(unknown), Lookup::NEG, "{unknown}");
    }
    let a = discovery.replica_set(&path("/#/static/a")).unwrap();
    assert_eq!(ports(&a), [1, 2]);
    assert_eq!(
        ports(&discovery.replica_set(&path("/#/static/empty")).unwrap()),
        [0_u16; 0]
    );

    let (generation, version) = (discovery.generation(), a.version());
    apply(&discovery, &[cluster("a", &[1, 3]), cluster("empty", &[])]);
    assert_eq!(
        discovery.generation(),
        generation,
        "what names bind to has not changed"
    );
    assert_ne!(a.version(), version);
    assert_eq!(ports(&a), [1, 3]);

    apply(&discovery, &[]);
    assert_ne!(discovery.generation(), generation);
    assert_eq!(lookup("/#/static/a"), Lookup::NEG);
    assert_eq!(ports(&a), [1, 3], "who still uses it can end what it does");
    apply(&discovery, &[cluster("a", &[9])]);
    assert_eq!(
        ports(&a),
        [9],
        "the object is the same when its name returns"
    );
    assert!(Arc::ptr_eq(
        &a,
        &discovery.replica_set(&path("/#/static/a")).unwrap()
    ));
}
