//! Rule documents judged one by one, as a control plane takes them: a bad one is refused, and the others count.
//!
//! Pure. A proxy's own file is a whole that is right or wrong; a mesh is written by many, and one team's mistake
//! must not keep the others' changes back.

use super::document::{Collected, Written};
use super::report::{Report, Spot};
use super::yaml::Place;
use super::{Loading, Source, across, codes};
use crate::config::{Cluster, ClusterSource, Fault, Route};
use crate::finding::Finding;
use crate::name::Dtab;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a document is called: no two of a mesh have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// `Route`, `Dtab`, `Cluster` or `Fault`.
    pub kind: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl std::fmt::Display for DocumentId {
    /// `<kind>/<namespace>/<name>`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// What a document says.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// Rules for a service.
    Route(Arc<Route>),
    /// Delegations.
    Dtab(Dtab),
    /// A replica set.
    Cluster(Arc<Cluster>),
    /// A fault.
    Fault(Arc<Fault>),
}

/// A document without errors.
#[derive(Debug, Clone)]
pub struct Sound {
    /// What it is called.
    pub id: DocumentId,
    /// As it was written.
    pub text: Arc<str>,
    /// What it says.
    pub meaning: Meaning,
    /// The file it was read from.
    pub file: String,
}

impl Sound {
    /// What no other document may have: for a Route its service, for a Cluster its name.
    pub fn claim(&self) -> Option<String> {
        match &self.meaning {
            Meaning::Route(route) => Some(format!("route {}/{}", route.namespace, route.service)),
            Meaning::Cluster(cluster) => Some(format!("cluster {}", cluster.name)),
            Meaning::Dtab(_) | Meaning::Fault(_) => None,
        }
    }
}

/// A document with errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsound {
    /// What it is called, if that could be read.
    pub id: Option<DocumentId>,
    /// The file it was read from.
    pub file: String,
}

/// What became of the documents of some files.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// Those that count, in the order of files and places.
    pub sound: Vec<Sound>,
    /// Those that do not.
    pub unsound: Vec<Unsound>,
    /// All findings, errors and warnings, in the same order.
    pub findings: Vec<Finding>,
}

/// Judges every document of `files` (names and texts) by itself, then those that are sound together.
///
/// Of two documents of one name, two Routes of one service or two Clusters of one name the first counts.
///
/// ```
/// use heddle_core::spec::set::judge;
///
/// let good = "apiVersion: heddle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a}\nspec: {endpoints: ['127.0.0.1:1']}\n";
/// let bad = "apiVersion: heddle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: b}\nspec: {endpoints: []}\n";
/// let judged = judge(&[("mesh.yaml".into(), format!("{good}---\n{bad}"))]);
/// assert_eq!(judged.sound[0].id.to_string(), "Cluster/default/a");
/// assert_eq!(judged.unsound[0].id.as_ref().map(ToString::to_string).as_deref(), Some("Cluster/default/b"));
/// assert_eq!((judged.findings[0].line, judged.findings[0].code), (8, "HED216"));
/// ```
pub fn judge(files: &[(String, String)]) -> Judged {
    let mut judging = Judging::default();
    for (file, text) in files {
        judging.report.enter(file);
        let mut said_anything = false;
        for (first_line, chunk) in documents_of(text) {
            let blank = chunk.lines().all(|line| {
                let line = line.trim();
                line.is_empty() || line.starts_with('#') || line == "..."
            });
            if !blank {
                said_anything = true;
                judging.document(file, first_line, chunk);
            }
        }
        if !said_anything {
            judging.document(file, 0, text);
        }
    }
    judging.finish()
}

/// The documents of a text, each with the number of lines before it.
fn documents_of(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 0, 0);
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let mark = content.trim_end() == "---" || content.starts_with("--- ");
        if mark && at > start {
            documents.push((start_line, &text[start..at]));
            (start, start_line) = (at, line);
        }
        at += content.len();
    }
    documents.push((start_line, &text[start..]));
    documents
}

#[derive(Default)]
struct Judging {
    report: Report,
    all: Collected,
    sound: Vec<Sound>,
    unsound: Vec<Unsound>,
    findings: Vec<Finding>,
}

impl Judging {
    /// Judges one document, `before` lines below the top of its file.
    fn document(&mut self, file: &str, before: usize, text: &str) {
        let mut loading = Loading::new(&Elsewhere);
        let mut one = Collected::default();
        loading.report.enter(file);
        loading.rules_text(Path::new(file), text, &mut one);
        emptied(&one, &mut loading.report);
        let errors = loading.report.errors();
        let findings = loading.report.into_findings();
        self.findings
            .extend(findings.into_iter().map(|finding| Finding {
                line: finding.line + before,
                ..finding
            }));
        let id = one.names.first().map(|name| {
            let (kind, namespace, name) = name.value.clone();
            DocumentId {
                kind,
                namespace,
                name,
            }
        });
        let meaning = meaning(&one).filter(|_| errors == 0);
        let (Some(id), Some(meaning)) = (id.clone(), meaning) else {
            if errors > 0 {
                let file = file.to_owned();
                self.unsound.push(Unsound { id, file });
            }
            return;
        };
        self.sound.push(Sound {
            id,
            // Where it stands among others is no part of it.
            text: text
                .trim_start_matches("---")
                .trim_matches(['\n', '\r'])
                .into(),
            meaning,
            file: file.to_owned(),
        });
        let spot = |spot: Spot, report: &Report| {
            report.spot(Place {
                line: spot.place.line + before,
                ..spot.place
            })
        };
        let report = &self.report;
        let moved = |name: Written<_>| Written {
            spot: spot(name.spot, report),
            ..name
        };
        self.all.names.extend(one.names.into_iter().map(moved));
        let moved = |route: Written<_>| Written {
            spot: spot(route.spot, report),
            ..route
        };
        self.all.routes.extend(one.routes.into_iter().map(moved));
        let moved = |cluster: Written<_>| Written {
            spot: spot(cluster.spot, report),
            ..cluster
        };
        self.all
            .clusters
            .extend(one.clusters.into_iter().map(moved));
    }

