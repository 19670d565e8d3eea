//! Why a request goes where it goes, from its head to the endpoints.
//!
//! The same decisions as the data plane's, taken by the same functions of `heddle_core`, but with
//! every step kept. Nothing is sent and nothing is counted.

mod offline;
mod overrides;
mod request;
mod show;

pub use offline::{Offline, Vocabulary};
pub use overrides::OverridesExplained;
pub use request::Request;

use crate::view::{
    EndpointView, SetView, duration, fault_words, identifier, key_word, match_words,
};
use heddle_core::config::{
    Destination, Identifier, Listener, Match, Mode, ProxyConfig, Route, Rule,
};
use heddle_core::identify::{Identified, consume_path, identify};
use heddle_core::name::{
    BindError, Bound, Dtab, Explained, MAX_DEPTH, NameTree, Namer, Path, bind,
};
use heddle_core::{route, sticky};
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
    let (identification, consumed) = identification(listener, request);
    let mut explanation = Explanation {
        request: format!("{} {}", request.method, request.uri),
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
    explanation.follow(config, namer, listener, request, consumed);
    explanation.find_sets(endpoints);
    Ok(explanation)
}

/// The listener of that name; without a name the first outbound one, else the first.
///
/// # Errors
/// When there is none of that name, with the names that there are.
pub fn listener<'c>(config: &'c ProxyConfig, name: Option<&str>) -> Result<&'c Arc<Listener>, String> {
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

fn mode_word(mode: &Mode) -> &'static str {
    match mode {
        Mode::Outbound => "outbound",
        Mode::Inbound { .. } => "inbound",
        Mode::Tcp { .. } => "tcp",
    }
}

/// The logical name, and how many segments of the path it used up. A listener for opaque bytes has its name written.
fn identification(listener: &Listener, request: &Request) -> (Identification, usize) {
    let mut made = Identification {
        by: None,
        name: None,
        passed: Vec::new(),
    };
    if let Mode::Tcp { to } = &listener.mode {
        let path = if to.starts_with('/') {
            to.clone()
        } else {
            format!("/svc/{to}")
        };
        made.by = Some("the listener's `to`".to_owned());
        made.name = Path::parse(&path).ok();
        return (made, 0);
    }
    for kind in &listener.identify {
        let why = match identify(kind, request) {
            Identified::Name {
                path,
                consumed_segments,
            } => {
                made.by = Some(identifier(kind));
                made.name = Some(path);
                return (made, consumed_segments);
            }
            Identified::Unidentified => passed(kind),
            Identified::Bad(reason) => {
                made.passed.push((identifier(kind), reason));
                return (made, 0);
            }
        };
        made.passed.push((identifier(kind), why));
    }
    (made, 0)
}

/// Why an identifier made nothing of a request.
fn passed(kind: &Identifier) -> String {
    match kind {
        Identifier::Host => "the request names no host".to_owned(),
        Identifier::Header(name) | Identifier::HeaderToken(name) => {
            format!("there is no header {name}")
        }
        Identifier::Path { segments, .. } => format!("the path has fewer segments than {segments}"),
        Identifier::MethodHost { .. } => "the request names no host".to_owned(),
        Identifier::Static(_) => "it always identifies".to_owned(),
    }
}

