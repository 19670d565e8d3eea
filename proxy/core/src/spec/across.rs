//! What no single document shows: names used twice, names that loop, destinations that are not there.
//!
//! Pure.

use super::codes;
use super::document::{Collected, Target, Written};
use super::proxy::Main;
use super::report::{Report, Spot};
use super::shape::nearest;
use crate::config::{Cluster, Mode, ProxyConfig, TlsScope};
use crate::name::{
    BindError, Dentry, Dtab, Lookup, MAX_DEPTH, NameTree, Namer, Path, PrefixElement, bind, utility,
};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;

/// Of a larger dtab only the rules that are looked at first are searched for cycles: a search binds each.
const MAX_SEARCHED: usize = 500;

/// Reports every key that occurs twice, with the spot of the second.
fn twice<K: Eq + Hash>(
    keys: impl Iterator<Item = (K, Spot)>,
    report: &mut Report,
    mut tell: impl FnMut(&K, String, Spot, &mut Report),
) {
    let mut seen: HashMap<K, Spot> = HashMap::new();
    for (key, spot) in keys {
        match seen.get(&key) {
            Some(first) => tell(&key, report.name(*first), spot, report),
            None => {
                seen.insert(key, spot);
            }
        }
    }
}

/// Puts the documents into the configuration, reporting those that contradict each other.
pub(super) fn merge(
    collected: Collected,
    main: Main,
    config: &mut ProxyConfig,
    report: &mut Report,
) {
    duplicates(&collected, report);
    listeners(&main, report);
    let Collected {
        routes,
        mut dtabs,
        clusters,
        faults,
        targets,
        ..
    } = collected;
    config.clusters = self::clusters(main.clusters.iter().chain(&clusters), report);
    scopes(config);
    dtabs.sort_by(|a, b| (&a.value.0, &a.value.1).cmp(&(&b.value.0, &b.value.1)));
    config.dtab = dtabs
        .iter()
        .fold(Dtab::empty(), |all, dtab| all.concat(&dtab.value.2));
    cycles(&main, &dtabs, config, report);
    let targets: Vec<_> = main.targets.iter().chain(&targets).collect();
    dangling(&targets, config, report);
    config.routes = routes
        .into_iter()
        .map(|route| {
            (
                (route.value.namespace.clone(), route.value.service.clone()),
                Arc::new(route.value),
            )
        })
        .collect();
    config.faults = faults
        .into_iter()
        .map(|fault| Arc::new(fault.value))
        .collect();
}

/// Adds the sets' own TLS, before what `discovery.tls` says of the same name, the longest prefix first.
fn scopes(config: &mut ProxyConfig) {
    let own = config.clusters.values().filter_map(|cluster| {
        let elements = [b"#".as_slice(), b"static", cluster.name.as_bytes()];
        Some(TlsScope {
            prefix: Path::from_elements(elements)?,
            tls: cluster.tls.clone()?,
        })
    });
    let mut scopes: Vec<_> = own.collect();
    scopes.append(&mut config.tls);
    scopes.sort_by_key(|scope| std::cmp::Reverse(scope.prefix.len()));
    config.tls = scopes;
}

/// Documents of one name, and Routes of one service.
pub(super) fn duplicates(collected: &Collected, report: &mut Report) {
    let names = collected.names.iter().map(|name| (&name.value, name.spot));
    twice(
        names,
        report,
        |(kind, namespace, name), first, spot, report| {
            report.add_at(
                &codes::DUPLICATE_DOCUMENT,
                spot,
                format!("there is another {kind} `{name}` in the namespace `{namespace}`"),
                format!("the first is {first}, and only one of them could apply"),
                "give it another name, or remove one",
            );
        },
    );
    let services = collected
        .routes
        .iter()
        .map(|r| ((&r.value.namespace, &r.value.service), r.spot));
    twice(
        services,
        report,
        |(namespace, service), first, spot, report| {
            report.add_at(
                &codes::DUPLICATE_ROUTE,
                spot,
                format!("there is another Route for `{service}` in the namespace `{namespace}`"),
                format!(
                    "the first is {first}, and the order of rules of two Routes is not defined"
                ),
                "write the rules of both into one Route",
            );
        },
    );
}

pub(super) fn clusters<'c>(
    all: impl Iterator<Item = &'c Written<Cluster>> + Clone,
    report: &mut Report,
) -> BTreeMap<String, Arc<Cluster>> {
    let names = all
        .clone()
        .map(|cluster| (&cluster.value.name, cluster.spot));
    twice(names, report, |name, first, spot, report| {
        report.add_at(
            &codes::DUPLICATE_CLUSTER,
            spot,
            format!("there is another replica set `{name}`"),
            format!("the first is {first}, and `/#/static/{name}` can name only one"),
            "give it another name, or write the endpoints into one list",
        );
    });
    all.map(|cluster| (cluster.value.name.clone(), Arc::new(cluster.value.clone())))
        .collect()
}

fn listeners(main: &Main, report: &mut Report) {
    let names = main
        .listeners
        .iter()
        .map(|listener| (&listener.value.name, listener.name));
    twice(names, report, |name, first, spot, report| {
        report.add_at(
            &codes::DUPLICATE_LISTENER,
            spot,
            format!("there is another listener `{name}`"),
            format!("the first is {first}, and metrics could not tell them apart"),
            "give it another name",
        );
    });
    let admin = main.admin.iter().copied();
    let all: Vec<_> = admin
        .chain(main.listeners.iter().map(|l| (l.value.listen, l.address)))
        .collect();
    for (at, (address, spot)) in all.iter().enumerate() {
        if let Some((_, first)) = all[..at]
            .iter()
            .find(|(other, _)| collide(*other, *address))
        {
            report.add_at(
                &codes::DUPLICATE_ADDRESS,
                *spot,
                format!("`{address}` is taken already"),
                format!(
                    "{} listens there, and a connection can go to only one",
                    report.name(*first)
                ),
                "use another port",
            );
        }
    }
}

