//! An explanation as text for people and as JSON for programs.

use super::{
    DestinationExplained, EndpointExplained, Explanation, RouteExplained, SetExplained,
    StickyExplained,
};
use crate::view::{status_word, tree_json};
use heddle_core::answer::Kind;
use heddle_core::name::{BindError, Bound, NameTree};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Where the second column begins.
const COLUMN: usize = 13;

impl Explanation {
    /// As text: a section for each decision, in the order in which they are taken.
    pub fn to_text(&self) -> String {
        let mut text = Text::default();
        text.row("request", &self.request);
        text.row(
            "listener",
            &format!(
                "{} ({}, namespace {})",
                self.listener, self.mode, self.namespace
            ),
        );
        self.write_name(&mut text);
        text.row(
            "dtab",
            &if self.dtab.is_empty() {
                "empty".to_owned()
            } else {
                self.dtab.to_string()
            },
        );
        match &self.route {
            Some(route) => write_route(&mut text, route, self),
            None if self.answer.is_some() || self.mode == "inbound" => {}
            None => text.row("route", "no Route: the name goes to the dtab as it is"),
        }
        for fault in &self.faults {
            text.row("fault", fault);
        }
        if let Some(path) = &self.forwarded_path {
            text.row("forwards", &format!("as {path}"));
        }
        if let Some(answer) = &self.answer {
            text.row("answers", answer);
        }
        for to in &self.destinations {
            write_destination(&mut text, "goes to", to, self.destinations.len() > 1);
        }
        if let Some((percent, to)) = &self.mirror {
            write_destination(&mut text, &format!("copies {percent} %"), to, false);
        }
        for set in &self.sets {
            write_set(&mut text, set);
        }
        text.0
    }

    fn write_name(&self, text: &mut Text) {
        for (by, why) in &self.identification.passed {
            text.row("name", &format!("not by {by}: {why}"));
        }
        if let (Some(name), Some(by)) = (&self.identification.name, &self.identification.by) {
            text.row("name", &format!("{name}   by {by}"));
        }
        let overrides = &self.overrides;
        if let Some(reason) = &overrides.broken {
            text.row("overrides", &format!("cannot be read: {reason}"));
        } else if !overrides.given.is_empty() {
            let given = overrides.given.join(", ");
            let what = match overrides.accept {
                true => format!("{given} accepted: {}", overrides.accepted),
                false => format!("{given} stripped: the listener has overrides: strip"),
            };
            text.row("overrides", &what);
        }
    }

    /// As JSON; every decision under its own key, null where it was not taken.
    pub fn to_json(&self) -> Value {
        let passed = self
            .identification
            .passed
            .iter()
            .map(|(by, why)| json!({"by": by, "why": why}));
        json!({
            "request": self.request,
            "listener": {"name": self.listener, "mode": self.mode, "namespace": self.namespace},
            "identification": {
                "name": self.identification.name.as_ref().map(ToString::to_string),
                "by": self.identification.by,
                "passed": passed.collect::<Vec<_>>(),
            },
            "overrides": {
                "given": self.overrides.given,
                "accepted": self.overrides.accept && !self.overrides.given.is_empty(),
                "dtab": self.overrides.accepted.to_string(),
                "error": self.overrides.broken,
            },
            "dtab": self.dtab.to_string(),
            "route": self.route.as_ref().map(route_json),
            "faults": self.faults,
            "forwardedPath": self.forwarded_path,
            "answer": self.answer,
            "destinations": self.destinations.iter().map(destination_json).collect::<Vec<_>>(),
            "mirror": self.mirror.as_ref().map(|(percent, to)| json!({"percent": percent, "to": destination_json(to)})),
            "replicaSets": self.sets.iter().map(set_json).collect::<Vec<_>>(),
        })
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    /// A row with a label, and nothing in place of the label that the row before had.
    fn row(&mut self, label: &str, what: &str) {
        let _ = writeln!(self.0, "{label:COLUMN$}{what}");
    }

    fn below(&mut self, what: &str) {
        for line in what.lines() {
            let _ = writeln!(self.0, "{:COLUMN$}  {line}", "");
        }
    }
}

fn write_route(text: &mut Text, route: &RouteExplained, explanation: &Explanation) {
    text.row("route", &format!("{}: {}", route.document, route.policy));
    for rule in &route.rules {
        let matched = if rule.matched {
            "matches"
        } else {
            "does not match"
        };
        text.below(&format!("rule {} {matched}: {}", rule.number, rule.why));
    }
    if let Some(sticky) = &route.sticky {
        text.below(&sticky_words(sticky, explanation));
    }
}

fn sticky_words(sticky: &StickyExplained, explanation: &Explanation) -> String {
    let StickyExplained { by, key, arm } = sticky;
    let arm = arm
        .and_then(|arm| explanation.destinations.get(arm))
        .map(|to| to.name.as_str());
    match (key, arm) {
        (Some(key), Some(arm)) => format!("sticky by {by}: {key:?} always gets {arm}"),
        (Some(key), None) => {
            format!("sticky by {by}: {key:?} gets none, since no weight is positive")
        }
        (None, _) => format!("sticky by {by}: the request has no such key, so chance decides"),
    }
}

fn write_destination(text: &mut Text, label: &str, to: &DestinationExplained, split: bool) {
    let mut what = format!("{} = {}", to.name, to.path);
    if to.name == to.path.to_string() {
        what.clone_from(&to.name);
    }
    if split {
        let _ = write!(what, "   {} % (weight {})", percent(to.share), to.weight);
        if to.chosen {
            what.push_str("   <- this request");
        }
    }
    text.row(label, &what);
    text.below(&to.delegation.to_string());
    text.below(&bound_words(&to.bound));
}

/// A share as a percentage with at most two decimals.
fn percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}

