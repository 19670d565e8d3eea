//! From the YAML that people write to [`crate::config`], with every mistake as a finding.
//!
//! Pure: files come from a [`Source`]. In four steps: text becomes a tree whose values know
//! their places (`yaml`); the tree is checked against tables of what it may look like
//! (`shape`, `table`), which also make `schemas/` and parts of `docs/`; what is sound is decoded
//! (`proxy`, `document`); and what no single document shows is checked at the end (`across`).
//! No step stops at its first finding.

use crate::config::{Cluster, ControlPlane, Fault, ProxyConfig, Route};
use crate::finding::Finding;
use crate::name::Dtab;
use document::Collected;
use fields::Fields;
use report::Report;
use shape::{Checker, Shape};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tls::Reader;
pub use tls::{Flaw, Material};
use yaml::{Node, Place};

mod across;
pub mod beside;
pub mod codes;
mod defaults;
mod document;
mod fields;
mod format;
mod glob;
pub mod mesh;
mod proxy;
mod remote;
mod report;
pub mod schema;
pub mod set;
mod shape;
mod table;
mod tls;
mod yaml;

/// Where files and environment variables come from.
pub trait Source {
    /// The bytes of a file. At most [`MAX_FILE_BYTES`] + 1 need to be read.
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;
    /// The names (not paths) of the entries of a folder, in any order.
    ///
    /// # Errors
    /// If it cannot be listed; [`io::ErrorKind::NotADirectory`] if it is no folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;
    /// What is wrong with certificates and keys. The core understands neither; a source that does not say
    /// finds nothing wrong.
    fn inspect(&self, _material: &Material<'_>) -> Vec<Flaw> {
        Vec::new()
    }
    /// Documents that the control plane sent, for a proxy that has one.
    fn remote(&self, _from: &ControlPlane) -> Vec<set::Sound> {
        Vec::new()
    }
}

/// A file of configuration may not be larger: far above what people write, far below what hurts.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Rule files of one load: far above what people keep.
const MAX_FILES: usize = 10_000;

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; `None` when there is any error.
    pub config: Option<ProxyConfig>,
    /// All findings, errors and warnings, by file and place.
    pub findings: Vec<Finding>,
    /// Every file that took part or should have, to be watched even when there is no configuration.
    pub files_read: Vec<PathBuf>,
    /// Folders whose listing took part, to be watched likewise.
    pub folders_read: Vec<PathBuf>,
}

/// Rule documents that are sound.
#[derive(Debug, Default)]
pub struct Documents {
    /// `Route` documents.
    pub routes: Vec<Arc<Route>>,
    /// `Dtab` documents in (namespace, name) order, each with both.
    pub dtabs: Vec<(String, String, Dtab)>,
    /// `Cluster` documents.
    pub clusters: Vec<Arc<Cluster>>,
    /// `Fault` documents.
    pub faults: Vec<Arc<Fault>>,
}

/// Reads a proxy's file and everything that it names; without a file, the built-in default.
///
/// The default is an admin server on 127.0.0.1:9990 and one outbound listener on 127.0.0.1:4140,
/// which resolves names by nothing.
pub fn load(main_file: Option<&Path>, source: &dyn Source) -> Loaded {
    let mut loading = Loading::new(source);
    let config =
        main_file.map_or_else(|| Some(defaults::config(source)), |file| loading.main(file));
    loading.finish(config)
}

/// Checks files of every kind: those whose first document has a `kind` hold rules, those with `sources`, `xds` or `api`
/// are a control plane's, others are a proxy's.
///
/// Rule files that no proxy's file among them names are checked together, as if one named them all.
pub fn check(files: &[PathBuf], source: &dyn Source) -> Vec<Finding> {
    let mut loading = Loading::new(source);
    let mut rule_files = Vec::new();
    for file in files {
        let Some(text) = loading.text(file) else {
            continue;
        };
        let documents = yaml::parse(&text, &mut Report::default());
        let is_rules = |node: &Node| node.get("kind").is_some() || node.get("apiVersion").is_some();
        if documents.first().is_some_and(is_rules) {
            rule_files.push((file, text));
        } else if documents.first().is_some_and(mesh::is_control_plane) {
            loading.control_plane(file, &text);
        } else {
            loading.main_text(file, &text);
        }
    }
    let mut collected = Collected::default();
    for (file, text) in rule_files {
        // Once as an argument; more often when a proxy's file named it too.
        if loading.files.iter().filter(|read| *read == file).count() == 1 {
            loading.report.enter(file.display().to_string());
            loading.rules_text(file, &text, &mut collected);
        }
    }
    across::duplicates(&collected, &mut loading.report);
    loading.report.into_findings()
}

