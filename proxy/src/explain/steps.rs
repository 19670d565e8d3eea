//! The steps of an explanation, in the order in which the data plane takes them.

use super::{
    DestinationExplained, Explanation, Identification, Request, RouteExplained, RuleExplained,
    SetExplained, StickyExplained,
};
use crate::view::{duration, fault_words, identifier, key_word, match_words};
use heddle_core::config::{
    Destination, Identifier, Key, Listener, Match, Mode, ProxyConfig, Route, Rule,
};
use heddle_core::identify::{Identified, identify};
use heddle_core::name::{Bound, Dtab, MAX_DEPTH, Namer, Path, bind};
use heddle_core::{route, sticky};
use std::time::Duration;

/// The logical name, and how many segments of the path it used up. A listener for opaque bytes has its name written.
pub(super) fn identification(listener: &Listener, request: &Request) -> (Identification, usize) {
    let mut made = Identification {
        by: None,
        name: None,
        passed: Vec::new(),
        refused: false,
    };
    if let Some(name) = &request.name {
        made.by = Some("the name that was asked for".to_owned());
        made.name = Some(name.clone());
        return (made, 0);
    }
    if let Mode::Inbound { .. } = listener.mode {
        made.by = Some("the listener's name, since all requests go to its `forwardTo`".to_owned());
        made.name = Path::from_elements(["svc", &listener.name]);
        return (made, 0);
    }
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
                made.refused = true;
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
    /// Everything after identification. `request` is without the segments that identification consumed, as the rules
    /// see it; `target` is what came.
    pub(super) fn follow(
        &mut self,
        config: &ProxyConfig,
        namer: &dyn Namer,
        listener: &Listener,
        request: &Request,
        target: &str,
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
            self.answer = Some(match self.identification.passed.last() {
                Some((_, reason)) if self.identification.refused => {
                    format!("400 refused: {reason}")
                }
                _ => "400 unidentified: nothing in the request says which service it is for"
                    .to_owned(),
            });
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
            (Some(_), Some(rule)) => self.rule(rule, namer),
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
        let forwarded = rule.map_or_else(
            || request.target().to_owned(),
            |rule| route::rewrite_path(rule, request.target()).into_owned(),
        );
        self.forwarded_path = (to.is_some() && forwarded != target).then_some(forwarded);
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
                why: failed.map_or_else(held, |condition| format!("it wants {condition}")),
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
    fn rule<'r>(&mut self, rule: &'r Rule, namer: &dyn Namer) -> Option<&'r [Destination]> {
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
        self.mirror = rule.mirror.as_ref().and_then(|mirror| {
            let to = destinations(std::slice::from_ref(&mirror.to), None, &self.dtab, namer);
            to.into_iter().next().map(|to| (mirror.percent, to))
        });
        Some(&rule.to)
    }

    pub(super) fn find_sets(&mut self, endpoints: &dyn Fn(&Path) -> Option<SetExplained>) {
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
            Key::Address => request.peer.to_string(),
            _ => String::from_utf8_lossy(&key).into_owned(),
        }),
    })
}

fn policy(found: &Route) -> String {
    let time = |bound: Option<Duration>| bound.map_or_else(|| "none".to_owned(), duration);
    let hedge = found
        .hedge
        .map(|percentile| format!(", hedge beyond p{percentile}"))
        .unwrap_or_default();
    format!(
        "timeout {}, attempt timeout {}, at most {} retries within a budget of {} % + {}/s{hedge}",
        time(found.timeout),
        time(found.attempt_timeout),
        found.retries.max,
        found.retries.budget.ratio * 100.0,
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
