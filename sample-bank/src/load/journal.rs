//! The journal: one line for each payment that was tried, with what the bank answered. The audit holds the bank to it.

use crate::Failure;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often what was written is made to last.
const SYNC: Duration = Duration::from_millis(200);

/// How money was to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// From one account to another.
    Transfer,
    /// A card, tapped in a shop.
    Card,
}

/// What the bank answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "answer")]
pub enum Outcome {
    /// It is done: the transaction, or the hold of a card payment.
    Acknowledged {
        /// `txn-…` or `hold-…`.
        id: String,
    },
    /// A card payment that was not to be.
    Declined {
        /// A code of the bank.
        reason: String,
    },
    /// Nothing was done.
    Refused {
        /// Of HTTP.
        status: u16,
        /// A code of the bank.
        code: String,
    },
    /// No answer came in time: it may be done or not, once at most.
    Unknown {
        /// The last thing seen.
        detail: String,
    },
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// How.
    pub kind: Kind,
    /// No other payment has it: a transfer's reference, a card payment's descriptor.
    pub mark: String,
    /// Whose money.
    pub account: String,
    /// Of a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The answer.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A journal being written, by a thread of its own, so that nobody waits for the disk.
#[derive(Debug)]
pub(super) struct Journal {
    lines: Sender<Option<String>>,
    writer: std::sync::Mutex<Option<JoinHandle<std::io::Result<()>>>>,
}

impl Journal {
    /// A new file.
    ///
    /// # Errors
    ///
    /// It exists, or cannot be made.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::options().append(true).create_new(true).open(path);
        let mut file = file.map_err(|e| {
            Failure::new(format!("cannot make the journal {}: {e}", path.display()))
        })?;
        let (lines, received) = mpsc::channel::<Option<String>>();
        let writer = std::thread::spawn(move || {
            let mut synced = Instant::now();
            loop {
                match received.recv_timeout(SYNC) {
                    Ok(Some(line)) => file.write_all(line.as_bytes())?,
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(None) | Err(RecvTimeoutError::Disconnected) => return file.sync_all(),
                }
                if synced.elapsed() >= SYNC {
                    file.sync_data()?;
                    synced = Instant::now();
                }
            }
        });
        Ok(Self {
            lines,
            writer: std::sync::Mutex::new(Some(writer)),
        })
    }

    /// Takes one line.
    pub(super) fn write(&self, entry: &Entry) {
        let mut line =
            serde_json::to_string(entry).expect("texts and numbers can be written as JSON");
        line.push('\n');
        // A writer that failed says so at the end.
        drop(self.lines.send(Some(line)));
    }

    /// Makes all of it last.
    ///
    /// # Errors
    ///
    /// A line could not be written.
    pub(super) fn close(&self) -> Result<(), Failure> {
        drop(self.lines.send(None));
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        match writer.map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(Failure::new(format!(
                "the journal could not be written: {error}"
            ))),
            _ => Ok(()),
        }
    }
}

/// Reads a journal.
///
/// # Errors
///
/// It cannot be read, or a line is no entry. A last line without an end is left out: its writer died there.
pub fn read(path: &Path) -> Result<Vec<Entry>, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|e| Failure::new(format!("cannot read the journal {}: {e}", path.display())))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate();
    lines
        .map(|(n, line)| {
            serde_json::from_str(line)
                .map_err(|e| Failure::new(format!("{}:{}: no entry: {e}", path.display(), n + 1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let path = folder.path().join("journal.jsonl");
        let entry = |mark: &str, outcome| Entry {
            kind: Kind::Transfer,
            mark: mark.to_owned(),
            account: "acc-1".to_owned(),
            to: Some("acc-2".to_owned()),
            amount: 5,
            currency: "EUR".to_owned(),
            outcome,
        };
        let entries = [
            entry(
                "a",
                Outcome::Acknowledged {
                    id: "txn-1".to_owned(),
                },
            ),
            entry(
                "b",
                Outcome::Refused {
                    status: 422,
                    code: "bad-amount".to_owned(),
                },
            ),
            entry(
                "c",
                Outcome::Unknown {
                    detail: "no answer".to_owned(),
                },
            ),
        ];
        let journal = Journal::create(&path).expect("it is new");
        entries.iter().for_each(|entry| journal.write(entry));
        journal.close().expect("it is writable");
        let mut text = fs::read_to_string(&path).expect("it was written");
        text.push_str("{\"kind\":\"trans");
        fs::write(&path, text).expect("it is writable");
        assert_eq!(read(&path).expect("whole lines are entries"), entries);
        assert!(
            Journal::create(&path).is_err(),
            "a journal is never written over"
        );
    }
}