/// What a destination binds to, or what the proxy answers in its place.
fn bound_words(bound: &Result<NameTree<Bound>, BindError>) -> String {
    let answers = |what: &str, kind: Kind| {
        format!(
            "{what}: the proxy answers {} {}",
            kind.status(),
            kind.label()
        )
    };
    match bound {
        Ok(NameTree::Neg) => answers("there is no such name", Kind::NoSuchName),
        Ok(NameTree::Fail) => answers("the name is told to fail", Kind::NameFailed),
        Ok(NameTree::Empty) => answers("the name exists and nobody is there", Kind::NoEndpoints),
        Ok(tree) => format!("bound to {tree}"),
        Err(BindError::Pending) => {
            format!(
                "not known yet; the proxy waits, and in the end {}",
                answers("gives up", Kind::Timeout)
            )
        }
        Err(error) => answers(&error.to_string(), Kind::NameFailed),
    }
}

fn write_set(text: &mut Text, set: &SetExplained) {
    let protocol = set
        .protocol
        .as_ref()
        .map(|protocol| format!(", protocol {protocol}"))
        .unwrap_or_default();
    let count = match set.endpoints.len() {
        0 => String::new(),
        1 => ", 1 endpoint".to_owned(),
        many => format!(", {many} endpoints"),
    };
    text.row(
        "replica set",
        &format!("{}   {}{protocol}{count}", set.id, set.state),
    );
    for endpoint in &set.endpoints {
        text.below(&endpoint_words(endpoint));
    }
}

fn endpoint_words(endpoint: &EndpointExplained) -> String {
    let mut words = format!("{}   weight {}", endpoint.address, endpoint.weight);
    let Some(live) = &endpoint.live else {
        return words;
    };
    let _ = write!(words, "   {}", status_word(live.status));
    if let Some(left) = live.ejected_ms {
        let _ = write!(words, ", ejected, probe in {left} ms");
    }
    if let Some(ewma) = live.ewma_ms {
        let _ = write!(words, "   ewma {ewma:.3} ms");
    }
    let _ = write!(
        words,
        "   load {:.1}   in flight {}",
        live.load, live.in_flight
    );
    for (label, value) in [("zone", &live.zone), ("node", &live.node)] {
        if let Some(value) = value {
            let _ = write!(words, "   {label} {value}");
        }
    }
    words
}

fn route_json(route: &RouteExplained) -> Value {
    let rules = route
        .rules
        .iter()
        .map(|rule| json!({"rule": rule.number, "matched": rule.matched, "why": rule.why}));
    let sticky = route.sticky.as_ref();
    json!({
        "document": route.document,
        "policy": route.policy,
        "rules": rules.collect::<Vec<_>>(),
        "sticky": sticky.map(|sticky| json!({"by": sticky.by, "key": sticky.key, "destination": sticky.arm})),
    })
}

fn destination_json(to: &DestinationExplained) -> Value {
    let (bound, error) = match &to.bound {
        Ok(tree) => (Some(tree_json(tree)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    json!({
        "name": to.name,
        "path": to.path.to_string(),
        "weight": to.weight,
        "share": to.share,
        "chosen": to.chosen,
        "delegation": to.delegation.to_json(),
        "bound": bound,
        "error": error,
    })
}

fn set_json(set: &SetExplained) -> Value {
    let endpoint = |endpoint: &EndpointExplained| match &endpoint.live {
        Some(live) => json!(live),
        None => json!({"address": endpoint.address, "weight": endpoint.weight}),
    };
    json!({
        "id": set.id,
        "state": set.state,
        "protocol": set.protocol,
        "endpoints": set.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}
