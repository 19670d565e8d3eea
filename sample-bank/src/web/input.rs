//! What requests bring, judged before any service sees it.

use super::{BODY_LIMIT, USER};
use crate::money::check_id;
use crate::problem::{Code, Problem};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

/// Longest `idempotency-key`, in bytes.
const KEY_LIMIT: usize = 128;

/// A JSON body of one shape. Unknown fields are the shape's affair (`deny_unknown_fields`).
#[derive(Debug, Clone)]
pub struct Input<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await.map_err(unread)?;
        let read = serde_json::from_slice(&body);
        read.map(Self).map_err(|error| {
            Problem::malformed(format!("the body is not what this path takes: {error}"))
        })
    }
}

fn unread(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(
            Code::TooLarge,
            format!("the body is larger than {BODY_LIMIT} bytes; nothing that the bank takes is"),
        )
    } else {
        Problem::malformed("the body ended before its end")
    }
}

/// What stands in the path, decoded.
#[derive(Debug, Clone)]
pub struct At<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<T>::from_request_parts(parts, state).await;
        read.map(|Path(value)| Self(value))
            .map_err(|error| Problem::malformed(format!("the path cannot be read: {error}")))
    }
}

/// The query of one shape.
#[derive(Debug, Clone)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(value)| Self(value))
            .map_err(|error| Problem::malformed(format!("the query cannot be read: {error}")))
    }
}

/// `idempotency-key`: 1 to 128 visible characters of ASCII. Every request that moves money has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let missing = |detail| Problem::new(Code::IdempotencyKeyMissing, detail);
        let Some(value) = values.next() else {
            return Err(missing(
                "a request that moves money needs the header idempotency-key, new for each intention \
                 and the same for each repetition of it",
            ));
        };
        let visible = |text: &&[u8]| {
            (1..=KEY_LIMIT).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
        };
        let text = Some(value.as_bytes())
            .filter(visible)
            .and_then(|text| std::str::from_utf8(text).ok());
        match text {
            Some(text) if values.next().is_none() => Ok(Self(text.to_owned())),
            _ => Err(missing(
                "idempotency-key must be one value of 1 to 128 visible ASCII characters",
            )),
        }
    }
}

/// `bank-user`: for whom a request is made, as the gateway says. None: the bank itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(USER) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default();
        check_id("bank-user", text, "cus-")?;
        Ok(Self(Some(text.to_owned())))
    }
}
