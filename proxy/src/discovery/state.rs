//! Everything that discovery knows and is about to do, behind one lock that nobody holds while waiting.
//!
//! [`answers`] is about DNS, [`unused`] about what nobody uses. Nothing here reads a clock, asks the network or touches a file: time, answers and looks are arguments.

mod answers;
pub(super) mod remote;
mod unused;

use super::dns::question::{Asked, Question};
use super::files::merge::{self, Files, Look};
use super::names::{Shared, Standing, Table};
use super::recipe::{self, Named, Part};
use super::replica_set::{Addr, ReplicaSet};
use heddle_core::Nanos;
use heddle_core::config::{Cluster, Dns, UpstreamProtocol};
use heddle_core::name::Path;
use remote::Told;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// DNS and literal names that are known at once beside what configuration and files name. One that nobody
/// holds makes room for a new one.
pub const NAMES_MAX: usize = 4096;

/// How often unused names are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Where a replica set comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Configuration or a file: it stays until that changes.
    Written,
    /// Somebody asked for its name: it stays while somebody uses it.
    Named,
}

#[derive(Debug)]
struct Entry {
    shared: Arc<Shared>,
    origin: Origin,
    /// Whether its name binds; a set whose name is gone stays for those who still use it.
    listed: bool,
    parts: Vec<Part>,
    /// Why it has no content, if not for DNS.
    failed: Option<String>,
    /// Whether the first answer stays.
    once: bool,
    /// What the control plane says, if it is one of its sets.
    told: Option<Told>,
}

#[derive(Debug)]
struct Asking {
    asked: Asked,
    users: BTreeSet<Path>,
}

/// What has changed since the last [`State::take_changes`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The table.
    pub(super) table: bool,
    /// What names bind to.
    pub(super) bindings: bool,
}

/// Events for metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// An answer is held that drops so many endpoints.
    Held { question: Question, lost: usize },
    /// A held answer is used after all.
    Released { question: Question },
    /// A file was read and says something else than before.
    FileRead { name: String },
    /// A file cannot be read or understood.
    FileFailed { name: String, why: String },
    /// The content of a set that is in use was confirmed or changed.
    Confirmed { id: Path },
    /// No further name is taken.
    Full,
}

#[derive(Debug)]
pub(super) struct State {
    entries: HashMap<Path, Entry>,
    questions: HashMap<Question, Asking>,
    /// Whether there is a control plane.
    remote: bool,
    /// Names to ask the control plane for, and names that nobody needs any more.
    asked: Vec<Path>,
    dropped: Vec<Path>,
    named: usize,
    names_max: usize,
    full: bool,
    files: Files,
    dns: Dns,
    idle: Duration,
    swept: Nanos,
    changes: Changes,
    events: Vec<Event>,
}

