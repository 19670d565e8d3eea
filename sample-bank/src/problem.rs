//! Refusals and failures as the bank tells them: `application/problem+json` (RFC 9457).

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use std::fmt;

/// What every `type` of a problem begins with.
const URN: &str = "urn:heddle-bank:";

/// The closed list of reasons. Each has a name on the wire, a status and a title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request cannot be read, or a field is missing, unknown or of the wrong type.
    Malformed,
    /// A body over [`crate::web::BODY_LIMIT`].
    TooLarge,
    /// No such path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// No such account.
    UnknownAccount,
    /// No such card.
    UnknownCard,
    /// Not one of the bank's currencies.
    UnknownCurrency,
    /// Zero, negative, not whole, or above 10^15 minor units.
    BadAmount,
    /// The account holds another currency.
    CurrencyMismatch,
    /// The account would fall below its floor.
    InsufficientFunds,
    /// Debits and credits of a currency do not add up to zero.
    Unbalanced,
    /// A request that moves money came without `idempotency-key`, or with an unusable one.
    IdempotencyKeyMissing,
    /// The key was used with another request.
    IdempotencyKeyReused,
    /// The owner froze the card.
    CardFrozen,
    /// The amount is above the card's limit for one payment.
    OverLimit,
    /// The hold was captured, released or has expired.
    HoldClosed,
    /// No token, or one that this bank did not issue; or a wrong secret.
    Unauthenticated,
    /// The token was good once.
    TokenExpired,
    /// Known, but not entitled to that.
    Forbidden,
    /// A later holder of the lock has written.
    StaleFencingToken,
    /// Somebody else holds the lock.
    LockHeld,
    /// Something exists already, with other content.
    Conflict,
    /// Something that this answer depends on does not work at the moment.
    Unavailable,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 23] = [
        Self::Malformed,
        Self::TooLarge,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnknownAccount,
        Self::UnknownCard,
        Self::UnknownCurrency,
        Self::BadAmount,
        Self::CurrencyMismatch,
        Self::InsufficientFunds,
        Self::Unbalanced,
        Self::IdempotencyKeyMissing,
        Self::IdempotencyKeyReused,
        Self::CardFrozen,
        Self::OverLimit,
        Self::HoldClosed,
        Self::Unauthenticated,
        Self::TokenExpired,
        Self::Forbidden,
        Self::StaleFencingToken,
        Self::LockHeld,
        Self::Conflict,
        Self::Unavailable,
    ];

    fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Malformed => ("malformed", S::BAD_REQUEST, "Malformed request"),
            Self::TooLarge => ("too-large", S::PAYLOAD_TOO_LARGE, "Body too large"),
            Self::NotFound => ("not-found", S::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                S::METHOD_NOT_ALLOWED,
                "Method not allowed",
            ),
            Self::UnknownAccount => ("unknown-account", S::NOT_FOUND, "Unknown account"),
            Self::UnknownCard => ("unknown-card", S::NOT_FOUND, "Unknown card"),
            Self::UnknownCurrency => (
                "unknown-currency",
                S::UNPROCESSABLE_ENTITY,
                "Unknown currency",
            ),
            Self::BadAmount => ("bad-amount", S::UNPROCESSABLE_ENTITY, "Bad amount"),
            Self::CurrencyMismatch => (
                "currency-mismatch",
                S::UNPROCESSABLE_ENTITY,
                "Currency mismatch",
            ),
            Self::InsufficientFunds => (
                "insufficient-funds",
                S::UNPROCESSABLE_ENTITY,
                "Insufficient funds",
            ),
            Self::Unbalanced => ("unbalanced", S::UNPROCESSABLE_ENTITY, "Not balanced"),
            Self::IdempotencyKeyMissing => (
                "idempotency-key-missing",
                S::BAD_REQUEST,
                "Idempotency key missing",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency-key-reused",
                S::CONFLICT,
                "Idempotency key reused",
            ),
            Self::CardFrozen => ("card-frozen", S::UNPROCESSABLE_ENTITY, "Card frozen"),
            Self::OverLimit => ("over-limit", S::UNPROCESSABLE_ENTITY, "Over the limit"),
            Self::HoldClosed => ("hold-closed", S::CONFLICT, "Hold closed"),
            Self::Unauthenticated => ("unauthenticated", S::UNAUTHORIZED, "Not authenticated"),
            Self::TokenExpired => ("token-expired", S::UNAUTHORIZED, "Token expired"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "Forbidden"),
            Self::StaleFencingToken => (
                "stale-fencing-token",
                S::PRECONDITION_FAILED,
                "Stale fencing token",
            ),
            Self::LockHeld => ("lock-held", S::CONFLICT, "Lock held"),
            Self::Conflict => ("conflict", S::CONFLICT, "Conflict"),
            Self::Unavailable => ("unavailable", S::SERVICE_UNAVAILABLE, "Unavailable"),
        }
    }

    /// Its name on the wire, after `urn:heddle-bank:`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }
}

