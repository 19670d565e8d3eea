//! Replica sets that the control plane knows: asked for when somebody needs them, kept for ever once known.

use super::{Changes, Entry, Origin, Shared, State};
use crate::discovery::recipe;
use crate::discovery::replica_set::{Addr, ReplicaSet};
use heddle_core::Nanos;
use heddle_core::config::{UpstreamProtocol, WrittenEndpoint};
use heddle_core::name::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a control plane says of a replica set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// Nothing yet: requests wait, up to their bind timeout.
    Waiting,
    /// It has these endpoints and speaks this.
    Known(Vec<WrittenEndpoint>, UpstreamProtocol),
    /// There is none, or nobody can be asked about a set that was never known.
    Missing,
}

/// Whether a bound name may be one of the control plane's: `/#/static/<name>` or `/#/k8s/<namespace>/<port>/<service>`.
pub(in crate::discovery) fn is_remote(id: &Path) -> bool {
    let elements: Vec<_> = id
        .elements()
        .iter()
        .map(|element| element.as_str())
        .collect();
    matches!(
        elements.as_slice(),
        [Some("#"), Some("static"), Some(_)] | [Some("#"), Some("k8s"), Some(_), Some(_), Some(_)]
    )
}

impl State {
    /// Says whether there is a control plane to ask.
    pub(in crate::discovery) fn remote_exists(&mut self, exists: bool) {
        if self.remote != exists {
            self.remote = exists;
            self.changes = Changes {
                table: true,
                bindings: true,
            };
        }
    }

    /// A name that somebody needs: asked for, if it is not known.
    pub(in crate::discovery) fn remote_named(&mut self, id: &Path, now: Nanos) {
        let known = self.entries.get(id).is_some_and(|entry| entry.listed);
        if !self.remote || known || !is_remote(id) || !self.has_room() {
            return;
        }
        self.remote_entry(id, now);
        self.asked.push(id.clone());
        self.changes.table = true;
    }

    /// What the control plane says of a name now.
    pub(in crate::discovery) fn remote_told(&mut self, id: &Path, told: Told, now: Nanos) {
        let written = |entry: &Entry| entry.listed && entry.origin == Origin::Written;
        if self.entries.get(id).is_some_and(written) {
            return; // what the proxy's own file says wins
        }
        if !self.entries.get(id).is_some_and(|entry| entry.listed) {
            if !self.has_room() {
                return;
            }
            self.remote_entry(id, now);
            self.changes = Changes {
                table: true,
                bindings: true,
            };
        }
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let mut parts = Vec::new();
        if let Told::Known(endpoints, protocol) = &told {
            parts = recipe::of_written(endpoints);
            entry.shared.set.set_protocol(*protocol);
        }
        let before = entry.shared.set.addr();
        entry.told = Some(told);
        let gone = std::mem::replace(&mut entry.parts, parts.clone());
        self.follow(id, &parts, now);
        for question in gone.iter().filter_map(recipe::Part::question) {
            if !parts.iter().any(|part| part.question() == Some(question)) {
                self.unfollow(id, question);
            }
        }
        self.refresh(id);
        self.confirm(id, now);
        let after = self.entries.get(id).map(|entry| entry.shared.set.addr());
        let same = after.is_some_and(|after| {
            std::mem::discriminant(&*after) == std::mem::discriminant(&*before)
        });
        if !same {
            self.changes = Changes {
                table: true,
                bindings: true,
            };
        }
    }

    /// Whether [`take_asked`](Self::take_asked) has anything.
    pub(in crate::discovery) fn has_asked(&self) -> bool {
        !self.asked.is_empty() || !self.dropped.is_empty()
    }

    /// The names that the control plane is to be asked for, and those that nobody needs any more, since the last call.
    pub(in crate::discovery) fn take_asked(&mut self) -> (Vec<Path>, Vec<Path>) {
        (
            std::mem::take(&mut self.asked),
            std::mem::take(&mut self.dropped),
        )
    }