/// Whether two sockets would compete for connections: the same port of the same or of every address.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let every = |address: SocketAddr| address.ip().is_unspecified();
    let covers = |a: SocketAddr, b: SocketAddr| every(a) && (a.is_ipv6() || b.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

/// Knows the written replica sets and takes everything for known that only a running proxy can tell.
struct KnownSets<'c> {
    written: &'c BTreeMap<String, Arc<Cluster>>,
    /// Whether a control plane may know others.
    others: bool,
}

impl<'c> KnownSets<'c> {
    fn of(config: &'c ProxyConfig) -> Self {
        Self {
            written: &config.clusters,
            others: config.control_plane.is_some(),
        }
    }
}

impl Namer for KnownSets<'_> {
    fn lookup(&self, path: &Path) -> Lookup {
        if let Some(lookup) = utility(path) {
            return lookup;
        }
        let mut elements = path.elements().iter().map(|element| element.as_str());
        let (Some(Some("#")), Some(kind)) = (elements.next(), elements.next()) else {
            return Lookup::NEG;
        };
        match (kind, elements.next()) {
            (Some("static"), Some(name)) => {
                match self.others || name.is_some_and(|name| self.written.contains_key(name)) {
                    true => Lookup::bound(path, 3),
                    false => Lookup::NEG,
                }
            }
            (Some("k8s"), Some(_)) if self.others => Lookup::bound(path, path.len().min(5)),
            (Some("files" | "dns" | "dns-srv"), Some(_)) => Lookup::bound(path, path.len()),
            _ => Lookup::NEG,
        }
    }
}

/// Dtabs in which some name never comes to an end.
fn cycles(
    main: &Main,
    documents: &[Written<(String, String, Dtab)>],
    config: &ProxyConfig,
    report: &mut Report,
) {
    let namer = KnownSets::of(config);
    let mut told = Vec::new();
    for listener in &config.listeners {
        if matches!(listener.mode, Mode::Inbound { .. }) {
            continue;
        }
        let own = main
            .listeners
            .iter()
            .find(|written| Arc::ptr_eq(&written.value, listener));
        let spots = own
            .and_then(|own| own.dtab)
            .map(|spot| (&listener.base_dtab, spot));
        let parts = spots
            .into_iter()
            .chain(documents.iter().map(|d| (&d.value.2, d.spot)));
        let whole = listener.base_dtab.concat(&config.dtab);
        let endless = |dentry: &Dentry| {
            let path = example_of(dentry.prefix.elements())?;
            match bind(&whole, &namer, &path, MAX_DEPTH) {
                Err(error @ (BindError::TooDeep { .. } | BindError::TooLarge { .. })) => {
                    Some(error)
                }
                _ => None,
            }
        };
        for (dtab, spot) in parts
            .filter(|(_, spot)| !told.contains(spot))
            .collect::<Vec<_>>()
        {
            let searched = dtab.dentries().iter().rev().take(MAX_SEARCHED);
            let Some((dentry, error)) = searched.into_iter().find_map(|d| Some((d, endless(d)?)))
            else {
                continue;
            };
            told.push(spot);
            report.add_at(
                &codes::DTAB_CYCLE,
                spot,
                format!("`{dentry}` never comes to an end: {error}"),
                "every request for such a name would fail",
                "break the circle; `heddle bind` shows the steps",
            );
        }
    }
}

/// A path that a prefix matches, with one element after it.
fn example_of(prefix: &[PrefixElement]) -> Option<Path> {
    let elements = prefix.iter().map(|element| match element {
        PrefixElement::Any => b"x".to_vec(),
        PrefixElement::Label(element) => AsRef::<[u8]>::as_ref(element).to_vec(),
    });
    Path::from_elements(elements.chain([b"x".to_vec()]))
}

/// Destinations that no listener of this configuration can resolve.
fn dangling(targets: &[&Target], config: &ProxyConfig, report: &mut Report) {
    let namer = KnownSets::of(config);
    let dtabs: Vec<_> = config
        .listeners
        .iter()
        .filter(|listener| !matches!(listener.mode, Mode::Inbound { .. }))
        .map(|listener| listener.base_dtab.concat(&config.dtab))
        .collect();
    for target in targets {
        let nowhere = |dtab: &Dtab| {
            matches!(
                bind(dtab, &namer, &target.path, MAX_DEPTH),
                Ok(NameTree::Neg)
            )
        };
        if !dtabs.is_empty() && dtabs.iter().all(nowhere) {
            report.add_at(
                &codes::RESOLVES_TO_NOTHING,
                target.spot,
                format!("`{}` resolves to nothing", target.path),
                "no dentry and no written replica set knows the name, so requests are answered 404",
                suggestion(&target.path, config),
            );
        }
    }
}

fn suggestion(path: &Path, config: &ProxyConfig) -> String {
    let last = path.elements().last().and_then(|element| element.as_str());
    let known = config.clusters.keys().map(String::as_str);
    match last.and_then(|last| nearest(last, known)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write a replica set of this name in `discovery.static` or as a `Cluster`, or a dentry for it".to_owned(),
    }
}
