//! A client as Envoy is one, against a mesh that changes at random.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// What a client holds and has asked for.
#[derive(Default)]
struct Client {
    clusters: BTreeMap<String, Any>,
    endpoints: BTreeMap<String, Any>,
    routes: Option<Any>,
    asked: BTreeSet<String>,
}

impl Client {
    /// Takes resources of a kind; `whole` when what is missing is gone.
    fn take(&mut self, url: &str, resources: Vec<(String, Any)>, gone: &[String], whole: bool) {
        match url {
            CLUSTER => {
                if whole {
                    self.clusters.clear();
                }
                self.clusters.extend(resources);
                self.clusters.retain(|name, _| !gone.contains(name));
            }
            ENDPOINTS => {
                self.endpoints.extend(resources);
                self.endpoints.retain(|name, _| !gone.contains(name));
            }
            ROUTES => {
                self.routes = resources
                    .into_iter()
                    .next()
                    .map(|(_, any)| any)
                    .or(self.routes.take())
            }
            _ => {}
        }
    }

    /// Nothing that it goes by names what it does not have.
    fn check(&self, seed: u64) {
        let named = self
            .routes
            .as_ref()
            .map(|any| String::from_utf8_lossy(&any.value).into_owned())
            .unwrap_or_default();
        for name in named.split(',').filter(|name| !name.is_empty()) {
            assert!(
                self.clusters.contains_key(name),
                "seed {seed}: a route names {name}, which is not there"
            );
            assert!(
                self.endpoints.contains_key(name),
                "seed {seed}: {name} has no endpoints yet"
            );
        }
    }

    fn wanted(&self) -> BTreeSet<String> {
        self.clusters.keys().cloned().collect()
    }
}

fn name_of(url: &str, any: &Any) -> String {
    match url {
        CLUSTER => heddle_xds::unpack::<Cluster>(any).unwrap().name,
        ENDPOINTS => String::from_utf8_lossy(&any.value)
            .split('=')
            .next()
            .unwrap()
            .to_owned(),
        _ => "outbound".to_owned(),
    }
}

fn deliver(session: &mut Session, client: &mut Client, response: Response, seed: u64) {
    match response {
        Response::World(world) => {
            let url = world.type_url.clone();
            let resources = world
                .resources
                .iter()
                .map(|any| (name_of(&url, any), any.clone()))
                .collect();
            client.take(&url, resources, &[], true);
            let names: Vec<String> = match url.as_str() {
                ENDPOINTS => client.asked.iter().cloned().collect(),
                ROUTES => vec!["outbound".into()],
                _ => Vec::new(),
            };
            let ack = DiscoveryRequest {
                response_nonce: world.nonce,
                resource_names: names,
                ..ask(&url, &[])
            };
            session.world(ack, 0).unwrap();
            let wanted = client.wanted();
            if url == CLUSTER && wanted != client.asked {
                client.asked = wanted;
                let nonce = session
                    .kinds
                    .get(&Kind::Endpoints)
                    .map(|of| of.nonce.clone())
                    .unwrap_or_default();
                let names: Vec<&str> = client.asked.iter().map(String::as_str).collect();
                session
                    .world(
                        DiscoveryRequest {
                            response_nonce: nonce,
                            ..ask(ENDPOINTS, &names)
                        },
                        0,
                    )
                    .unwrap();
            }
        }
        Response::Delta(change) => {
            let url = change.type_url.clone();
            let resources = change
                .resources
                .into_iter()
                .map(|r| (r.name, r.resource.unwrap()))
                .collect();
            client.take(&url, resources, &change.removed_resources, false);
            accept(session, &url, &change.nonce);
            let wanted = client.wanted();
            if url == CLUSTER && wanted != client.asked {
                let request = DeltaDiscoveryRequest {
                    resource_names_subscribe: wanted.difference(&client.asked).cloned().collect(),
                    resource_names_unsubscribe: client.asked.difference(&wanted).cloned().collect(),
                    ..delta(ENDPOINTS, &[])
                };
                client.asked = wanted;
                session.delta(request, 0).unwrap();
            }
        }
    }
    client.check(seed);
}

fn random_mesh(rng: &mut Xoshiro) -> Snapshot {
    let versions = ["1", "2", "3"];
    let mut clusters = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        if !rng.next_u64().is_multiple_of(3) {
            clusters.push((name, versions[(rng.next_u64() % 3) as usize]));
        }
    }
    mesh(&clusters)
}

#[test]
fn clients_end_with_what_is_served_and_break_nothing_on_the_way() {
    for seed in 0..300 {
        let mut rng = Xoshiro::seeded(seed);
        let flavor = if seed % 2 == 0 {
            Flavor::World
        } else {
            Flavor::Delta
        };
        let (mut session, mut client) = (Session::new(flavor), Client::default());
        for (url, names) in [
            (CLUSTER, &[][..]),
            (LISTENER, &[][..]),
            (ROUTES, &["outbound"][..]),
        ] {
            match flavor {
                Flavor::World => session.world(ask(url, names), 0).unwrap(),
                Flavor::Delta => session.delta(delta(url, names), 0).unwrap(),
            }
        }
        let mut snapshot = random_mesh(&mut rng);
        for _ in 0..80 {
            if rng.next_u64().is_multiple_of(4) {
                snapshot = random_mesh(&mut rng);
            }
            // Several may be under way, of different kinds.
            let mut under_way = Vec::new();
            while let Some(response) = session.next(&snapshot, 0) {
                under_way.push(response);
                if rng.next_u64().is_multiple_of(3) {
                    break;
                }
            }
            for response in under_way {
                deliver(&mut session, &mut client, response, seed);
            }
        }
        for _ in 0..50 {
            while let Some(response) = session.next(&snapshot, 0) {
                deliver(&mut session, &mut client, response, seed);
            }
        }
        assert!(session.is_synced(&snapshot), "seed {seed}");
        let clusters: BTreeMap<_, _> = snapshot
            .rules
            .clusters
            .resources
            .iter()
            .map(|(n, r)| (n.clone(), r.any.clone()))
            .collect();
        assert_eq!(client.clusters, clusters, "seed {seed}");
        for name in clusters.keys() {
            assert_eq!(
                client.endpoints[name], snapshot.endpoints.resources[name].any,
                "seed {seed}"
            );
        }
        assert_eq!(
            client.routes.as_ref(),
            Some(&snapshot.rules.routes.resources["outbound"].any),
            "seed {seed}"
        );
    }
}
