//! Every logical name, its rules, and where each destination binds now.

use crate::explain::{SetExplained, listener};
use crate::view::{match_words, tree_json};
use heddle_core::config::{Destination, Listener, Mode, ProxyConfig, Rule};
use heddle_core::name::{Bound, Dtab, MAX_DEPTH, NameTree, Namer, Path, bind};
use heddle_core::route;
use heddle_core::status::Status;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Names shown at most: as many as the proxy keeps entries for by default. More would be no table for people.
const MAX_NAMES: usize = 10_000;

/// The table of all names.
#[derive(Debug, Clone)]
pub struct Routes {
    /// One for each name on each listener, in this order.
    pub names: Vec<NameRoutes>,
    /// Names left out beyond the bound.
    pub left_out: usize,
}

/// One logical name on one listener.
#[derive(Debug, Clone)]
pub struct NameRoutes {
    /// Name of the listener.
    pub listener: String,
    /// The logical name.
    pub name: String,
    /// Whether a request asked for it, as far as the proxy remembers.
    pub seen: bool,
    /// `namespace/name` of the `Route` that applies.
    pub route: Option<String>,
    /// The rules in order; a name without a `Route` has one, which leads to itself.
    pub rules: Vec<RuleRoutes>,
}

/// One rule of a name.
#[derive(Debug, Clone)]
pub struct RuleRoutes {
    /// Its conditions in words; empty: all requests.
    pub conditions: Vec<String>,
    /// What the proxy answers by itself under this rule.
    pub answer: Option<String>,
    /// Where it leads.
    pub to: Vec<DestinationRoutes>,
}

/// One destination of a rule.
#[derive(Debug, Clone)]
pub struct DestinationRoutes {
    /// As the rule has it.
    pub name: String,
    /// Its weight.
    pub weight: f64,
    /// Its share of the rule's requests, 0..=1.
    pub share: f64,
    /// The tree it binds to now, or why it does not.
    pub bound: Result<NameTree<Bound>, String>,
    /// Endpoints of the replica sets in that tree; `None` while none of them is in use.
    pub endpoints: Option<Endpoints>,
}

/// How many endpoints there are, in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Those that may be picked, or whose state nobody knows.
    pub open: usize,
    /// Those that are taken out or not ready.
    pub out: usize,
}

impl Routes {
    /// What `config` and the names `seen` (listener, logical name) lead to. `endpoints` tells what is known of a replica
    /// set by its bound id.
    ///
    /// Written names are shown on the first outbound listener; a name that was seen is shown where it was.
    pub fn of(
        config: &ProxyConfig,
        namer: &dyn Namer,
        endpoints: &dyn Fn(&Path) -> Option<SetExplained>,
        seen: &[(String, String)],
    ) -> Self {
        let mut all: BTreeSet<(&str, String)> = seen
            .iter()
            .map(|(listener, name)| (listener.as_str(), name.clone()))
            .collect();
        if let Ok(first) = listener(config, None)
            && first.mode == Mode::Outbound
        {
            all.extend(written(config).map(|name| (first.name.as_str(), name)));
        }
        let left_out = all.len().saturating_sub(MAX_NAMES);
        let names = all.into_iter().take(MAX_NAMES);
        let names = names.filter_map(|(on, name)| {
            let on = listener(config, Some(on)).ok()?;
            let path = Path::parse(&name).ok()?;
            let seen = seen
                .iter()
                .any(|(listener, seen)| *listener == on.name && *seen == name);
            let scope = Scope {
                namer,
                endpoints,
                dtab: on.base_dtab.concat(&config.dtab),
            };
            Some(scope.name(config, on, &path, seen))
        });
        Self {
            names: names.collect(),
            left_out,
        }
    }

    /// As a table for people.
    pub fn to_text(&self) -> String {
        if self.names.is_empty() {
            return "no name is known: nothing was asked for yet, and neither routes nor replica sets are written\n"
                .to_owned();
        }
        let mut rows = vec![HEADS.map(ToOwned::to_owned)];
        for name in &self.names {
            name.rows(&mut rows);
        }
        let mut text = String::new();
        let width: [usize; HEADS.len()] = std::array::from_fn(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        });
        for row in &rows {
            let cells = row.iter().zip(width);
            let line: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", line.join("  ").trim_end());
        }
        if self.left_out > 0 {
            let _ = writeln!(text, "and {} more names", self.left_out);
        }
        text
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let names: Vec<_> = self.names.iter().map(NameRoutes::to_json).collect();
        json!({"version": 1, "names": names, "leftOut": self.left_out})
    }
}

const HEADS: [&str; 6] = ["NAME", "WHEN", "TO", "SHARE", "BINDS TO", "OPEN"];

/// The logical names that configuration has: of its routes, and of its replica sets.
fn written(config: &ProxyConfig) -> impl Iterator<Item = String> {
    let routes = config.routes.values().map(|route| {
        let own = route.namespace == config.namespace;
        match own {
            true => route.service.clone(),
            false => format!("{}.{}", route.service, route.namespace),
        }
    });
    let names = routes.chain(config.clusters.keys().cloned());
    names.map(|name| format!("/svc/{name}"))
}

struct Scope<'a> {
    namer: &'a dyn Namer,
    endpoints: &'a dyn Fn(&Path) -> Option<SetExplained>,
    dtab: Dtab,
}

