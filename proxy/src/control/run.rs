//! The connection to the control plane.

use super::kept;
use super::session::{Taken, sets_of};
use super::{Control, unix_seconds};
use crate::discovery::{Discovery, Told};
use crate::reload::Watcher;
use heddle_core::config::{ControlPlane, ProxyConfig};
use heddle_core::random::{Rng as _, Xoshiro};
use heddle_xds::core::{Locality, Node};
use heddle_xds::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use heddle_xds::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use heddle_xds::tonic::transport::{Channel, Endpoint};
use heddle_xds::tonic::{Status, Streaming};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(2);
/// A control plane that is connected and silent is asked for a sign of life this often,
const PING: Duration = Duration::from_secs(3);
/// and left when it gives none within this: another replica serves within ten seconds.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// The first wait after a connection that brought nothing, doubled each time,
const BACKOFF: Duration = Duration::from_millis(200);
/// up to this. Each wait is a random part of it, so that a fleet does not come back at once.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// An answer may be so large; ours are cut at 2 MiB, others' are not.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Requests under way; more than one for each kind are rare.
const REQUESTS: usize = 16;
/// What is known is kept this long after it changed, so that a burst is one write.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// And at least this often, since what is in use counts as used.
const SAVE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// The wait after a connection that served well until it ended.
const AGAIN: Duration = Duration::from_secs(1);

/// What this proxy is called.
pub(super) fn node(config: &ProxyConfig) -> Node {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let text = |label: &Option<Arc<str>>| label.as_deref().unwrap_or_default().to_owned();
    Node {
        id: format!("{host}-{}", std::process::id()),
        cluster: config.namespace.clone(),
        locality: Some(Locality {
            zone: text(&config.locality.zone),
            sub_zone: text(&config.locality.node),
            ..Locality::default()
        }),
        user_agent_name: format!("heddle/{}", env!("CARGO_PKG_VERSION")),
        ..Node::default()
    }
}

/// A connection under way.
struct Talk<'t> {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    answers: Streaming<DeltaDiscoveryResponse>,
    config: &'t ControlPlane,
    discovery: &'t Discovery,
    watcher: &'t Watcher,
}

impl Control {
    /// Follows one of the addresses after another, for ever.
    pub(super) async fn follow(
        &self,
        config: &ControlPlane,
        discovery: &Discovery,
        watcher: &Watcher,
    ) {
        let seed = unix_seconds() ^ (u64::from(std::process::id()) << 32);
        let mut rng = Xoshiro::seeded(seed);
        let mut at = (rng.next_u64() % config.addresses.len() as u64) as usize;
        let (mut failures, mut in_a_row) = (0_u32, 0);
        loop {
            let address = &config.addresses[at];
            let (why, answered) = self
                .connect_and_talk(address, config, discovery, watcher)
                .await;
            let metrics = self.metrics.control();
            metrics.connected.set(0);
            let most = if answered {
                (failures, in_a_row) = (0, 0);
                tracing::warn!(
                    address,
                    why,
                    "the connection to the control plane ended; what is known stays"
                );
                AGAIN
            } else {
                metrics.failed.inc();
                in_a_row += 1;
                if in_a_row == config.addresses.len() {
                    tracing::warn!(
                        address,
                        why,
                        "no control plane can be reached; what is known stays"
                    );
                }
                failures = failures.saturating_add(1);
                BACKOFF
                    .saturating_mul(1 << (failures - 1).min(10))
                    .min(BACKOFF_MAX)
            };
            at = (at + 1) % config.addresses.len();
            let wait = most.mul_f64(rng.unit());
            // Who is asked for meanwhile is told at once whether all have been tried.
            let alone = in_a_row >= config.addresses.len();
            timeout(wait, self.wait_alone(alone, discovery)).await.ok();
        }
    }

    /// Takes what is asked for while nobody answers. Names that were never known are told to be missing once every address has
    /// been tried, so that other namers have their turn; the next connection asks for them.
    async fn wait_alone(&self, alone: bool, discovery: &Discovery) {
        loop {
            if alone {
                let waiting: Vec<_> = {
                    let session = self.session();
                    let waiting = session
                        .wanted()
                        .filter(|set| session.set(set) == Told::Waiting);
                    waiting
                        .filter_map(|set| super::content::path_of(set))
                        .collect()
                };
                discovery.remote_told(waiting.into_iter().map(|id| (id, Told::Missing)).collect());
            }
            let (asked, dropped) = discovery.remote_asked().await;
            self.session().want(&sets_of(&asked), &sets_of(&dropped));
        }
    }