/// Reads the rule documents of one text, checking each and all together.
///
/// ```
/// use heddle_core::spec::check_documents;
///
/// let (documents, findings) = check_documents("rules.yaml", "
/// apiVersion: heddle.dev/v1alpha1
/// kind: Route
/// metadata: {name: accounts}
/// spec:
///   service: accounts
///   rules: [{to: accounts-v1}]
///   timout: 2s
/// ");
/// assert_eq!(documents.routes[0].service, "accounts");
/// assert_eq!(findings[0].to_string(), "rules.yaml:8:3: error[HED201]: `timout` is not a key of the Route. \
///     a key that is not understood would silently do nothing. did you mean `timeout`?");
/// ```
pub fn check_documents(file: &str, text: &str) -> (Documents, Vec<Finding>) {
    struct Nowhere;
    impl Source for Nowhere {
        fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn env(&self, _: &str) -> Option<String> {
            None
        }
    }
    let mut loading = Loading::new(&Nowhere);
    let mut collected = Collected::default();
    loading.report.enter(file);
    loading.rules_text(Path::new(file), text, &mut collected);
    across::duplicates(&collected, &mut loading.report);
    let mut documents = Documents {
        routes: collected
            .routes
            .into_iter()
            .map(|route| Arc::new(route.value))
            .collect(),
        dtabs: collected.dtabs.into_iter().map(|dtab| dtab.value).collect(),
        clusters: collected
            .clusters
            .into_iter()
            .map(|cluster| Arc::new(cluster.value))
            .collect(),
        faults: collected
            .faults
            .into_iter()
            .map(|fault| Arc::new(fault.value))
            .collect(),
    };
    documents
        .dtabs
        .sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    (documents, loading.report.into_findings())
}