impl Explanation {
    fn follow(
        &mut self,
        config: &ProxyConfig,
        namer: &dyn Namer,
        listener: &Listener,
        request: &Request,
        consumed: usize,
    ) {
        if let Mode::Inbound { forward_to } = listener.mode {
            let path = format!("/$/inet/{}/{}", forward_to.ip(), forward_to.port());
            let path =
                Path::parse(&path).expect("an address has no character that a path could not show");
            let to = Destination {
                name: format!("forwardTo {forward_to}"),
                path,
                weight: 1.0,
            };
            self.destinations = destinations(&[to], Some(0), &Dtab::empty(), namer);
            return;
        }
        let Some(name) = self.identification.name.clone() else {
            let last = self.identification.passed.last();
            let reason = last.map_or_else(
                || "nothing identifies the request".to_owned(),
                |(_, reason)| reason.clone(),
            );
            self.answer = Some(format!("400 unidentified: {reason}"));
            return;
        };
        if let Some(reason) = &self.overrides.broken {
            self.answer = Some(format!("400 refused: {reason}"));
            return;
        }
        let caller = route::Caller {
            namespace: &listener.namespace,
            service: None,
        };
        self.faults = faults(config, listener, &name, request, &caller);
        let found = route::find(&config.routes, &listener.namespace, &name)
            .filter(|_| !matches!(listener.mode, Mode::Tcp { .. }));
        let rule = found.and_then(|found| self.route(found, request, &caller));
        let own = [Destination {
            name: name.to_string(),
            path: name,
            weight: 1.0,
        }];
        let to = match (found, rule) {
            (Some(_), Some(rule)) => self.rule(rule, namer, request, consumed),
            (Some(found), None) => {
                let reason = format!(
                    "no rule of Route {}/{} matches",
                    found.namespace, found.name
                );
                self.answer = Some(format!("404 no-such-name: {reason}"));
                None
            }
            (None, _) => Some(&own[..]),
        };
        if found.is_none() && consumed > 0 {
            self.forwarded_path = Some(consume_path(request.target(), consumed));
        }
        let sticky = self
            .route
            .as_ref()
            .and_then(|route| route.sticky.as_ref())
            .and_then(|sticky| sticky.arm);
        self.destinations = destinations(to.unwrap_or_default(), sticky, &self.dtab, namer);
    }

    /// The rule that the request meets. A `Route` none of whose rules it meets answers for its service all the same.
    fn route<'r>(
        &mut self,
        found: &'r Route,
        request: &Request,
        caller: &route::Caller<'_>,
    ) -> Option<&'r Rule> {
        let chosen = route::choose(found, request, caller);
        let upto = chosen.and_then(|chosen| {
            found
                .rules
                .iter()
                .position(|rule| std::ptr::eq(rule, chosen))
        });
        let considered = found
            .rules
            .iter()
            .take(upto.map_or(found.rules.len(), |index| index + 1));
        let rules = considered.enumerate().map(|(index, rule)| {
            let failed = why_not(&rule.matches, request, caller);
            let words = match_words(&rule.matches);
            let held = || {
                if words.is_empty() {
                    "it has no conditions".to_owned()
                } else {
                    words.join(", ")
                }
            };
            RuleExplained {
                number: index + 1,
                matched: upto == Some(index),
                why: failed.map_or_else(held, |condition| format!("not so: {condition}")),
            }
        });
        let sticky = chosen.and_then(|rule| sticky(found, rule, request));
        self.route = Some(RouteExplained {
            document: format!("{}/{}", found.namespace, found.name),
            rules: rules.collect(),
            sticky,
            policy: policy(found),
        });
        chosen
    }

    /// What a rule does; its destinations, unless it answers by itself.
    fn rule<'r>(
        &mut self,
        rule: &'r Rule,
        namer: &dyn Namer,
        request: &Request,
        consumed: usize,
    ) -> Option<&'r [Destination]> {
        if let Some(redirect) = &rule.set.redirect {
            self.answer = Some(format!(
                "{} to {}, as the rule says",
                redirect.status, redirect.location
            ));
            return None;
        }
        if let Some(status) = rule.set.status {
            self.answer = Some(format!("{status}, as the rule says"));
            return None;
        }
        let consumed = consume_path(request.target(), consumed);
        let forwarded = route::rewrite_path(rule, &consumed).into_owned();
        self.forwarded_path = (forwarded != request.target()).then_some(forwarded);
        self.mirror = rule.mirror.as_ref().and_then(|mirror| {
            let to = destinations(std::slice::from_ref(&mirror.to), None, &self.dtab, namer);
            to.into_iter().next().map(|to| (mirror.percent, to))
        });
        Some(&rule.to)
    }

    fn find_sets(&mut self, endpoints: &dyn Fn(&Path) -> Option<SetExplained>) {
        let mut ids: Vec<Path> = Vec::new();
        let mirrored = self.mirror.iter().map(|(_, to)| to);
        for tree in self
            .destinations
            .iter()
            .chain(mirrored)
            .filter_map(|to| to.bound.as_ref().ok())
        {
            tree.for_each_leaf(&mut |bound: &Bound| {
                if !ids.contains(&bound.id) {
                    ids.push(bound.id.clone());
                }
            });
        }
        let unknown = |id: &Path| SetExplained {
            id: id.to_string(),
            state: "not in use yet".to_owned(),
            protocol: None,
            endpoints: Vec::new(),
        };
        self.sets = ids
            .iter()
            .map(|id| endpoints(id).unwrap_or_else(|| unknown(id)))
            .collect();
    }
}