impl State {
    /// Knows nothing, and will keep at most `names_max` names that somebody asks for.
    pub(super) fn new(names_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            questions: HashMap::new(),
            remote: false,
            asked: Vec::new(),
            dropped: Vec::new(),
            named: 0,
            names_max,
            full: false,
            files: Files::new(),
            dns: Dns::default(),
            idle: heddle_core::config::Limits::default().cache_idle,
            swept: 0,
            changes: Changes::default(),
            events: Vec::new(),
        }
    }

    /// Replaces everything that configuration writes. Sets whose name stays keep their object.
    pub(super) fn configure<'c>(
        &mut self,
        clusters: impl Iterator<Item = &'c Cluster>,
        dns: &Dns,
        idle: Duration,
        now: Nanos,
    ) {
        if self.dns != *dns {
            self.dns = dns.clone();
            self.questions
                .values_mut()
                .for_each(|asking| asking.asked.hurry(now));
        }
        self.idle = idle;
        let mut gone: BTreeSet<Path> = self.listed_below("static");
        for cluster in clusters {
            let Some(id) = below("static", [cluster.name.as_bytes()]) else {
                continue;
            };
            gone.remove(&id);
            self.write(id, recipe::of_cluster(cluster), None, cluster.protocol, now);
        }
        for id in gone {
            self.unlist(&id);
        }
    }

    /// Takes what a look at the files' folder saw; says when to look again although nothing changes.
    pub(super) fn files_seen(&mut self, look: &Look, now: Nanos) -> Option<Nanos> {
        let (files, next) = merge::merge(&self.files, look, now);
        let mut gone = self.listed_below("files");
        for (name, file) in &files {
            let Some(id) = below("files", name) else {
                continue;
            };
            gone.remove(&id);
            let before = self.files.get(name);
            if before == Some(file) {
                continue;
            }
            match &file.error {
                Some(why) if before.is_none_or(|before| before.error != file.error) => {
                    self.events.push(Event::FileFailed {
                        name: id.to_string(),
                        why: why.clone(),
                    });
                }
                None if before
                    .is_none_or(|before| before.good != file.good || before.error.is_some()) =>
                {
                    self.events.push(Event::FileRead {
                        name: id.to_string(),
                    });
                }
                _ => {}
            }
            let parts = file
                .good
                .as_deref()
                .map(recipe::of_written)
                .unwrap_or_default();
            let failed = if file.good.is_none() {
                file.error.clone()
            } else {
                None
            };
            self.write(id, parts, failed, UpstreamProtocol::Same, now);
        }
        for id in gone {
            self.unlist(&id);
        }
        self.files = files;
        next
    }

    /// Forgets the files, since their folder is another one now. Their names stay until the next look.
    pub(super) fn forget_files(&mut self) {
        self.files = Files::new();
    }

    /// Reasons why files do not count at the moment, with their names.
    pub(super) fn file_errors(&self) -> Vec<(String, String)> {
        let name = |elements: &merge::Elements| below("files", elements).map(|id| id.to_string());
        let error = |(elements, file): (&merge::Elements, &merge::File)| {
            Some((name(elements)?, file.error.clone()?))
        };
        self.files.iter().filter_map(error).collect()
    }

    fn listed_below(&self, namer: &str) -> BTreeSet<Path> {
        let below = |id: &&Path| {
            id.elements()
                .get(1)
                .is_some_and(|element| &**element == namer.as_bytes())
        };
        let listed = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.listed && entry.origin == Origin::Written);
        listed.map(|(id, _)| id).filter(below).cloned().collect()
    }

    /// Adds or changes a written set.
    fn write(
        &mut self,
        id: Path,
        parts: Vec<Part>,
        failed: Option<String>,
        protocol: UpstreamProtocol,
        now: Nanos,
    ) {
        let entry = self.entries.entry(id.clone()).or_insert_with(|| Entry {
            shared: Arc::new(Shared::new(
                ReplicaSet::new(id.clone(), protocol, Addr::Pending),
                now,
            )),
            origin: Origin::Written,
            listed: false,
            parts: Vec::new(),
            failed: None,
            once: false,
            told: None,
        });
        if entry.told.take().is_some() {
            // It was the control plane's, which nobody asks for it any more.
            self.named -= 1;
            self.dropped.push(id.clone());
            entry.origin = Origin::Written;
        }
        if !entry.listed {
            entry.listed = true;
            self.changes = Changes {
                table: true,
                bindings: true,
            };
        }
        entry.shared.touch(now);
        entry.shared.set.set_protocol(protocol);
        entry.failed = failed;
        let before = std::mem::replace(&mut entry.parts, parts.clone());
        self.follow(&id, &parts, now);
        for question in before.iter().filter_map(Part::question) {
            if !parts.iter().any(|part| part.question() == Some(question)) {
                self.unfollow(&id, question);
            }
        }
        self.refresh(&id);
        self.confirm(&id, now);
    }

    /// Records that the content of a set is known to be so at `now`.
    fn confirm(&mut self, id: &Path, now: Nanos) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        if matches!(*entry.shared.set.addr(), Addr::Bound(_)) {
            entry.shared.confirm(now);
            if entry.shared.held() {
                self.events.push(Event::Confirmed { id: id.clone() });
            }
        }
    }

    /// Stops binding a name. Its set keeps its content for those who still use it, without updates.
    fn unlist(&mut self, id: &Path) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        entry.listed = false;
        self.changes = Changes {
            table: true,
            bindings: true,
        };
        for part in std::mem::take(&mut entry.parts) {
            if let Some(question) = part.question() {
                self.unfollow(id, question);
            }
        }
    }

    fn follow(&mut self, id: &Path, parts: &[Part], now: Nanos) {
        for question in parts.iter().filter_map(Part::question) {
            let asking = self
                .questions
                .entry(question.clone())
                .or_insert_with(|| Asking {
                    asked: Asked::new(now),
                    users: BTreeSet::new(),
                });
            asking.users.insert(id.clone());
        }
    }

    fn unfollow(&mut self, id: &Path, question: &Question) {
        if let Some(asking) = self.questions.get_mut(question) {
            asking.users.remove(id);
            if asking.users.is_empty() {
                self.questions.remove(question);
            }
        }
    }

    /// The set of a name that says itself what it is made of, asked for if it is new.
    /// `None` when no further name is taken.
    pub(super) fn named(&mut self, id: &Path, named: Named, now: Nanos) -> Option<Arc<ReplicaSet>> {
        if let Some(set) = self
            .entries
            .get(id)
            .and_then(|entry| entry.shared.take(now))
        {
            return Some(set);
        }
        if !self.has_room() {
            return None;
        }
        let Named { part, once } = named;
        let set = ReplicaSet::new(id.clone(), UpstreamProtocol::Same, Addr::Pending);
        let shared = Arc::new(Shared::new(set, now));
        let set = Arc::clone(&shared.set);
        let parts = vec![part];
        self.follow(id, &parts, now);
        let entry = Entry {
            shared,
            origin: Origin::Named,
            listed: true,
            parts,
            failed: None,
            once,
            told: None,
        };
        self.entries.insert(id.clone(), entry);
        self.named += 1;
        self.changes.table = true;
        self.refresh(id);
        self.confirm(id, now);
        Some(set)
    }

    /// Whether a further name may be taken; one that nobody uses makes room for it.
    fn has_room(&mut self) -> bool {
        if self.named < self.names_max || self.make_room() {
            return true;
        }
        if !std::mem::replace(&mut self.full, true) {
            // Who waits for a name that was asked for is told.
            self.changes = Changes {
                table: true,
                bindings: true,
            };
            self.events.push(Event::Full);
        }
        false
    }

    /// What has changed since this was called last.
    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// DNS names kept fresh, and replica sets known.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.questions.len(), self.entries.len())
    }

    pub(super) fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Everything that is known, for a snapshot.
    pub(super) fn table(&self) -> Table {
        let mut table = Table {
            full: self.full,
            remote: self.remote,
            ..Table::default()
        };
        for (id, entry) in &self.entries {
            table.sets.insert(id.clone(), Arc::clone(&entry.shared));
            if entry.listed {
                table.standing.insert(id.clone(), self.standing(entry));
            }
        }
        table
    }

    fn standing(&self, entry: &Entry) -> Standing {
        if entry.origin == Origin::Written {
            return Standing::Bound;
        }
        match *entry.shared.set.addr() {
            Addr::Bound(_) => Standing::Bound,
            Addr::Pending => Standing::Pending,
            Addr::Neg | Addr::Failed(_) => Standing::Neg,
        }
    }
}

/// A set for a name that is not kept: literal endpoints serve all the same, the others fail and say why.
pub(super) fn unkept(id: Path, part: &Part) -> ReplicaSet {
    match part {
        Part::Literal(endpoint) => ReplicaSet::new(
            id,
            UpstreamProtocol::Same,
            Addr::Bound(vec![endpoint.clone()]),
        ),
        Part::Asked { question, .. } => {
            let why = format!(
                "DNS is not asked for {question}: all {NAMES_MAX} names that are kept are in use"
            );
            failed(id, why)
        }
    }
}

/// A set that never has endpoints, and why.
pub(super) fn failed(id: Path, why: String) -> ReplicaSet {
    ReplicaSet::new(id, UpstreamProtocol::Same, Addr::Failed(why))
}

fn below(namer: &str, rest: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Option<Path> {
    let start = Path::from_elements([b"#".as_slice(), namer.as_bytes()])?;
    Some(start.concat(&Path::from_elements(rest)?))
}

fn after(now: Nanos, wait: Duration) -> Nanos {
    now.saturating_add(Nanos::try_from(wait.as_nanos()).unwrap_or(Nanos::MAX))
}