impl Scope<'_> {
    fn name(&self, config: &ProxyConfig, on: &Listener, path: &Path, seen: bool) -> NameRoutes {
        let found =
            route::find(&config.routes, &on.namespace, path).filter(|_| on.mode == Mode::Outbound);
        let rules = match (&on.mode, found) {
            (Mode::Inbound { forward_to }, _) => vec![RuleRoutes {
                conditions: Vec::new(),
                answer: Some(format!("forwarded to {forward_to}")),
                to: Vec::new(),
            }],
            (_, Some(found)) => found.rules.iter().map(|rule| self.rule(rule)).collect(),
            (_, None) => vec![RuleRoutes {
                conditions: Vec::new(),
                answer: None,
                to: self.destinations(&[Destination {
                    name: path.to_string(),
                    path: path.clone(),
                    weight: 1.0,
                }]),
            }],
        };
        NameRoutes {
            listener: on.name.clone(),
            name: path.to_string(),
            seen,
            route: found.map(|found| format!("{}/{}", found.namespace, found.name)),
            rules,
        }
    }

    fn rule(&self, rule: &Rule) -> RuleRoutes {
        let set = &rule.set;
        let answer = match (&set.redirect, set.status) {
            (Some(to), _) => Some(format!("redirects {} to {}", to.status, to.location)),
            (None, Some(status)) => Some(format!("answers {status}")),
            (None, None) => None,
        };
        RuleRoutes {
            conditions: match_words(&rule.matches),
            answer,
            to: self.destinations(&rule.to),
        }
    }

    fn destinations(&self, to: &[Destination]) -> Vec<DestinationRoutes> {
        let total: f64 = to.iter().map(|to| to.weight).sum();
        let shown = |to: &Destination| {
            let bound = bind(&self.dtab, self.namer, &to.path, MAX_DEPTH)
                .map_err(|error| error.to_string());
            let endpoints = bound.as_ref().ok().and_then(|tree| self.count(tree));
            DestinationRoutes {
                name: to.name.clone(),
                weight: to.weight,
                share: if total > 0.0 { to.weight / total } else { 0.0 },
                bound,
                endpoints,
            }
        };
        to.iter().map(shown).collect()
    }

    fn count(&self, tree: &NameTree<Bound>) -> Option<Endpoints> {
        let mut ids = BTreeSet::new();
        leaves(tree, &mut ids);
        let sets: Vec<_> = ids.iter().filter_map(|id| (self.endpoints)(id)).collect();
        (!sets.is_empty()).then(|| {
            let mut count = Endpoints::default();
            for endpoint in sets.iter().flat_map(|set| &set.endpoints) {
                let live = endpoint.live.as_ref();
                match live.is_none_or(|live| live.status == Status::Open) {
                    true => count.open += 1,
                    false => count.out += 1,
                }
            }
            count
        })
    }
}

fn leaves(tree: &NameTree<Bound>, ids: &mut BTreeSet<Path>) {
    match tree {
        NameTree::Leaf(bound) => {
            ids.insert(bound.id.clone());
        }
        NameTree::Alt(trees) => trees.iter().for_each(|tree| leaves(tree, ids)),
        NameTree::Union(branches) => branches.iter().for_each(|branch| leaves(&branch.tree, ids)),
        NameTree::Neg | NameTree::Fail | NameTree::Empty => {}
    }
}

impl NameRoutes {
    fn rows(&self, rows: &mut Vec<[String; HEADS.len()]>) {
        let mut name = self.name.clone();
        for rule in &self.rules {
            let mut when = match rule.conditions.is_empty() {
                true => "always".to_owned(),
                false => rule.conditions.join(", "),
            };
            if let Some(answer) = &rule.answer {
                let none = String::new;
                let (name, when) = (std::mem::take(&mut name), std::mem::take(&mut when));
                rows.push([name, when, answer.clone(), none(), none(), none()]);
            }
            for to in &rule.to {
                rows.push([
                    std::mem::take(&mut name),
                    std::mem::take(&mut when),
                    to.name.clone(),
                    format!("{:.4}", to.share * 100.0)
                        .trim_end_matches('0')
                        .trim_end_matches('.')
                        .to_owned()
                        + " %",
                    to.bound_words(),
                    to.open_words(),
                ]);
            }
        }
    }

    fn to_json(&self) -> Value {
        let rules: Vec<_> = self
            .rules
            .iter()
            .map(|rule| {
                let to: Vec<_> = rule.to.iter().map(DestinationRoutes::to_json).collect();
                json!({"match": rule.conditions, "answer": rule.answer, "to": to})
            })
            .collect();
        json!({
            "listener": self.listener,
            "name": self.name,
            "seen": self.seen,
            "route": self.route,
            "rules": rules,
        })
    }
}

impl DestinationRoutes {
    fn bound_words(&self) -> String {
        match &self.bound {
            Ok(NameTree::Neg) => "nothing: no such name".to_owned(),
            Ok(NameTree::Fail) => "nothing: told to fail".to_owned(),
            Ok(NameTree::Empty) => "nobody: the name is empty".to_owned(),
            Ok(tree) => tree.to_string(),
            Err(reason) => format!("nothing: {reason}"),
        }
    }

    fn open_words(&self) -> String {
        self.endpoints.map_or_else(
            || "-".to_owned(),
            |count| format!("{}/{}", count.open, count.open + count.out),
        )
    }

    fn to_json(&self) -> Value {
        let (bound, error) = match &self.bound {
            Ok(tree) => (Some(tree_json(tree)), None),
            Err(reason) => (None, Some(reason)),
        };
        json!({
            "service": self.name,
            "weight": self.weight,
            "share": self.share,
            "bound": bound,
            "error": error,
            "endpoints": self.endpoints.map(|count| json!({"open": count.open, "out": count.out})),
        })
    }
}
