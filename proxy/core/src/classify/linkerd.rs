//! Pure. The response classifiers of linkerd 1, by the names they have in its configuration.
//!
//! Sources: linkerd `ResponseClassifiers`, `H2Classifiers`, `GrpcClassifiers` and `ClassifierFilter`.
//! `io.l5d.h2.grpc.compliant` is what its documentation says; linkerd itself loads the default in
//! its place.

use super::Class;
use crate::retry::is_idempotent;

/// An answer, or what came instead of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// A response with this status.
    Status(u16),
    /// No response.
    Exception(Exception),
}

/// What came instead of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exception {
    /// Any time-out.
    Timeout,
    /// The request could not be written.
    Write,
    /// The connection closed.
    ChannelClosed,
    /// The response was badly framed.
    Framing,
    /// Anything else.
    Other,
}

/// The classifiers `io.l5d.http.*`, which `io.l5d.h2.*` shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Http {
    /// `nonRetryable5XX`, linkerd's default.
    NonRetryable,
    /// `retryableRead5XX`.
    RetryableRead,
    /// `retryableIdempotent5XX`.
    RetryableIdempotent,
    /// `retryableAll5XX`.
    RetryableAll,
    /// `allSuccessful`.
    AllSuccessful,
}

impl Http {
    /// The classifier of a `kind`, without its `io.l5d.http.` or `io.l5d.h2.`.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "nonRetryable5XX" => Self::NonRetryable,
            "retryableRead5XX" => Self::RetryableRead,
            "retryableIdempotent5XX" => Self::RetryableIdempotent,
            "retryableAll5XX" => Self::RetryableAll,
            "allSuccessful" => Self::AllSuccessful,
            _ => return None,
        })
    }

    /// The classifier alone; `None` where it is not defined and leaves the answer to the next.
    pub fn raw(self, method: &str, reply: Reply) -> Option<Class> {
        let failed = is_server_error(reply);
        match self {
            Self::AllSuccessful => matches!(reply, Reply::Status(_)).then_some(Class::Success),
            Self::NonRetryable => failed.then_some(Class::Failure),
            _ => (self.repeats(method) && (failed || is_retryable(reply)))
                .then_some(Class::RetryableFailure),
        }
    }

    /// As linkerd's HTTP router uses it: the classifier, then server errors as failures, then every
    /// exception as a failure; `l5d-retryable: true` on a response makes its failure retryable,
    /// and a chunked request is never retryable.
    ///
    /// ```
    /// use heddle_core::classify::{Class, linkerd::{Http, Reply}};
    /// let class = |method| Http::RetryableRead.effective(method, Reply::Status(503), false, false);
    /// assert_eq!(class("GET"), Class::RetryableFailure);
    /// assert_eq!(class("POST"), Class::Failure);
    /// ```
    pub fn effective(
        self,
        method: &str,
        reply: Reply,
        declared_retryable: bool,
        chunked: bool,
    ) -> Class {
        let class = self.h2(method, reply);
        match (class, reply) {
            (Class::RetryableFailure, _) if chunked => Class::Failure,
            (Class::Failure, Reply::Status(_)) if declared_retryable && !chunked => {
                Class::RetryableFailure
            }
            _ => class,
        }
    }

    /// As linkerd's HTTP/2 router uses it: what the classifier leaves open is a failure for server
    /// errors and exceptions, and a success otherwise.
    pub fn h2(self, method: &str, reply: Reply) -> Class {
        let fallback = match reply {
            Reply::Status(_) if !is_server_error(reply) => Class::Success,
            _ => Class::Failure,
        };
        self.raw(method, reply).unwrap_or(fallback)
    }

    /// As linkerd's HTTP/2 router uses it at the end of a stream, when the head was no failure;
    /// `exception` is what ended the stream in place of its last frame.
    pub fn h2_stream(self, method: &str, status: u16, exception: Option<Exception>) -> Class {
        match exception {
            Some(exception) => self.h2(method, Reply::Exception(exception)),
            None if self == Self::NonRetryable => self.h2(method, Reply::Status(status)),
            None => Class::Success,
        }
    }

    /// Whether it calls failures of this method retryable.
    fn repeats(self, method: &str) -> bool {
        match self {
            Self::NonRetryable | Self::AllSuccessful => false,
            Self::RetryableRead => matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE"),
            Self::RetryableIdempotent => is_idempotent(method),
            Self::RetryableAll => is_idempotent(method) || matches!(method, "POST" | "PATCH"),
        }
    }
}

fn is_server_error(reply: Reply) -> bool {
    matches!(reply, Reply::Status(500..600))
}

fn is_retryable(reply: Reply) -> bool {
    matches!(reply, Reply::Exception(exception) if exception != Exception::Other)
}

/// How a gRPC exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcReply {
    /// With a `grpc-status`.
    Code(u32),
    /// Without one, with this HTTP status.
    Status(u16),
    /// With a reset.
    Reset {
        /// Whether by `REFUSED_STREAM`.
        refused: bool,
    },
}

/// Which failures `io.l5d.h2.grpc.*` calls retryable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcRetryable {
    /// `default`: UNAVAILABLE.
    Default,
    /// `compliant`: UNAVAILABLE, `REFUSED_STREAM`, and HTTP 429, 502, 503, 504.
    Compliant,
    /// `alwaysRetryable`: every code that is no success.
    Always,
    /// `neverRetryable`.
    Never,
    /// `retryableStatusCodes`: these codes.
    Codes(Vec<u32>),
}

