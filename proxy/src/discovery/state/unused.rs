//! What nobody uses any more.

use super::remote::Told;
use super::{Changes, Entry, Origin, State, after};
use crate::discovery::dns::question::Known;
use crate::discovery::recipe::Part;
use heddle_core::Nanos;
use heddle_core::name::Path;
use std::time::Duration;

/// A name without an answer that nobody looks up is forgotten after this: most are typing errors.
const NEG_IDLE: Duration = Duration::from_secs(60);

impl State {
    /// Drops the names that have been unused for long.
    pub(super) fn sweep(&mut self, now: Nanos) {
        let unused: Vec<Path> = self
            .entries
            .iter()
            .filter(|(_, entry)| {
                let idle = if self.never(entry) {
                    self.idle.min(NEG_IDLE)
                } else {
                    self.idle
                };
                let droppable = droppable(entry) || !entry.listed;
                droppable
                    && now >= after(entry.shared.used(), idle)
                    && entry.shared.drop_unless_held()
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in unused {
            self.remove(&id);
        }
        let unheld = |entry: &Entry| droppable(entry) && !entry.shared.held();
        if self.full && self.entries.values().any(unheld) {
            self.full = false;
            self.changes = Changes {
                table: true,
                bindings: true,
            };
        }
    }

    /// Drops the named set that has been unused for longest, rather one without an answer.
    pub(super) fn make_room(&mut self) -> bool {
        let unused = self
            .entries
            .iter()
            .filter(|(_, entry)| droppable(entry) && !entry.shared.held());
        let oldest = unused.min_by_key(|(_, entry)| (!self.never(entry), entry.shared.used()));
        let Some(id) = oldest.map(|(id, _)| id.clone()) else {
            return false;
        };
        let dropped = self
            .entries
            .get(&id)
            .is_some_and(|entry| entry.shared.drop_unless_held());
        if dropped {
            self.remove(&id);
        }
        dropped
    }

    fn remove(&mut self, id: &Path) {
        let Some(entry) = self.entries.remove(id) else {
            return;
        };
        for question in entry.parts.iter().filter_map(Part::question) {
            self.unfollow(id, question);
        }
        if entry.told.is_some() {
            self.dropped.push(id.clone());
        }
        if entry.origin == Origin::Named {
            self.named -= 1;
            self.full = false;
        }
        // Who has bound the name must ask for it again.
        self.changes = Changes {
            table: true,
            bindings: true,
        };
    }

    fn never(&self, entry: &Entry) -> bool {
        let never = |question| {
            self.questions
                .get(question)
                .is_some_and(|asking| matches!(asking.asked.known(), Known::Never(_)))
        };
        let unknown = matches!(entry.told, Some(Told::Waiting | Told::Missing));
        unknown || entry.parts.iter().filter_map(Part::question).any(never)
    }
}

/// Whether it may go when nobody uses it. What the control plane told of a set is kept for when it is away.
fn droppable(entry: &Entry) -> bool {
    entry.origin == Origin::Named && !matches!(entry.told, Some(Told::Known(..)))
}