/// A refusal or failure for a person: the code, what happened and what to do, and the figures that it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Why, from the closed list.
    pub code: Code,
    /// For a person: what, why, what to do.
    pub detail: String,
    /// More members of the answer.
    pub fields: Map<String, Value>,
}

impl Problem {
    /// A problem with its detail.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            fields: Map::new(),
        }
    }

    /// The same with one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// A request that cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::Malformed, detail)
    }

    /// Something underneath does not work at the moment.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, detail)
    }

    /// The JSON of the answer.
    pub fn to_json(&self) -> Value {
        let (name, status, title) = self.code.row();
        let mut body = Map::new();
        body.insert("type".to_owned(), format!("{URN}{name}").into());
        body.insert("title".to_owned(), title.into());
        body.insert("status".to_owned(), status.as_u16().into());
        body.insert("detail".to_owned(), self.detail.clone().into());
        body.extend(self.fields.clone());
        Value::Object(body)
    }

    /// What another service of the bank answered, as our own problem: its refusals pass on as they are. Everything else,
    /// also what a proxy says in its place, is [`Code::Unavailable`].
    pub fn from_answer(peer: &str, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Self {
        if let Some(problem) = Self::parse(body)
            && problem.code.status() == status
        {
            return problem;
        }
        let said = headers.get("heddle-err").and_then(|v| v.to_str().ok());
        let said = said.map_or(String::new(), |text| format!(" ({text})"));
        Self::unavailable(format!(
            "{peer} answered {}{said}; send the same request again, with the same idempotency key",
            status.as_u16()
        ))
    }

    /// Reads the JSON of a problem of this bank.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let Value::Object(mut fields) = serde_json::from_slice(body).ok()? else {
            return None;
        };
        let code = Code::named(fields.remove("type")?.as_str()?.strip_prefix(URN)?)?;
        let detail = fields.remove("detail")?.as_str()?.to_owned();
        fields.remove("title");
        fields.remove("status");
        Some(Self {
            code,
            detail,
            fields,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), self.to_json().to_string()).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response.extensions_mut().insert(self.code); // what `web` counts
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for code in Code::ALL {
            let problem = Problem::new(code, "why").with("account", "acc-1");
            let body = Bytes::from(problem.to_json().to_string());
            let read = Problem::from_answer("ledger", code.status(), &HeaderMap::new(), &body);
            assert_eq!(read, problem);
        }
    }

    #[test]
    fn what_is_not_ours_is_unavailable() {
        let ours = Problem::malformed("x").to_json().to_string();
        for (status, body) in [
            (500, "oops"),
            (404, r#"{"type":"about:blank","detail":"no such name"}"#),
            (503, ours.as_str()), // the status contradicts the code
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let body = Bytes::from(body.to_owned());
            let read = Problem::from_answer("ledger", status, &HeaderMap::new(), &body);
            assert_eq!(read.code, Code::Unavailable, "{body:?}");
        }
    }
}
