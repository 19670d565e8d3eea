//! What is known of a request when it is over.

use super::unread::Unread;
use heddle_core::Nanos;
use heddle_core::answer::RULE;
use heddle_core::config::{Listener, Route};
use heddle_core::name::{Dtab, Path};
use heddle_core::trace::TraceContext;
use http::{HeaderValue, Method, Uri, Version};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

/// A request that is over. It holds what it was told by reference count; text is made by the writer.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) listener: Arc<Listener>,
    pub(crate) caller: IpAddr,
    pub(crate) version: Version,
    pub(crate) grpc: bool,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) host: Option<HeaderValue>,
    /// In place of method, target and host: a message that was refused before it was read.
    pub(crate) unread: Option<Box<Unread>>,
    pub(crate) name: Option<Path>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) rule: Option<usize>,
    /// Overrides that were applied.
    pub(crate) overrides: Dtab,
    pub(crate) attempts: Vec<Tried>,
    pub(crate) started: Nanos,
    /// When an answer's head was there; 0: never.
    pub(crate) answered: Nanos,
    pub(crate) ended: Nanos,
    /// The wall clock at the end.
    pub(crate) at: SystemTime,
    /// 0: none was sent.
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) end: End,
    /// The timer that ended it.
    pub(crate) timer: Option<&'static str>,
    /// The kind and the reason of an answer that is the proxy's own.
    pub(crate) error: Option<(&'static str, Cow<'static, str>)>,
    /// The class of a refusal, as metrics label it.
    pub(crate) refusal: Option<&'static str>,
    /// The caller's place in the trace, or the place where it begins.
    pub(crate) trace: Option<TraceContext>,
    /// Whether the span that `trace` names is the caller's.
    pub(crate) has_parent: bool,
    /// The span of this request; zero without tracing.
    pub(crate) span: [u8; 8],
    /// Whether the access log wants it.
    pub(crate) log: bool,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its answer was sent whole.
    Complete,
    /// The caller went away; how every request ends that nobody ended otherwise.
    Caller,
    /// The upstream broke off in the middle of its answer.
    Upstream,
    /// The proxy broke it off.
    Proxy,
}

impl End {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Caller => "caller",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
        }
    }
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Tried {
    /// The replica set's bound id.
    pub(crate) set: Path,
    pub(crate) replica: SocketAddr,
    pub(crate) span: [u8; 8],
    pub(crate) started: Nanos,
    /// 0: not ended by itself.
    pub(crate) ended: Nanos,
    /// Time to connect; 0: on a connection that was open.
    pub(crate) connect: Nanos,
    pub(crate) outcome: &'static str,
    pub(crate) status: u16,
}

impl Record {
    /// Whether it becomes spans.
    pub(crate) fn is_sampled(&self) -> bool {
        self.span != [0; 8] && self.trace.is_some_and(|trace| trace.sampled == Some(true))
    }

    /// Whether somebody who looks for trouble wants to see it.
    pub(crate) fn is_error(&self) -> bool {
        self.status >= 500
            || self.status == 0
            || self.error.as_ref().is_some_and(|(kind, _)| *kind != RULE)
            || self.end != End::Complete
            || self.grpc_status.is_some_and(|code| code != 0)
    }
}
