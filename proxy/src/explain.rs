//! Why a request goes where it goes, from its head to the endpoints.
//!
//! The same decisions as the data plane's, taken by the same functions of `heddle_core`, but with
//! every step kept. Nothing is sent and nothing is counted.

mod offline;
mod overrides;
mod request;
mod show;
mod steps;

pub use offline::{Offline, Vocabulary};
pub use overrides::OverridesExplained;
pub use request::Request;

use crate::view::{EndpointView, SetView};
use heddle_core::config::{Listener, Mode, ProxyConfig};
use heddle_core::identify::consume_path;
use heddle_core::name::{BindError, Bound, Dtab, Explained, NameTree, Namer, Path};
use std::sync::Arc;

/// The whole answer; [`Explanation::to_text`] and [`Explanation::to_json`] show it.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The request line: method and URL.
    pub request: String,
    /// Name of the listener.
    pub listener: String,
    /// Its mode: `outbound`, `inbound` or `tcp`.
    pub mode: &'static str,
    /// Namespace of its callers.
    pub namespace: String,
    /// From the request to the logical name.
    pub identification: Identification,
    /// What the caller wants to override.
    pub overrides: OverridesExplained,
    /// The dtab that names are delegated by: the listener's base, `Dtab` documents, then what was accepted.
    pub dtab: Dtab,
    /// The `Route` of the logical name, if there is one.
    pub route: Option<RouteExplained>,
    /// Faults that this request may meet, with their percentage.
    pub faults: Vec<String>,
    /// Where it may go, with shares. Empty when the proxy answers by itself.
    pub destinations: Vec<DestinationExplained>,
    /// Where copies go.
    pub mirror: Option<(f64, DestinationExplained)>,
    /// The path and query that are forwarded, if they differ from those that came.
    pub forwarded_path: Option<String>,
    /// The replica sets of all destinations.
    pub sets: Vec<SetExplained>,
    /// What the proxy answers by itself, if it does.
    pub answer: Option<String>,
}

/// From a request to its logical name.
#[derive(Debug, Clone)]
pub struct Identification {
    /// The identifier that decided, in words.
    pub by: Option<String>,
    /// The logical name.
    pub name: Option<Path>,
    /// Identifiers that were asked before, and why they did not decide.
    pub passed: Vec<(String, String)>,
    /// Whether the last of them refused the request, instead of leaving it to the next.
    pub refused: bool,
}

/// A `Route`, and what became of its rules.
#[derive(Debug, Clone)]
pub struct RouteExplained {
    /// `namespace/name` of the document.
    pub document: String,
    /// Rules up to the one that matched, in order.
    pub rules: Vec<RuleExplained>,
    /// The sticky choice, if the rule that matched has one.
    pub sticky: Option<StickyExplained>,
    /// Timeouts, retries and hedging, in words.
    pub policy: String,
}

/// One rule, and whether it matched.
#[derive(Debug, Clone)]
pub struct RuleExplained {
    /// Its place, from 1.
    pub number: usize,
    /// Whether it matched; at most the last one did.
    pub matched: bool,
    /// The conditions that held, or the first that did not.
    pub why: String,
}

/// A sticky choice.
#[derive(Debug, Clone)]
pub struct StickyExplained {
    /// What it is keyed by: `header:x-user-id`.
    pub by: String,
    /// The key of this request; `None`: it has none, and chance decides.
    pub key: Option<String>,
    /// The destination that this key gets, by its index.
    pub arm: Option<usize>,
}

/// One destination.
#[derive(Debug, Clone)]
pub struct DestinationExplained {
    /// As the rule names it, or the logical name.
    pub name: String,
    /// The path that is bound.
    pub path: Path,
    /// Its weight.
    pub weight: f64,
    /// Its share of the rule's requests, 0..=1.
    pub share: f64,
    /// Whether this request goes here for sure.
    pub chosen: bool,
    /// Every step of the delegation.
    pub delegation: Explained,
    /// The tree it binds to.
    pub bound: Result<NameTree<Bound>, BindError>,
}

/// One replica set.
#[derive(Debug, Clone)]
pub struct SetExplained {
    /// Its bound id.
    pub id: String,
    /// `bound`, `pending`, `neg`, or why its addresses are not known.
    pub state: String,
    /// What is spoken to it.
    pub protocol: Option<String>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointExplained>,
}

/// One endpoint.
#[derive(Debug, Clone)]
pub struct EndpointExplained {
    /// Its address; a host and port when nobody resolved it.
    pub address: String,
    /// Its share relative to its siblings.
    pub weight: f64,
    /// What the running proxy knows of it; `None` offline.
    pub live: Option<EndpointView>,
}

impl From<SetView> for SetExplained {
    fn from(view: SetView) -> Self {
        let endpoint = |endpoint: EndpointView| EndpointExplained {
            address: endpoint.address.to_string(),
            weight: endpoint.weight,
            live: Some(endpoint),
        };
        let endpoints = view.endpoints.into_iter().map(endpoint).collect();
        Self {
            id: view.id,
            state: view.state,
            protocol: Some(view.protocol),
            endpoints,
        }
    }
}

/// Explains a request. `endpoints` tells what is known of a replica set by its bound id.
///
/// # Errors
/// When the request names a listener that there is not, for people.
pub fn explain(
    config: &ProxyConfig,
    namer: &dyn Namer,
    endpoints: &dyn Fn(&Path) -> Option<SetExplained>,
    request: &Request,
) -> Result<Explanation, String> {
    let listener = listener(config, request.listener.as_deref())?;
    let overrides = OverridesExplained::of(listener, request);
    let mut dtab = listener
        .base_dtab
        .concat(&config.dtab)
        .concat(&overrides.accepted);
    if let Some(trial) = &request.dtab {
        dtab = dtab.concat(trial);
    }
    let (identification, consumed) = steps::identification(listener, request);
    let seen = request.to_target(&consume_path(request.target(), consumed))?;
    let mut explanation = Explanation {
        request: request.to_string(),
        listener: listener.name.clone(),
        mode: mode_word(&listener.mode),
        namespace: listener.namespace.clone(),
        identification,
        overrides,
        dtab,
        route: None,
        faults: Vec::new(),
        destinations: Vec::new(),
        mirror: None,
        forwarded_path: None,
        sets: Vec::new(),
        answer: None,
    };
    explanation.follow(config, namer, listener, &seen, request.target());
    explanation.find_sets(endpoints);
    Ok(explanation)
}

/// The listener of that name; without a name the first outbound one, else the first.
///
/// # Errors
/// When there is none of that name, with the names that there are.
pub fn listener<'c>(
    config: &'c ProxyConfig,
    name: Option<&str>,
) -> Result<&'c Arc<Listener>, String> {
    let Some(name) = name else {
        let outbound = config
            .listeners
            .iter()
            .find(|listener| listener.mode == Mode::Outbound);
        return outbound
            .or(config.listeners.first())
            .ok_or_else(|| "the configuration has no listener".to_owned());
    };
    config
        .listeners
        .iter()
        .find(|listener| listener.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = config
                .listeners
                .iter()
                .map(|listener| listener.name.as_str())
                .collect();
            format!(
                "there is no listener {name:?}; there are {}",
                names.join(", ")
            )
        })
}

pub(crate) fn mode_word(mode: &Mode) -> &'static str {
    match mode {
        Mode::Outbound => "outbound",
        Mode::Inbound { .. } => "inbound",
        Mode::Tcp { .. } => "tcp",
    }
}

#[cfg(test)]
pub(crate) mod tests;
