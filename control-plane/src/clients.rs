//! Who is connected, and how things stand with each.

use crate::session::{Flavor, Standing};
use crate::snapshot::Kind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Streams that may be open at once: twice the proxies that one mesh is designed for.
pub(crate) const CLIENTS_MAX: usize = 20_000;
/// What a client says of itself and of refusals is cut at so many characters.
const TEXT_MAX: usize = 1000;

/// One client, for people.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) agent: String,
    pub(crate) peer: String,
    pub(crate) flavor: Flavor,
    pub(crate) since: Instant,
    pub(crate) synced: bool,
    pub(crate) standing: Vec<Standing>,
}

/// All that are connected.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    all: Mutex<(u64, BTreeMap<u64, Client>)>,
}

/// A client's place among the others, for as long as it is connected.
#[derive(Debug)]
pub(crate) struct Seat {
    clients: Arc<Clients>,
    number: u64,
}

impl Clients {
    /// Takes a new one in; `None` when all seats are taken.
    pub(crate) fn seat(self: &Arc<Self>, client: Client) -> Option<Seat> {
        let mut all = self.lock();
        if all.1.len() >= CLIENTS_MAX {
            return None;
        }
        all.0 += 1;
        let number = all.0;
        all.1.insert(number, client);
        Some(Seat {
            clients: Arc::clone(self),
            number,
        })
    }

    /// All, as JSON.
    pub(crate) fn to_json(&self, now: heddle_core::Nanos) -> Value {
        let clients = self.lock().1.values().cloned().collect::<Vec<_>>();
        let shown: Vec<_> = clients.iter().map(|client| client.to_json(now)).collect();
        json!({"clients": shown})
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Client>)> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Changes what is shown of the client.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Client)) {
        if let Some(client) = self.clients.lock().1.get_mut(&self.number) {
            change(client);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.clients.lock().1.remove(&self.number);
    }
}

impl Client {
    fn to_json(&self, now: heddle_core::Nanos) -> Value {
        let state = match self.synced {
            true => "synced",
            false if self.standing.iter().any(|of| of.refused.is_some()) => "refused",
            false => "stale",
        };
        let kinds: serde_json::Map<_, _> = self
            .standing
            .iter()
            .map(|of| (of.kind.label().to_owned(), standing(of, now)))
            .collect();
        json!({
            "id": self.id,
            "agent": self.agent,
            "peer": self.peer,
            "flavor": crate::metrics::flavor(self.flavor),
            "connectedSeconds": self.since.elapsed().as_secs(),
            "state": state,
            "kinds": kinds,
        })
    }
}

fn standing(of: &Standing, now: heddle_core::Nanos) -> Value {
    let ago = |at: heddle_core::Nanos| Duration::from_nanos(now.saturating_sub(at)).as_secs_f64();
    let mut shown = json!({
        "names": of.names.map_or_else(|| Value::from("*"), Value::from),
        "sent": of.sent,
        "accepted": of.accepted,
    });
    if let Some(refused) = &of.refused {
        shown["refused"] = json!({"secondsAgo": ago(refused.at), "why": cut(&refused.why)});
    }
    if let Some(since) = of.waiting {
        shown["waitingSeconds"] = ago(since).into();
    }
    shown
}

/// The beginning of a text that somebody else wrote.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// Whether any client refused something of a kind, and which: for the log.
pub(crate) fn refusals(before: &[Standing], after: &[Standing]) -> Vec<(Kind, String)> {
    let is_new = |of: &&Standing| {
        let known = before
            .iter()
            .find(|b| b.kind == of.kind)
            .and_then(|b| b.refused.as_ref());
        of.refused.is_some() && of.refused.as_ref() != known
    };
    let new = after.iter().filter(is_new);
    new.filter_map(|of| Some((of.kind, cut(&of.refused.as_ref()?.why))))
        .collect()
}