    /// Talks to one control plane until that ends; says why it did, and whether it had answered.
    async fn connect_and_talk(
        &self,
        address: &str,
        config: &ControlPlane,
        discovery: &Discovery,
        watcher: &Watcher,
    ) -> (String, bool) {
        let (requests, mut written) = mpsc::channel(REQUESTS);
        let written = futures_util::stream::poll_fn(move |context| written.poll_recv(context));
        let node = Arc::clone(&self.node.lock().unwrap_or_else(PoisonError::into_inner));
        let hello = self.session().hello(&node);
        // Some servers answer the call only when the first request is there.
        for request in hello {
            if requests.send(request).await.is_err() {
                return ("it takes no requests".to_owned(), false);
            }
        }
        let open = async {
            let channel = connect(address).await?;
            let mut client = AggregatedDiscoveryServiceClient::new(channel)
                .max_decoding_message_size(ANSWER_BYTES);
            let answers = client.delta_aggregated_resources(written).await;
            answers
                .map(heddle_xds::tonic::Response::into_inner)
                .map_err(|status| said(&status))
        };
        let answers = match timeout(CONNECT + CONNECT, open).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(why)) => return (why, false),
            Err(_) => return ("it does not answer".to_owned(), false),
        };
        let talk = Talk {
            requests,
            answers,
            config,
            discovery,
            watcher,
        };
        self.talk(talk, address).await
    }

    async fn talk(&self, mut talk: Talk<'_>, address: &str) -> (String, bool) {
        let mut answered = false;
        let mut save_at = Instant::now() + SAVE_EVERY;
        loop {
            tokio::select! {
                answer = talk.answers.message() => match answer {
                    Ok(Some(answer)) => {
                        if !std::mem::replace(&mut answered, true) {
                            self.metrics.control().connected.set(1);
                            self.metrics.control().opened.inc();
                            tracing::info!(address, "following the control plane");
                        }
                        let reply = self.answered(answer, &talk, &mut save_at);
                        if talk.requests.send(reply).await.is_err() {
                            return ("it takes no requests".to_owned(), answered);
                        }
                    }
                    Ok(None) => return ("it ended the stream".to_owned(), answered),
                    Err(status) => return (said(&status), answered),
                },
                (asked, dropped) = talk.discovery.remote_asked() => {
                    let requests = self.session().want(&sets_of(&asked), &sets_of(&dropped));
                    for request in requests {
                        if talk.requests.send(request).await.is_err() {
                            return ("it takes no requests".to_owned(), answered);
                        }
                    }
                    save_at = save_at.min(Instant::now() + SAVE_AFTER);
                }
                () = sleep_until(save_at) => {
                    self.save(talk.config, talk.discovery).await;
                    save_at = Instant::now() + SAVE_EVERY;
                }
            }
        }
    }

    /// Applies an answer; what to say to it.
    fn answered(
        &self,
        answer: DeltaDiscoveryResponse,
        talk: &Talk<'_>,
        save_at: &mut Instant,
    ) -> DeltaDiscoveryRequest {
        let metrics = self.metrics.control();
        let Taken {
            reply,
            sets,
            documents,
            refused,
        } = self.session().take(answer, unix_seconds());
        self.tell(&sets, talk.discovery);
        if documents {
            // Without any there is nothing to load.
            let none = self.session().documents().is_empty();
            self.has_rules.fetch_or(none, Ordering::Relaxed);
            talk.watcher.look();
        }
        match refused {
            None => metrics.taken.inc(),
            Some(why) => {
                metrics.refused.inc();
                tracing::error!(
                    why,
                    "what the control plane sent is refused; what was known stays"
                );
            }
        }
        metrics.answered(SystemTime::now());
        metrics
            .resources
            .set(i64::try_from(self.session().len()).unwrap_or(i64::MAX));
        if documents || !sets.is_empty() {
            *save_at = (*save_at).min(Instant::now() + SAVE_AFTER);
        }
        reply
    }

    /// Keeps what is known.
    async fn save(&self, config: &ControlPlane, discovery: &Discovery) {
        let idle: HashMap<String, u64> = discovery
            .remote_idle()
            .into_iter()
            .filter_map(|(id, idle)| Some((super::content::set_of(&id)?, idle.as_secs())))
            .collect();
        let kept = self
            .session()
            .kept(unix_seconds(), |set| idle.get(set).copied());
        let folder = config.snapshot.clone();
        let saved = tokio::task::spawn_blocking(move || kept::save(&folder, &kept)).await;
        let failed = match saved {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.metrics.control().unsaved.inc();
        tracing::error!(folder = %config.snapshot.display(), error = failed, "the last good state cannot be kept");
        // A disk that is full is not written to without pause.
        sleep(SAVE_AFTER).await;
    }
}

async fn connect(address: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|error| format!("not an address: {error}"))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    endpoint.connect().await.map_err(|error| reason(&error))
}

/// An error with what is behind it, in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        let more = behind.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = behind.source();
    }
    text
}

fn said(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