    /// For how long each of the control plane's sets has not been used.
    pub(in crate::discovery) fn remote_idle(&self, now: Nanos) -> Vec<(Path, Duration)> {
        let remote = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.told.is_some());
        let idle = |(id, entry): (&Path, &Entry)| {
            let idle = if entry.shared.held() {
                0
            } else {
                now.saturating_sub(entry.shared.used())
            };
            (id.clone(), Duration::from_nanos(idle))
        };
        remote.map(idle).collect()
    }

    fn remote_entry(&mut self, id: &Path, now: Nanos) {
        let entry = self.entries.entry(id.clone()).or_insert_with(|| Entry {
            shared: Arc::new(Shared::new(
                ReplicaSet::new(id.clone(), UpstreamProtocol::Same, Addr::Pending),
                now,
            )),
            origin: Origin::Named,
            listed: false,
            parts: Vec::new(),
            failed: None,
            once: false,
            told: None,
        });
        entry.origin = Origin::Named;
        entry.listed = true;
        entry.failed = None;
        entry.told = Some(Told::Waiting);
        entry.shared.touch(now);
        self.named += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::names::Standing;
    use heddle_core::config::{Cluster, ClusterSource, Dns};
    use heddle_core::endpoint::Endpoint;

    const SECOND: Nanos = 1_000_000_000;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn known(port: u16) -> Told {
        let endpoint = Endpoint::new(([127, 0, 0, 1], port).into());
        Told::Known(
            vec![WrittenEndpoint::Address(endpoint)],
            UpstreamProtocol::Http2,
        )
    }

    fn ports(state: &State, id: &Path) -> Option<Vec<u16>> {
        match &*state.entries.get(id)?.shared.set.addr() {
            Addr::Bound(endpoints) => Some(endpoints.iter().map(|e| e.address.port()).collect()),
            _ => None,
        }
    }

    fn standing(state: &State, id: &Path) -> Option<Standing> {
        state.table().standing.get(id).copied()
    }

    #[test]
    fn names_are_asked_for_once_and_bind_when_they_are_known() {
        let id = path("/#/static/a");
        let mut state = State::new(10);
        state.remote_named(&id, 0);
        assert_eq!(standing(&state, &id), None, "there is nobody to ask");
        state.remote_exists(true);
        state.remote_named(&id, 0);
        state.remote_named(&id, 0);
        state.remote_named(&path("/#/files/a"), 0);
        assert_eq!(state.take_asked(), (vec![id.clone()], vec![]));
        assert_eq!(standing(&state, &id), Some(Standing::Pending));
        let steps = [
            (Told::Missing, Some(Standing::Neg), None),
            (known(1), Some(Standing::Bound), Some(vec![1])),
            (known(2), Some(Standing::Bound), Some(vec![2])),
            (Told::Waiting, Some(Standing::Bound), Some(vec![2])),
            (Told::Missing, Some(Standing::Neg), None),
        ];
        for (told, expected, endpoints) in steps {
            state.remote_told(&id, told.clone(), 0);
            assert_eq!(
                (standing(&state, &id), ports(&state, &id)),
                (expected, endpoints),
                "{told:?}"
            );
        }
    }

    #[test]
    fn what_is_known_is_kept_and_what_is_not_makes_room() {
        let mut state = State::new(2);
        state.remote_exists(true);
        let (kept, typo) = (path("/#/static/kept"), path("/#/k8s/ns/http/typo"));
        for id in [&kept, &typo] {
            state.remote_named(id, 0);
        }
        state.remote_told(&kept, known(1), 0);
        state.remote_told(&typo, Told::Missing, 0);
        state.take_asked();
        let other = path("/#/static/other");
        state.remote_named(&other, SECOND);
        assert_eq!(
            state.take_asked(),
            (vec![other.clone()], vec![typo]),
            "the one without an answer went"
        );
        state.remote_told(&other, known(2), SECOND);
        state.remote_named(&path("/#/static/more"), SECOND);
        assert!(state.full, "what is known does not go");
        state.tick(1_000_000 * SECOND);
        assert_eq!(
            (ports(&state, &kept), ports(&state, &other)),
            (Some(vec![1]), Some(vec![2]))
        );
    }

    #[test]
    fn what_the_proxys_own_file_says_wins() {
        let id = path("/#/static/a");
        let mut state = State::new(10);
        state.remote_exists(true);
        state.remote_named(&id, 0);
        state.remote_told(&id, known(1), 0);
        state.take_asked();
        let own = Cluster {
            name: "a".into(),
            source: ClusterSource::Endpoints(vec![WrittenEndpoint::Address(Endpoint::new(
                ([127, 0, 0, 1], 9).into(),
            ))]),
            protocol: UpstreamProtocol::Same,
            tls: None,
        };
        let (dns, idle) = (Dns::default(), Duration::from_secs(600));
        state.configure([&own].into_iter(), &dns, idle, 0);
        assert_eq!(ports(&state, &id), Some(vec![9]));
        assert_eq!(state.take_asked(), (vec![], vec![id.clone()]));
        state.remote_told(&id, known(1), 0);
        assert_eq!(ports(&state, &id), Some(vec![9]));
        state.configure([].into_iter(), &dns, idle, 0);
        state.remote_named(&id, 0);
        assert_eq!(
            state.take_asked(),
            (vec![id.clone()], vec![]),
            "it is asked for again"
        );
        assert_eq!(ports(&state, &id), Some(vec![9]), "and serves meanwhile");
        state.remote_told(&id, known(3), 0);
        assert_eq!(ports(&state, &id), Some(vec![3]));
        assert_eq!(state.named, 1);
    }
}
