//! Asking DNS: the seam between the state of questions and the network.

use super::question::{Answer, Failure, Missing, Question, Record};
use crate::discovery::recipe::without_dns;
use futures_util::future::{self, BoxFuture, Either};
use heddle_core::config::Dns;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long the answer for one address family waits for the other's (RFC 8305 waits 50 ms before it connects;
/// here nobody waits unless the name is new).
const SECOND_FAMILY_WAIT: Duration = Duration::from_millis(250);

/// Targets of one SRV answer that are looked up.
const TARGETS_MAX: usize = 256;

/// RFC 2782: beside positive weights, a record of weight 0 has a very small chance.
const ZERO_WEIGHT: f64 = 0.01;

/// TTL of what needs no server: literal addresses and `localhost`.
const LITERAL_TTL: Duration = Duration::from_secs(u32::MAX as u64);

/// Something that answers questions. The second implementation is the tests' one that fails on purpose.
pub(crate) trait Resolve: Send + Sync + 'static {
    /// Asks once; bounded in time.
    fn ask(&self, question: &Question) -> BoxFuture<'static, Result<Answer, Failure>>;
}

/// Name servers that are asked; the C library stops at three.
const SERVERS_MAX: usize = 8;

/// hickory, without its cache: TTLs are kept by the caller.
///
/// There is one resolver a name server, because hickory's pool takes a server's "I failed" for the answer,
/// while another server may know better, as the C library finds out.
#[derive(Debug)]
pub(crate) struct Hickory {
    servers: Result<Arc<Servers>, String>,
}

#[derive(Debug)]
struct Servers {
    resolvers: Vec<TokioResolver>,
    /// The server that answered last; it is asked first.
    first: AtomicUsize,
    timeout: Duration,
}

impl Hickory {
    /// A resolver of the configured servers, or of the system's. When the system's configuration cannot be
    /// read, every question fails and says so.
    pub(crate) fn new(dns: &Dns) -> Self {
        let servers = Servers::new(dns).map(Arc::new).map_err(|error| {
            format!(
                "the system's DNS configuration cannot be used ({error}); name the servers in `discovery.dns.servers`"
            )
        });
        Self { servers }
    }
}

impl Servers {
    fn new(dns: &Dns) -> Result<Self, NetError> {
        let (config, mut options) = if dns.servers.is_empty() {
            read_system_conf()?
        } else {
            let servers = dns.servers.iter().map(name_server).collect();
            (
                ResolverConfig::from_name_servers(servers),
                ResolverOpts::default(),
            )
        };
        let (domain, search, mut servers) = config.into_parts();
        servers.truncate(SERVERS_MAX);
        // Ours is the only cache: two would add up their TTLs.
        options.cache_size = 0;
        // All tries together fit the time for a question: several servers have one each, a lone one has two,
        // since a datagram may be lost.
        options.attempts = usize::from(servers.len() < 2);
        options.timeout = dns.timeout / u32::try_from(servers.len().max(2)).unwrap_or(u32::MAX);
        let resolver = |server| {
            let config = ResolverConfig::from_parts(domain.clone(), search.clone(), vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options.clone())
                .build()
        };
        Ok(Self {
            resolvers: servers
                .into_iter()
                .map(resolver)
                .collect::<Result<_, _>>()?,
            first: AtomicUsize::new(0),
            timeout: dns.timeout,
        })
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

impl Resolve for Hickory {
    fn ask(&self, question: &Question) -> BoxFuture<'static, Result<Answer, Failure>> {
        let servers = match &self.servers {
            Ok(servers) => Arc::clone(servers),
            Err(why) => return Box::pin(future::ready(Err(Failure::Broken(why.clone())))),
        };
        match question.clone() {
            Question::Addresses(host) => Box::pin(async move { servers.addresses(&host).await }),
            Question::Services(name) => Box::pin(async move { servers.services(&name).await }),
        }
    }
}

/// The data of one type, with the smallest TTL on the way to it.
struct Found {
    data: Vec<RData>,
    ttl: Duration,
}

impl Servers {
    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Found, Failure> {
        tokio::time::timeout(self.timeout, self.in_turn(name, kind))
            .await
            .unwrap_or_else(|_elapsed| {
                Err(Failure::Broken(format!(
                    "no answer within {:?}",
                    self.timeout
                )))
            })
    }

