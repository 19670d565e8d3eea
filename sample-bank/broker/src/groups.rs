//! Consumer groups, with members that are gone seen to be gone.
//!
//! The coordinator of tansu-broker forgets a member that is silent for too long, but does not tell the others: they go on
//! under a leader that is no more, and its partitions are nobody's. So this one, in front of it, counts for itself who was
//! forgotten in a group, and has whoever joined before that join again.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tansu_broker::Result;
use tansu_broker::coordinator::group::{Coordinator, OffsetCommit};
use tansu_sans_io::join_group_request::JoinGroupRequestProtocol;
use tansu_sans_io::leave_group_request::MemberIdentity;
use tansu_sans_io::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use tansu_sans_io::sync_group_request::SyncGroupRequestAssignment;
use tansu_sans_io::{Body, ErrorCode, HeartbeatResponse, SyncGroupResponse};

/// A member that no group has. When it leaves, the coordinator behind forgets who was silent, and does nothing else.
const NOBODY: &str = "nobody";
/// Of members that joined before this process started.
const SESSION: Duration = Duration::from_secs(10);

/// Group and member.
type Name = (String, String);

#[derive(Debug, Clone, Copy)]
struct Seen {
    last: Instant,
    session: Duration,
    /// How often somebody was gone when it joined last.
    joined: u64,
}

#[derive(Debug, Default)]
struct State {
    members: HashMap<Name, Seen>,
    /// How often somebody was gone from a group.
    gone: HashMap<String, u64>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Groups<C> {
    behind: C,
    state: Arc<Mutex<State>>,
}

impl<C: Coordinator> Groups<C> {
    /// In front of another coordinator.
    pub fn new(behind: C) -> Self {
        Self {
            behind,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self, group: &str) -> u64 {
        self.lock().gone.get(group).copied().unwrap_or(0)
    }

    /// A member is heard of; how many leaves there were when it joined.
    fn see(&self, group: &str, member: &str) -> u64 {
        let mut state = self.lock();
        let name = (group.to_owned(), member.to_owned());
        let seen = state.members.entry(name).or_insert(Seen {
            last: Instant::now(),
            session: SESSION,
            joined: 0,
        });
        seen.last = Instant::now();
        seen.joined
    }

    /// Forgets members of a group that were silent for too long. The coordinator behind heard of none of them later than
    /// this one did, so it forgets them first.
    async fn sweep(&mut self, group: &str) -> Result<()> {
        self.behind.leave(group, Some(NOBODY), None).await?;
        let mut state = self.lock();
        let before = state.members.len();
        let late = |name: &Name, seen: &Seen| name.0 == group && seen.last.elapsed() > seen.session;
        state.members.retain(|name, seen| !late(name, seen));
        if state.members.len() < before {
            *state.gone.entry(group.to_owned()).or_default() += 1;
        }
        Ok(())
    }
}

#[async_trait]
impl<C: Coordinator> Coordinator for Groups<C> {
    async fn join(
        &mut self,
        client_id: Option<&str>,
        group_id: &str,
        session_timeout_ms: i32,
        rebalance_timeout_ms: Option<i32>,
        member_id: &str,
        group_instance_id: Option<&str>,
        protocol_type: &str,
        protocols: Option<&[JoinGroupRequestProtocol]>,
        reason: Option<&str>,
    ) -> Result<Body> {
        self.sweep(group_id).await?;
        let joined = self.gone(group_id);
        let session = u64::try_from(session_timeout_ms).map_or(SESSION, Duration::from_millis);
        let body = self
            .behind
            .join(
                client_id,
                group_id,
                session_timeout_ms,
                rebalance_timeout_ms,
                member_id,
                group_instance_id,
                protocol_type,
                protocols,
                reason,
            )
            .await?;
        // The first answer to a new member tells it its name.
        if let Body::JoinGroupResponse(answer) = &body
            && !answer.member_id.is_empty()
        {
            let name = (group_id.to_owned(), answer.member_id.clone());
            let last = Instant::now();
            let seen = Seen {
                last,
                session,
                joined,
            };
            self.lock().members.insert(name, seen);
        }
        Ok(body)
    }

    async fn sync(
        &mut self,
        group_id: &str,
        generation_id: i32,
        member_id: &str,
        group_instance_id: Option<&str>,
        protocol_type: Option<&str>,
        protocol_name: Option<&str>,
        assignments: Option<&[SyncGroupRequestAssignment]>,
    ) -> Result<Body> {
        let joined = self.see(group_id, member_id);
        self.sweep(group_id).await?;
        if joined < self.gone(group_id) {
            let again = SyncGroupResponse::default()
                .throttle_time_ms(Some(0))
                .error_code(ErrorCode::RebalanceInProgress.into())
                .protocol_type(protocol_type.map(str::to_owned))
                .protocol_name(protocol_name.map(str::to_owned))
                .assignment(Bytes::new());
            return Ok(again.into());
        }
        self.behind
            .sync(
                group_id,
                generation_id,
                member_id,
                group_instance_id,
                protocol_type,
                protocol_name,
                assignments,
            )
            .await
    }

    async fn heartbeat(
        &mut self,
        group_id: &str,
        generation_id: i32,
        member_id: &str,
        group_instance_id: Option<&str>,
    ) -> Result<Body> {
        let joined = self.see(group_id, member_id);
        self.sweep(group_id).await?;
        if joined < self.gone(group_id) {
            let again = HeartbeatResponse::default()
                .throttle_time_ms(Some(0))
                .error_code(ErrorCode::RebalanceInProgress.into());
            return Ok(again.into());
        }
        self.behind
            .heartbeat(group_id, generation_id, member_id, group_instance_id)
            .await
    }

    async fn leave(
        &mut self,
        group_id: &str,
        member_id: Option<&str>,
        members: Option<&[MemberIdentity]>,
    ) -> Result<Body> {
        let body = self.behind.leave(group_id, member_id, members).await?;
        let mut state = self.lock();
        let leaving = members.unwrap_or_default().iter();
        let leaving = leaving.map(|member| member.member_id.as_str());
        for member in leaving.chain(member_id) {
            let name = (group_id.to_owned(), member.to_owned());
            state.members.remove(&name);
        }
        *state.gone.entry(group_id.to_owned()).or_default() += 1;
        Ok(body)
    }

    async fn offset_commit(&mut self, detail: OffsetCommit<'_>) -> Result<Body> {
        self.behind.offset_commit(detail).await
    }

    async fn offset_fetch(
        &mut self,
        group_id: Option<&str>,
        topics: Option<&[OffsetFetchRequestTopic]>,
        groups: Option<&[OffsetFetchRequestGroup]>,
        require_stable: Option<bool>,
    ) -> Result<Body> {
        self.behind
            .offset_fetch(group_id, topics, groups, require_stable)
            .await
    }
}