    /// Leaves out what contradicts something before it.
    fn finish(mut self) -> Judged {
        across::duplicates(&self.all, &mut self.report);
        across::clusters(self.all.clusters.iter(), &mut self.report);
        self.findings.extend(self.report.into_findings());
        let (mut ids, mut claims) = (HashSet::new(), HashSet::new());
        self.sound.retain(|sound| {
            let claim = sound.claim();
            let free =
                !ids.contains(&sound.id) && claim.as_ref().is_none_or(|c| !claims.contains(c));
            if free {
                ids.insert(sound.id.clone());
                claims.extend(claim);
            }
            free
        });
        Judged {
            sound: self.sound,
            unsound: self.unsound,
            findings: self.findings,
        }
    }
}

/// A set that somebody writes without any endpoint is refused: a list that came out empty by accident must not take
/// a service away, and whoever means it removes the document.
fn emptied(one: &Collected, report: &mut Report) {
    let empty = |cluster: &&Written<Cluster>| matches!(&cluster.value.source, ClusterSource::Endpoints(endpoints) if endpoints.is_empty());
    // Anything else that is wrong with the list has been said.
    if let Some(cluster) = one
        .clusters
        .iter()
        .find(empty)
        .filter(|_| report.errors() == 0)
    {
        report.add_at(
            &codes::EMPTY_LIST,
            cluster.spot,
            format!("the Cluster `{}` has no endpoints", cluster.value.name),
            "a list that came out empty by accident would take the service away",
            "write its endpoints, or remove the document when it is to go",
        );
    }
}

fn meaning(one: &Collected) -> Option<Meaning> {
    let route = one
        .routes
        .first()
        .map(|route| Meaning::Route(Arc::new(route.value.clone())));
    let dtab = || {
        one.dtabs
            .first()
            .map(|dtab| Meaning::Dtab(dtab.value.2.clone()))
    };
    let cluster = || {
        one.clusters
            .first()
            .map(|cluster| Meaning::Cluster(Arc::new(cluster.value.clone())))
    };
    let fault = || {
        one.faults
            .first()
            .map(|fault| Meaning::Fault(Arc::new(fault.value.clone())))
    };
    route.or_else(dtab).or_else(cluster).or_else(fault)
}

/// Where documents of a mesh would find files: nowhere, since each proxy has others.
struct Elsewhere;

impl Source for Elsewhere {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::Error::other(
            "a document of the control plane names no files, since each proxy has its own; write `discovery.tls` in the proxies' files",
        ))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, service: &str) -> String {
        format!(
            "apiVersion: heddle.dev/v1alpha1\nkind: Route\nmetadata: {{name: {name}}}\nspec: {{service: {service}, rules: [{{to: x}}]}}\n"
        )
    }

    fn ids(judged: &Judged) -> Vec<String> {
        judged
            .sound
            .iter()
            .map(|sound| sound.id.to_string())
            .collect()
    }

    #[test]
    fn a_bad_document_keeps_no_other_back() {
        let broken = "apiVersion: heddle.dev/v1alpha1\nkind: Route\nmetadata: {name: b}\nspec: {service: b, rules: []}\n";
        let text = format!(
            "# the mesh\n{}---\n{broken}--- # more\n{}...\n",
            route("a", "a"),
            route("c", "c")
        );
        let judged = judge(&[("m.yaml".into(), text), ("n.yaml".into(), "a: [".into())]);
        assert_eq!(ids(&judged), ["Route/default/a", "Route/default/c"]);
        let unsound: Vec<_> = judged
            .unsound
            .iter()
            .map(|u| (u.id.as_ref().map(ToString::to_string), u.file.as_str()))
            .collect();
        assert_eq!(
            unsound,
            [
                (Some("Route/default/b".to_owned()), "m.yaml"),
                (None, "n.yaml")
            ]
        );
        assert_eq!(judged.findings[0].line, 10, "{:?}", judged.findings);
        assert_eq!(judged.findings.iter().filter(|f| f.is_error()).count(), 2);
    }

    #[test]
    fn of_two_that_claim_the_same_the_first_counts() {
        let files = [
            ("1".to_owned(), route("a", "a")),
            (
                "2".to_owned(),
                format!("{}---\n{}", route("a", "b"), route("c", "a")),
            ),
        ];
        let judged = judge(&files);
        assert_eq!(ids(&judged), ["Route/default/a"]);
        let codes: Vec<_> = judged
            .findings
            .iter()
            .map(|f| (f.code, f.file.as_str(), f.line))
            .collect();
        assert_eq!(codes, [("HED301", "2", 3), ("HED302", "2", 9)]);
    }

    #[test]
    fn nothing_is_no_mistake_and_files_of_certificates_are() {
        let judged = judge(&[("empty".into(), "# nothing\n".into())]);
        assert_eq!((judged.sound.len(), judged.unsound.len()), (0, 0));
        assert_eq!(judged.findings[0].code, "HED111");
        let tls = "apiVersion: heddle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a}\nspec: {endpoints: ['127.0.0.1:1'], tls: {ca: ca.pem, serverName: a}}\n";
        let judged = judge(&[("tls".into(), tls.into())]);
        assert!(
            judged.findings[0].what.contains("discovery.tls"),
            "{:?}",
            judged.findings
        );
    }
}