    /// Asks one server after the other until one can tell, be it that there is nothing.
    async fn in_turn(&self, name: &str, kind: RecordType) -> Result<Found, Failure> {
        let count = self.resolvers.len();
        let first = self.first.load(Ordering::Relaxed);
        let mut failure = Failure::Broken("no name server is configured".into());
        for index in (first..first + count).map(|index| index % count) {
            match self.resolvers[index]
                .lookup(name, kind)
                .await
                .map_err(|error| explain(&error))
            {
                Err(broken @ Failure::Broken(_)) => failure = broken,
                told => {
                    self.first.store(index, Ordering::Relaxed);
                    return told.map(|lookup| found(&lookup));
                }
            }
        }
        Err(failure)
    }

    async fn family(&self, host: &str, kind: RecordType) -> Result<Answer, Failure> {
        let found = self.lookup(host, kind).await?;
        let ips = found.data.iter().filter_map(|data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
        let records: Vec<Record> = ips
            .filter(usable)
            .map(|ip| Record {
                ip,
                port: 0,
                weight: 1.0,
            })
            .collect();
        if records.is_empty() {
            return Err(Failure::NoRecords(Some(found.ttl)));
        }
        Ok(Answer {
            records,
            ttl: found.ttl,
            missing: None,
        })
    }

    async fn addresses(&self, host: &str) -> Result<Answer, Failure> {
        if let Some(ip) = without_dns(host) {
            let records = vec![Record {
                ip,
                port: 0,
                weight: 1.0,
            }];
            return Ok(Answer {
                records,
                ttl: LITERAL_TTL,
                missing: None,
            });
        }
        let v4 = std::pin::pin!(self.family(host, RecordType::A));
        let v6 = std::pin::pin!(self.family(host, RecordType::AAAA));
        let (v4, v6) = match future::select(v4, v6).await {
            Either::Left((v4, v6)) => (Some(v4), second(v6).await),
            Either::Right((v6, v4)) => (second(v4).await, Some(v6)),
        };
        merge(v4, v6)
    }

    async fn services(&self, name: &str) -> Result<Answer, Failure> {
        let found = self.lookup(name, RecordType::SRV).await?;
        let targets = targets(found.data.into_iter().filter_map(|data| match data {
            RData::SRV(srv) => Some(srv),
            _ => None,
        }));
        if targets.is_empty() {
            return Err(Failure::NoRecords(Some(found.ttl)));
        }
        let asked = targets.iter().map(|(host, _, _)| self.addresses(host));
        let answers = future::join_all(asked).await;
        collect(found.ttl, &targets, answers)
    }
}

fn found(lookup: &Lookup) -> Found {
    let ttl = lookup
        .answers()
        .iter()
        .map(|record| record.ttl)
        .min()
        .unwrap_or(0);
    let data = lookup
        .answers()
        .iter()
        .map(|record| record.data.clone())
        .collect();
    Found {
        data,
        ttl: Duration::from_secs(u64::from(ttl)),
    }
}

/// What the slower family adds when it arrives in time: nobody should wait for a family that few use.
async fn second<F>(slower: F) -> Option<Result<Answer, Failure>>
where
    F: Future<Output = Result<Answer, Failure>>,
{
    tokio::time::timeout(SECOND_FAMILY_WAIT, slower).await.ok()
}

/// One answer from those of both families; a family that failed is missing, one without records is empty.
fn merge(
    v4: Option<Result<Answer, Failure>>,
    v6: Option<Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    let broken = |result: &Option<Result<Answer, Failure>>| {
        matches!(result, None | Some(Err(Failure::Broken(_))))
    };
    let missing = match (broken(&v4), broken(&v6)) {
        (true, false) => Some(Missing::V4),
        (false, true) => Some(Missing::V6),
        _ => None,
    };
    match (v4, v6) {
        (Some(Ok(mut a)), Some(Ok(b))) => {
            a.records.extend(b.records);
            a.ttl = a.ttl.min(b.ttl);
            Ok(a)
        }
        (Some(Ok(answer)), _) | (_, Some(Ok(answer))) => Ok(Answer { missing, ..answer }),
        // A failure says more than "nothing here", and must not make a name negative.
        (Some(Err(Failure::Broken(why))), _) | (_, Some(Err(Failure::Broken(why)))) => {
            Err(Failure::Broken(why))
        }
        (Some(Err(failure)), _) | (_, Some(Err(failure))) => Err(failure),
        (None, None) => Err(Failure::Broken("no answer in time".into())),
    }
}

/// Host, port and weight of the targets with the lowest priority number (RFC 2782: the others are for when
/// these cannot be reached). A lone `.` says that there is no such service.
fn targets(records: impl Iterator<Item = SRV>) -> Vec<(String, u16, f64)> {
    let mut records: Vec<SRV> = records
        .filter(|srv| !srv.target.is_root() && srv.port != 0)
        .collect();
    let Some(lowest) = records.iter().map(|srv| srv.priority).min() else {
        return Vec::new();
    };
    records.retain(|srv| srv.priority == lowest);
    records.truncate(TARGETS_MAX);
    let weighted = records.iter().any(|srv| srv.weight > 0);
    let weight = |srv: &SRV| match (srv.weight, weighted) {
        (0, false) => 1.0,
        (0, true) => ZERO_WEIGHT,
        (weight, _) => f64::from(weight),
    };
    records
        .iter()
        .map(|srv| (absolute(&srv.target.to_ascii()), srv.port, weight(srv)))
        .collect()
}

fn absolute(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name.ends_with('.') {
        name
    } else {
        format!("{name}.")
    }
}

/// The records of all targets. A target's share is divided among its addresses, so that it stays the share
/// that was written. Targets that do not exist are left out; those that could not be asked are missing.
fn collect(
    ttl: Duration,
    targets: &[(String, u16, f64)],
    answers: Vec<Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    let mut all = Answer {
        records: Vec::new(),
        ttl,
        missing: None,
    };
    let mut failure = Failure::NoRecords(Some(ttl));
    for ((_, port, weight), answer) in targets.iter().zip(answers) {
        match answer {
            Ok(answer) => {
                let share = weight / answer.records.len() as f64;
                all.ttl = all.ttl.min(answer.ttl);
                all.missing = all.missing.or(answer.missing.map(|_| Missing::Some));
                all.records
                    .extend(answer.records.iter().map(|record| Record {
                        port: *port,
                        weight: share,
                        ..*record
                    }));
            }
            Err(Failure::Broken(why)) => {
                all.missing = Some(Missing::Some);
                failure = Failure::Broken(why);
            }
            Err(_) => {}
        }
    }
    if all.records.is_empty() {
        Err(failure)
    } else {
        Ok(all)
    }
}

/// Addresses that a connection can be made to and that name one machine. `0.0.0.0` would be this host.
fn usable(ip: &IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

fn explain(error: &NetError) -> Failure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let ttl = none
                .negative_ttl
                .map(|seconds| Duration::from_secs(u64::from(seconds)));
            match none.response_code {
                ResponseCode::NXDomain => Failure::NoSuchName(ttl),
                ResponseCode::NoError => Failure::NoRecords(ttl),
                other => Failure::Broken(format!("the server answered {other}")),
            }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            Failure::Broken(format!("the server answered {code}"))
        }
        other => Failure::Broken(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