/// One load under way.
struct Loading<'s> {
    source: &'s dyn Source,
    report: Report,
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl<'s> Loading<'s> {
    fn new(source: &'s dyn Source) -> Self {
        Self {
            source,
            report: Report::default(),
            files: Vec::new(),
            folders: Vec::new(),
        }
    }

    fn finish(mut self, config: Option<ProxyConfig>) -> Loaded {
        self.folders.sort_unstable();
        self.folders.dedup();
        let sound = self.report.errors() == 0;
        let config = config.filter(|_| sound).map(|config| ProxyConfig {
            files_read: self.files.clone(),
            folders_read: self.folders.clone(),
            ..config
        });
        Loaded {
            config,
            findings: self.report.into_findings(),
            files_read: self.files,
            folders_read: self.folders,
        }
    }

    /// The text of a file, which the report enters; `None`, with a finding, when there is none.
    fn text(&mut self, file: &Path) -> Option<String> {
        self.report.enter(file.display().to_string());
        self.files.push(file.to_owned());
        let bytes = match self.source.read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.report.add(
                    &codes::UNREADABLE,
                    Place::START,
                    format!("the file cannot be read: {error}"),
                    "without it the configuration is not whole",
                    "look at its path and its permissions; paths are relative to the file that names them",
                );
                return None;
            }
        };
        if bytes.len() > MAX_FILE_BYTES {
            self.report.add(
                &codes::TOO_LARGE,
                Place::START,
                format!(
                    "the file is larger than {} MiB",
                    MAX_FILE_BYTES / 1024 / 1024
                ),
                "a file of that size is most likely not configuration",
                "split it, or keep endpoints in a folder of `discovery.files`",
            );
            return None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let before = String::from_utf8_lossy(sound);
                let line = before.matches('\n').count() + 1;
                let column = before
                    .rsplit('\n')
                    .next()
                    .map_or(0, |last| last.chars().count())
                    + 1;
                self.report.add(
                    &codes::NOT_UTF8,
                    Place { line, column },
                    "the file is not UTF-8 from here on",
                    "names and headers would be compared as something else than what was written",
                    "save it as UTF-8",
                );
                None
            }
        }
    }

    fn main(&mut self, file: &Path) -> Option<ProxyConfig> {
        let text = self.text(file)?;
        self.main_text(file, &text)
    }

    fn main_text(&mut self, file: &Path, text: &str) -> Option<ProxyConfig> {
        let before = self.report.errors();
        let documents = yaml::parse(text, &mut self.report);
        let Some(root) = documents.first() else {
            if self.report.errors() == before {
                self.report.add(
                    &codes::EMPTY_FILE,
                    Place::START,
                    "the proxy's file holds nothing",
                    "a file that is empty by accident must not take a proxy's configuration away",
                    "write `{}` for the default configuration",
                );
            }
            return None;
        };
        if let Some(second) = documents.get(1) {
            self.report.add(
                &codes::UNSUPPORTED_YAML,
                second.place,
                "a second document in a proxy's file",
                "the proxy's file is one document",
                "move rule documents to a file, and name it in `rules:`",
            );
        }
        let mut checker = Checker {
            source: text,
            report: &mut self.report,
        };
        checker.check(root, &Shape::Object(&table::PROXY));
        let mut config = defaults::config(self.source);
        let folder = proxy::folder_of(file);
        let fields = Fields::new(root, &table::PROXY);
        let mut reader = Reader::new(self.source, &mut self.files, &folder);
        let main = proxy::decode(fields, &folder, &mut config, &mut reader, &mut self.report);
        let mut collected = self.rules(fields.items("rules"), &folder);
        if let Some(from) = &config.control_plane {
            remote::add(self.source.remote(from), &mut collected, &mut self.report);
        }
        across::merge(collected, main, &mut config, &mut self.report);
        Some(config)
    }

    /// The documents that `rules` names or holds. Inline ones first, while the report is at the main file.
    fn rules(&mut self, items: &[Node], folder: &Path) -> Collected {
        let mut collected = Collected::default();
        let mut files = Vec::new();
        for item in items {
            match item.text() {
                Some(_) if shape::number(item).is_some() => {}
                Some(path) => self.named(path, item.place, folder, &mut files),
                None => {
                    let mut reader = Reader::new(self.source, &mut self.files, folder);
                    document::decode(item, &mut reader, &mut self.report, &mut collected);
                }
            }
        }
        for file in files {
            if let Some(text) = self.text(&file) {
                self.rules_text(&file, &text, &mut collected);
            }
        }
        collected
    }

    /// The files that an entry of `rules` names.
    fn named(&mut self, path: &str, place: Place, folder: &Path, files: &mut Vec<PathBuf>) {
        let mut found = vec![folder.join(path)];
        if glob::is_pattern(path) {
            match glob::expand(&folder.join(path), self.source, &mut self.folders) {
                Ok(paths) => found = paths,
                Err(error) => {
                    return self.report.add(
                        &codes::UNREADABLE,
                        place,
                        format!("the folder of `{path}` cannot be listed: {error}"),
                        "without it the configuration is not whole",
                        "look at the path, which is relative to this file",
                    );
                }
            }
            if found.is_empty() {
                self.report.add(
                    &codes::NO_FILES,
                    place,
                    format!("`{path}` matches no file"),
                    "no rule comes from it",
                    "look at the path, which is relative to this file; files that come later are seen",
                );
            }
        }
        found.retain(|file| !files.contains(file));
        files.extend(found);
        if files.len() > MAX_FILES {
            files.truncate(MAX_FILES);
            self.report.add(
                &codes::TOO_COMPLEX,
                place,
                format!("there are more than {MAX_FILES} files of rules"),
                "reading them would take too long",
                "write more documents into each file",
            );
        }
    }

    /// Checks and decodes the documents of a text; the report has entered its file.
    fn rules_text(&mut self, file: &Path, text: &str, collected: &mut Collected) {
        let before = self.report.errors();
        let documents = yaml::parse(text, &mut self.report);
        if documents.is_empty() && self.report.errors() == before {
            self.report.add(
                &codes::EMPTY_RULES,
                Place::START,
                "the file holds no document",
                "no rule comes from it",
                "remove the file if that is meant",
            );
        }
        for node in &documents {
            let mut checker = Checker {
                source: text,
                report: &mut self.report,
            };
            checker.check(node, &Shape::Document);
            let mut reader = Reader::new(self.source, &mut self.files, proxy::folder_of(file));
            document::decode(node, &mut reader, &mut self.report, collected);
        }
    }
}

#[cfg(test)]
mod tests;
