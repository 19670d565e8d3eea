//! HTTP between a caller and an endpoint.

mod body;
mod forward;
mod guard1;
mod guard2;
mod incoming;
mod interim;
mod respond;
mod serve;
mod serve2;
mod spare;
mod stream;
mod tunnel;
mod view;

pub(crate) use body::{BodySource, Finished, Gate, GateSignal, OutBody, Replay, ResponseBody};
pub(crate) use forward::{Hop, for_http1, for_http2, outgoing_head, response_head};
pub(crate) use guard1::{HEADER_TIMEOUT, Watch};
pub(crate) use guard2::{Overdue, Streams};
pub(crate) use incoming::Incoming;
pub(crate) use interim::{Arrivals, Interim, ToCaller, head as interim_head};
pub(crate) use respond::{
    close, grpc_status, injected, is_grpc, refused, refused_bytes, respond, says,
};
pub(crate) use serve::serve;
pub(crate) use spare::Spare;
pub(crate) use stream::{Pings, pump};
pub(crate) use tunnel::{splice, splice_websocket};
pub(crate) use view::HeadView;

/// Any error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
