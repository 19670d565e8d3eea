//! One control plane process: a source is followed, snapshots are published, clients and people are served.

use crate::clients::Clients;
use crate::debounce::{Debounce, ENDPOINTS};
use crate::folder::Folder;
use crate::metrics::Metrics;
use crate::model::{Look, Model};
use crate::render::Mesh;
use crate::server::{self, Shared};
use crate::snapshot::{Kind, Snapshot};
use crate::{api, snapshot};
use heddle_core::Nanos;
use heddle_core::config::ControlPlaneConfig;
use heddle_core::finding::Finding;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What the API answers from.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) shared: Arc<Shared>,
    model: Mutex<Model>,
    ready: watch::Sender<bool>,
}

impl State {
    fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                snapshots: watch::Sender::new(Arc::new(Snapshot::default())),
                clients: Arc::new(Clients::default()),
                metrics: Metrics::new(),
                epoch: Instant::now(),
            }),
            model: Mutex::new(Model::new()),
            ready: watch::Sender::new(false),
        }
    }

    /// Whether the source has been read.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// What is served and what is wrong with it, as JSON.
    pub(crate) fn mesh(&self) -> Value {
        let snapshot = self.shared.snapshots.borrow().clone();
        let kinds: serde_json::Map<_, _> = Kind::ALL
            .into_iter()
            .map(|kind| {
                let set = snapshot.set(kind);
                let names: Vec<_> = set.resources.keys().collect();
                (
                    kind.label().to_owned(),
                    json!({"version": set.version, "names": names}),
                )
            })
            .collect();
        let model = self.lock();
        let kept = model.kept();
        let documents: Vec<_> = model.documents().map(|sound| {
            json!({"id": sound.id.to_string(), "file": sound.file, "kept": kept.contains(&sound.id)})
        }).collect();
        let findings: Vec<_> = model.findings().iter().map(Finding::to_json).collect();
        json!({"documents": documents, "findings": findings, "served": kinds})
    }

    fn publish(&self, snapshot: Snapshot) {
        self.shared.metrics.snapshots.inc();
        tracing::info!(
            rules = snapshot.rules.routes.version,
            endpoints = snapshot.endpoints.version,
            "published"
        );
        self.shared.snapshots.send_replace(Arc::new(snapshot));
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a control plane until `SIGTERM` or `SIGINT`.
///
/// # Errors
/// Says why it could not start, in words for the terminal.
pub fn run(config: ControlPlaneConfig) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("control")
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        let on = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
        let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        let api = listen("api", config.api).await?;
        let xds = listen("xds", config.xds).await?;
        let (api_address, xds_address) = (address(&api), address(&xds));
        let state = Arc::new(State::new());
        let serving_api = tokio::spawn(api::serve(api, Arc::clone(&state)));
        let mut following = tokio::spawn(follow(config, Arc::clone(&state)));
        // Who asks before there is an answer would be told that nothing exists.
        let mut ready = state.ready.subscribe();
        let stopped = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        tokio::pin!(stopped);
        tokio::select! {
            _ = ready.wait_for(|ready| *ready) => {}
            () = &mut stopped => return Ok(()),
            ended = &mut following => return Err(format!("the source is not followed any more: {ended:?}")),
        }
        tracing::info!(api = %format!("http://{api_address}/"), xds = %xds_address, "the control plane is ready");
        let served = server::serve(xds, Arc::clone(&state.shared), stopped).await;
        following.abort();
        serving_api.abort();
        served.map_err(|error| format!("xDS is not served any more: {error}"))
    })
}

async fn listen(name: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("{name} cannot listen on {address}: {error}. Set `{name}: {{listen: ADDRESS}}` to a free address, or stop the process that uses it")
    })
}

fn address(listener: &TcpListener) -> String {
    listener
        .local_addr()
        .map_or_else(|_| "?".to_owned(), |address| address.to_string())
}

/// The source, followed.
struct Following {
    state: Arc<State>,
    outbound: SocketAddr,
    debounce: Debounce,
    /// Endpoints that are not published yet.
    waiting: Option<snapshot::Set>,
    /// When to take another look although nothing changes.
    again: Option<Nanos>,
}

/// Follows the folder, for ever.
async fn follow(config: ControlPlaneConfig, state: Arc<State>) {
    let mut folder = Folder::new(config.folder);
    let mut following = Following {
        state: Arc::clone(&state),
        outbound: config.outbound,
        debounce: Debounce::new(ENDPOINTS),
        waiting: None,
        again: None,
    };
    loop {
        let anew = following.again.is_some_and(|at| at <= state.shared.now());
        let looked = tokio::task::spawn_blocking(move || {
            let (look, pause) = folder.look(anew);
            (folder, look, pause)
        });
        let Ok((back, look, pause)) = looked.await else {
            tracing::error!("looking at the folder ended early; what is served stays as it is");
            return;
        };
        folder = back;
        if let Some(look) = look {
            following.take(&look);
        }
        following.publish_endpoints();
        state.ready.send_replace(true);
        let due = [following.again, following.debounce.due()]
            .into_iter()
            .flatten()
            .min();
        let until = |at: Nanos| Duration::from_nanos(at.saturating_sub(state.shared.now()));
        tokio::time::sleep(due.map_or(pause, |at| pause.min(until(at)))).await;
    }
}

impl Following {
    /// Takes a look into the model.
    fn take(&mut self, look: &Look) {
        let now = self.state.shared.now();
        let mut model = self.state.lock();
        let before = model.findings().to_vec();
        let taken = model.take(look, now);
        tell(&model, &before, &self.state.shared.metrics);
        self.again = taken.again;
        if taken.changed || !self.state.is_ready() {
            let mesh = Mesh::new(model.documents());
            let (rules, endpoints) = (mesh.rules(self.outbound), mesh.endpoints());
            drop(model);
            self.publish(rules, endpoints, now);
        }
    }

    /// New rules go out with the endpoints of what they name; endpoints alone go at their own pace.
    fn publish(&mut self, rules: snapshot::Rules, endpoints: snapshot::Set, now: Nanos) {
        let before = self.state.shared.snapshots.borrow().clone();
        if *before.rules == rules {
            if *before.endpoints != endpoints {
                self.debounce.changed(now);
            }
            self.waiting = Some(endpoints);
            return;
        }
        self.waiting = None;
        self.state.publish(Snapshot {
            rules: Arc::new(rules),
            endpoints: Arc::new(endpoints),
        });
    }

    fn publish_endpoints(&mut self) {
        if !self.debounce.take(self.state.shared.now()) {
            return;
        }
        if let Some(endpoints) = self.waiting.take() {
            let before = self.state.shared.snapshots.borrow().clone();
            self.state.publish(Snapshot {
                rules: Arc::clone(&before.rules),
                endpoints: Arc::new(endpoints),
            });
        }
    }
}

/// Says what is wrong, once, and counts it.
fn tell(model: &Model, before: &[Finding], metrics: &Metrics) {
    let findings = model.findings();
    for finding in findings.iter().filter(|finding| !before.contains(finding)) {
        if finding.is_error() {
            tracing::error!("{finding}");
        } else {
            tracing::warn!("{finding}");
        }
    }
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let set = |gauge: &prometheus::IntGauge, count: usize| {
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX))
    };
    set(&metrics.findings.with_label_values(&["error"]), errors);
    set(
        &metrics.findings.with_label_values(&["warning"]),
        findings.len() - errors,
    );
    set(&metrics.documents, model.documents().count());
    set(&metrics.kept, model.kept().len());
}