/// The first condition that a request does not meet, in the order of [`match_words`].
fn why_not(conditions: &Match, request: &Request, caller: &route::Caller<'_>) -> Option<String> {
    let mut single = Vec::new();
    if !conditions.methods.is_empty() {
        single.push(Match {
            methods: conditions.methods.clone(),
            ..Match::default()
        });
    }
    single.extend(conditions.path.iter().map(|path| Match {
        path: Some(path.clone()),
        ..Match::default()
    }));
    let header = |header: &(_, _)| Match {
        headers: vec![header.clone()],
        ..Match::default()
    };
    single.extend(conditions.headers.iter().map(header));
    single.extend(conditions.query.iter().map(|query| Match {
        query: vec![query.clone()],
        ..Match::default()
    }));
    single.extend(conditions.from.iter().map(|from| Match {
        from: Some(from.clone()),
        ..Match::default()
    }));
    single
        .iter()
        .find(|one| !route::matches(one, request, caller))
        .map(|one| match_words(one).join(", "))
}

/// Rendezvous between the destinations, keyed as the data plane keys it: by `namespace/service`, arm and key.
fn sticky(found: &Route, rule: &Rule, request: &Request) -> Option<StickyExplained> {
    let by = rule.sticky_by.as_ref()?;
    let key = route::key_of(by, request, request.peer);
    let arms: Vec<_> = rule
        .to
        .iter()
        .map(|to| (to.name.as_str(), to.weight))
        .collect();
    let service = format!("{}/{}", found.namespace, found.service);
    Some(StickyExplained {
        by: key_word(by),
        arm: key
            .as_ref()
            .and_then(|key| sticky::pick(&service, &arms, key)),
        key: key.map(|key| match by {
            heddle_core::config::Key::Address => request.peer.to_string(),
            _ => String::from_utf8_lossy(&key).into_owned(),
        }),
    })
}

fn policy(found: &Route) -> String {
    let time =
        |bound: Option<std::time::Duration>| bound.map_or_else(|| "none".to_owned(), duration);
    let hedge = found
        .hedge
        .map(|percentile| format!(", hedge beyond p{percentile}"))
        .unwrap_or_default();
    format!(
        "timeout {}, attempt timeout {}, at most {} retries within {} + {}/s{hedge}",
        time(found.timeout),
        time(found.attempt_timeout),
        found.retries.max,
        found.retries.budget.ratio,
        found.retries.budget.min_per_second
    )
}

fn faults(
    config: &ProxyConfig,
    listener: &Listener,
    name: &Path,
    request: &Request,
    caller: &route::Caller<'_>,
) -> Vec<String> {
    let service = route::service_of(name).unwrap_or_default();
    let meets = config.faults.iter().filter(|fault| {
        let own = fault.namespace == listener.namespace && fault.service == service;
        let elsewhere = format!("{}.{}", fault.service, fault.namespace) == service;
        (own || elsewhere) && route::matches(&fault.matches, request, caller)
    });
    meets
        .map(|fault| {
            format!(
                "{}/{}: {} % {}",
                fault.namespace,
                fault.name,
                fault.percent,
                fault_words(fault)
            )
        })
        .collect()
}

fn destinations(
    to: &[Destination],
    sticky: Option<usize>,
    dtab: &Dtab,
    namer: &dyn Namer,
) -> Vec<DestinationExplained> {
    let total: f64 = to.iter().map(|to| to.weight).sum();
    let mut explained = Vec::with_capacity(to.len());
    for (index, to) in to.iter().enumerate() {
        let share = if total > 0.0 { to.weight / total } else { 0.0 };
        explained.push(DestinationExplained {
            name: to.name.clone(),
            path: to.path.clone(),
            weight: to.weight,
            share,
            chosen: sticky.map_or(share >= 1.0, |arm| arm == index),
            delegation: heddle_core::name::explain(dtab, namer, &to.path, MAX_DEPTH),
            bound: bind(dtab, namer, &to.path, MAX_DEPTH),
        });
    }
    explained
}

#[cfg(test)]
mod tests;