/// A classifier `io.l5d.h2.grpc.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grpc {
    /// Which failures are retryable.
    pub retryable: GrpcRetryable,
    /// `successStatusCodes`: linkerd's default is 0 alone, and a list replaces it.
    pub success: Vec<u32>,
}

impl Grpc {
    /// The classifier of a `kind`, without its `io.l5d.h2.grpc.`. `codes` are its
    /// `retryableStatusCodes`, `success` its `successStatusCodes`.
    pub fn named(name: &str, codes: &[u32], success: Option<&[u32]>) -> Option<Self> {
        let retryable = match name {
            "default" => GrpcRetryable::Default,
            "compliant" => GrpcRetryable::Compliant,
            "alwaysRetryable" => GrpcRetryable::Always,
            "neverRetryable" => GrpcRetryable::Never,
            "retryableStatusCodes" => GrpcRetryable::Codes(codes.to_vec()),
            _ => return None,
        };
        Some(Self {
            retryable,
            success: success.unwrap_or(&[0]).to_vec(),
        })
    }

    /// The class of a finished exchange.
    pub fn class(&self, reply: GrpcReply) -> Class {
        let retryable = match (reply, &self.retryable) {
            (GrpcReply::Code(code), _) if self.success.contains(&code) => return Class::Success,
            (GrpcReply::Code(14), GrpcRetryable::Default | GrpcRetryable::Compliant) => true,
            (GrpcReply::Code(_), GrpcRetryable::Always) => true,
            (GrpcReply::Code(code), GrpcRetryable::Codes(codes)) => codes.contains(&code),
            (GrpcReply::Status(429 | 502 | 503 | 504), GrpcRetryable::Compliant) => true,
            (GrpcReply::Reset { refused }, GrpcRetryable::Compliant) => refused,
            _ => false,
        };
        if retryable {
            Class::RetryableFailure
        } else {
            Class::Failure
        }
    }
}

/// The class that a linkerd further on stated in `l5d-success-class`: a number above 0 is a success,
/// and what is no number a failure.
pub fn success_class(value: &str) -> Class {
    match value.trim().parse::<f64>() {
        Ok(share) if share > 0.0 => Class::Success,
        _ => Class::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Failure, RetryableFailure, Success};

    const METHODS: [&str; 9] = [
        "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "CONNECT",
    ];

    #[test]
    fn each_kind_repeats_its_methods_and_no_other() {
        for (name, repeated) in [
            ("nonRetryable5XX", 0),
            ("retryableRead5XX", 4),
            ("retryableIdempotent5XX", 6),
            ("retryableAll5XX", 8),
            ("allSuccessful", 0),
        ] {
            let kind = Http::named(name).unwrap();
            for reply in [
                Reply::Status(500),
                Reply::Status(599),
                Reply::Exception(Exception::Timeout),
            ] {
                let retryable = |method: &str| kind.raw(method, reply) == Some(RetryableFailure);
                let found = METHODS
                    .iter()
                    .take_while(|method| retryable(method))
                    .count();
                assert_eq!(found, repeated, "{name} on {reply:?}");
                assert!(
                    !METHODS[found..].iter().any(|method| retryable(method)),
                    "{name} on {reply:?}"
                );
            }
            assert_eq!(
                kind.effective("GET", Reply::Status(404), false, false),
                Success,
                "{name}"
            );
            assert_eq!(
                kind.effective("GET", Reply::Exception(Exception::Other), false, false),
                Failure,
                "{name}"
            );
        }
        assert_eq!(Http::named("retryable5XX"), None);
    }

    #[test]
    fn a_response_may_declare_itself_retryable_but_not_for_a_chunked_request() {
        let class = |declared, chunked| {
            Http::NonRetryable.effective("POST", Reply::Status(503), declared, chunked)
        };
        assert_eq!(
            (class(false, false), class(true, false)),
            (Failure, RetryableFailure)
        );
        assert_eq!(class(true, true), Failure);
        let read =
            |chunked| Http::RetryableRead.effective("GET", Reply::Status(503), false, chunked);
        assert_eq!((read(false), read(true)), (RetryableFailure, Failure));
        let success = Http::AllSuccessful.effective("GET", Reply::Status(503), true, false);
        assert_eq!(success, Success, "a success is not repeated");
    }

    #[test]
    fn compliant_grpc_knows_what_never_started() {
        let class = |name, reply| Grpc::named(name, &[], None).unwrap().class(reply);
        for (reply, compliant, default) in [
            (GrpcReply::Code(0), Success, Success),
            (GrpcReply::Code(14), RetryableFailure, RetryableFailure),
            (GrpcReply::Code(13), Failure, Failure),
            (GrpcReply::Status(503), RetryableFailure, Failure),
            (GrpcReply::Status(403), Failure, Failure),
            (
                GrpcReply::Reset { refused: true },
                RetryableFailure,
                Failure,
            ),
            (GrpcReply::Reset { refused: false }, Failure, Failure),
        ] {
            assert_eq!(class("compliant", reply), compliant, "{reply:?}");
            assert_eq!(class("default", reply), default, "{reply:?}");
        }
    }

    #[test]
    fn a_stated_class_is_a_number_above_zero() {
        for (value, expected) in [
            ("1.0", Success),
            (" 0.5 ", Success),
            ("0", Failure),
            ("-1", Failure),
            ("garbage", Failure),
            ("NaN", Failure),
        ] {
            assert_eq!(success_class(value), expected, "{value:?}");
        }
    }
}
