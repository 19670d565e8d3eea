//! Pure. What a replica set is made of, and what that gives with what DNS knows.

use super::dns::question::{Failure, Known, Question};
use super::files_format::is_host_name;
use super::replica_set::Addr;
use heddle_core::config::{Cluster, ClusterSource, WrittenEndpoint};
use heddle_core::endpoint::{Endpoint, Locality};
use heddle_core::name::{Element, Path, inet_address};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One ingredient of a replica set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// An address that is written out.
    Literal(Endpoint),
    /// Addresses that DNS knows.
    Asked {
        /// What to ask.
        question: Question,
        /// The port, unless the answer brings its own.
        port: u16,
        /// Weight of each address, a factor to the answer's own.
        weight: f64,
        /// Attributes of each address.
        locality: Locality,
    },
}

impl Part {
    /// The question behind it.
    pub(crate) fn question(&self) -> Option<&Question> {
        match self {
            Self::Literal(_) => None,
            Self::Asked { question, .. } => Some(question),
        }
    }

    fn host(host: &str, port: u16, weight: f64, locality: Locality) -> Self {
        match without_dns(host) {
            Some(ip) => Self::Literal(Endpoint {
                address: SocketAddr::new(ip, port),
                weight,
                locality,
            }),
            None => {
                let question = Question::Addresses(host.to_ascii_lowercase());
                Self::Asked {
                    question,
                    port,
                    weight,
                    locality,
                }
            }
        }
    }
}

/// The ingredients of written endpoints.
pub(crate) fn of_written(endpoints: &[WrittenEndpoint]) -> Vec<Part> {
    let part = |endpoint: &WrittenEndpoint| match endpoint {
        WrittenEndpoint::Address(endpoint) => Part::Literal(endpoint.clone()),
        WrittenEndpoint::Host {
            host,
            port,
            weight,
            locality,
        } => Part::host(host, *port, *weight, locality.clone()),
    };
    endpoints.iter().map(part).collect()
}

/// The ingredients of a configured replica set.
pub(crate) fn of_cluster(cluster: &Cluster) -> Vec<Part> {
    match &cluster.source {
        ClusterSource::Endpoints(endpoints) => of_written(endpoints),
        ClusterSource::Dns { host, port } => {
            vec![Part::host(host, *port, 1.0, Locality::default())]
        }
    }
}

/// A bound name that says itself what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    /// The one ingredient.
    pub part: Part,
    /// Whether the first answer stays (`fixedinet`).
    pub once: bool,
}

/// What a bound name of the `dns`, `dns-srv`, `inet`, `fixedinet` or `rinet` namer stands for; `None` for
/// other names, and an error that says why when it has no address.
pub(crate) fn of_name(id: &Path) -> Option<Result<Named, String>> {
    let texts: Vec<&str> = id
        .elements()
        .iter()
        .map(Element::as_str)
        .collect::<Option<_>>()?;
    let named = |part| Named {
        part,
        once: texts.get(1) == Some(&"fixedinet"),
    };
    match texts.as_slice() {
        ["#", "dns", host, port] => {
            let port = port.parse().ok().filter(|port| *port != 0)?;
            is_host(host).then(|| Ok(named(Part::host(host, port, 1.0, Locality::default()))))
        }
        ["#", "dns-srv", name] => is_host_name(name).then(|| {
            let question = Question::Services(name.to_ascii_lowercase());
            Ok(named(Part::Asked {
                question,
                port: 0,
                weight: 1.0,
                locality: Locality::default(),
            }))
        }),
        _ => Some(inet_address(id)?.and_then(|(host, port)| {
            if is_host(&host) {
                Ok(named(Part::host(&host, port, 1.0, Locality::default())))
            } else {
                Err(format!(
                    "{id} has no address: `{host}` is neither an IP address nor a host name"
                ))
            }
        })),
    }
}

/// A bound name in the form under which it is known: names for DNS in lower case, others as they are.
pub(crate) fn canonical(id: &Path) -> Path {
    let namer = id.elements().get(1).and_then(Element::as_str);
    if !matches!(namer, Some("dns" | "dns-srv")) {
        return id.clone();
    }
    let lower = id
        .elements()
        .iter()
        .map(|element| element.to_ascii_lowercase());
    Path::from_elements(lower).unwrap_or_else(|| id.clone())
}

fn is_host(host: &str) -> bool {
    without_dns(host).is_some() || is_host_name(host)
}

/// Addresses that need no question: literal ones (an IPv6 address also in brackets), and `localhost` with
/// what is below it (RFC 6761), which is 127.0.0.1 as in Finagle's `/$/inet/<port>`.
pub(crate) fn without_dns(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(ip) = bare.parse() {
        return Some(ip);
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (name == "localhost" || name.ends_with(".localhost")).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The state of a set made of `parts`, given what is known about each question.
///
/// What is known already serves; a set waits only while nothing is. Endpoints are distinct by address: the
/// first part that gives one decides its weight. When no name has an answer, `named` decides between neg (a
/// name that somebody asked for does not exist) and a failure (somebody wrote a set and DNS does not know it).
pub(crate) fn compose<'k>(
    parts: &[Part],
    known: impl Fn(&Question) -> &'k Known,
    named: bool,
) -> Addr {
    let mut endpoints = Vec::new();
    let mut seen = BTreeSet::new();
    let mut pending = false;
    let mut failure: Option<(&Question, &Failure)> = None;
    for part in parts {
        match part {
            Part::Literal(endpoint) => {
                if seen.insert(endpoint.address) {
                    endpoints.push(endpoint.clone());
                }
            }
            Part::Asked {
                question,
                port,
                weight,
                locality,
            } => match known(question) {
                Known::Pending => pending = true,
                Known::Never(why) => {
                    failure = failure.or(Some((question, why)));
                }
                Known::Good(records) => {
                    for record in records {
                        let port = if record.port == 0 { *port } else { record.port };
                        let address = SocketAddr::new(record.ip, port);
                        if seen.insert(address) {
                            let weight = weight * record.weight;
                            endpoints.push(Endpoint {
                                address,
                                weight,
                                locality: locality.clone(),
                            });
                        }
                    }
                }
            },
        }
    }
    match failure {
        _ if !endpoints.is_empty() => Addr::Bound(endpoints),
        _ if pending => Addr::Pending,
        None => Addr::Bound(endpoints),
        Some((_, Failure::NoSuchName(_) | Failure::NoRecords(_))) if named => Addr::Neg,
        Some((question, why)) => Addr::Failed(format!("DNS gives no {question}: {why}")),
    }
}

#[cfg(test)]
mod tests;
