//! Pure. Which offsets of a partition are finished, and up to where that can be committed.
//!
//! Events of different keys finish in any order. A commit says "everything below", so it may only name the lowest offset
//! that is not finished.

use std::collections::BTreeMap;

/// The offsets of one partition between the last commit and the newest event taken.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// Taken, by offset; true: finished.
    taken: BTreeMap<i64, bool>,
    /// What was handed out by [`Tracker::progress`] last.
    told: Option<i64>,
    /// One above the highest offset that was finished with all below it.
    next: Option<i64>,
}

impl Tracker {
    /// Takes an event. Offsets come in ascending order, not without gaps; an offset that was taken already is not new.
    pub(super) fn take(&mut self, offset: i64) -> bool {
        let newest = self.taken.last_key_value().map(|(offset, _)| *offset);
        if newest.is_some_and(|newest| offset <= newest)
            || self.next.is_some_and(|next| offset < next)
        {
            return false;
        }
        self.taken.insert(offset, false);
        true
    }

    /// An event is finished: delivered, or kept elsewhere.
    pub(super) fn finish(&mut self, offset: i64) {
        if let Some(finished) = self.taken.get_mut(&offset) {
            *finished = true;
        }
        while let Some(lowest) = self.taken.first_entry() {
            if !lowest.get() {
                break;
            }
            self.next = Some(lowest.key() + 1);
            lowest.remove();
        }
    }

    /// Whether an event was taken and finished.
    pub(super) fn is_finished(&self, offset: i64) -> bool {
        let passed = self.next.is_some_and(|next| offset < next);
        passed || self.taken.get(&offset).copied().unwrap_or(false)
    }

    /// What to commit: the next offset to read, or none when nothing was added since it was asked for last.
    pub(super) fn progress(&mut self) -> Option<i64> {
        if self.next == self.told {
            return None;
        }
        self.told = self.next;
        self.told
    }

    /// A commit failed: what was told counts as not told.
    pub(super) fn untell(&mut self) {
        self.told = None;
    }

    /// How many events are taken and not yet committable.
    pub(super) fn held(&self) -> usize {
        self.taken.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_unfinished_offset_is_committed() {
        let mut tracker = Tracker::default();
        for offset in [5, 6, 9] {
            assert!(tracker.take(offset));
        }
        assert!(!tracker.take(6), "taken already");
        assert_eq!(tracker.progress(), None);
        tracker.finish(6);
        assert_eq!(tracker.progress(), None, "5 is not finished");
        tracker.finish(5);
        assert_eq!(tracker.progress(), Some(7));
        assert_eq!(tracker.progress(), None, "told already");
        tracker.untell();
        assert_eq!(tracker.progress(), Some(7), "the commit failed");
        tracker.finish(9);
        assert_eq!(tracker.progress(), Some(10));
        assert!(!tracker.take(9), "finished already");
        assert_eq!(tracker.held(), 0);
    }
}
