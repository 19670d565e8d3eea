//! The service `gateway`: the bank's public side. Whoever has a token is a customer; what comes in with a request goes no
//! further than here, except what this file passes on: the body, the idempotency key, and who asks.

mod page;
mod public;
mod staging;
pub mod token;

use crate::Failure;
use crate::call::{Peers, Reply, Trace};
use crate::problem::{Code, Problem};
use crate::settings::Settings;
use crate::web::{Service, Stop};
use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, HeaderValue};
use http::request::Parts;
use serde::Serialize;
use staging::Staging;
use std::sync::Arc;

/// What every request works with.
#[derive(Debug, Clone)]
struct Gateway {
    peers: Peers,
    signer: Arc<token::Signer>,
    staging: Staging,
    stop: Stop,
}

/// Runs the service until it is told to stop.
///
/// # Errors
///
/// It cannot start.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    let stop = Stop::on_signal()?;
    let signer = match &settings.token_key {
        Some(hex) => token::Signer::from_hex(hex)?,
        None => {
            tracing::warn!(
                "BANK_TOKEN_KEY is not set: tokens end with this process, and no other replica knows them"
            );
            token::Signer::random()
        }
    };
    let gateway = Gateway {
        peers: Peers::new(),
        signer: Arc::new(signer),
        staging: Staging::new(settings.state.join("staging.json")),
        stop: stop.clone(),
    };
    let routes = public::routes().merge(page::routes()).with_state(gateway);
    Service::new("gateway", routes).serve(&settings, stop).await
}

/// A customer with a token that is good now.
#[derive(Debug, Clone)]
struct Customer(String);

impl FromRequestParts<Gateway> for Customer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        let text = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let bearer = text.and_then(|text| text.split_once(' '));
        let token = bearer
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let Some(token) = token else {
            return Err(Problem::new(
                Code::Unauthenticated,
                "this needs the header `authorization: Bearer TOKEN`; POST /v1/sessions gives one",
            ));
        };
        gateway.signer.verify(token, crate::clock::now()).map(Self)
    }
}

/// One call on a customer's behalf: who it is, where the trace begins, and whether it is staged.
struct Behalf<'a> {
    gateway: &'a Gateway,
    trace: Trace,
    headers: Vec<(&'static str, String)>,
}

impl Gateway {
    /// Calls for a customer. Their trace begins here: what a stranger sends must not join them to anybody else's.
    fn on_behalf_of(&self, customer: &str) -> Behalf<'_> {
        let mut headers = vec![("bank-user", customer.to_owned())];
        if let Some(dtab) = self.staging.of(customer) {
            headers.push(("heddle-dtab", dtab));
        }
        Behalf {
            gateway: self,
            trace: Trace(Some(fresh_traceparent())),
            headers,
        }
    }
}

impl Behalf<'_> {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    async fn send(
        &self,
        method: http::Method,
        url: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Reply, Problem> {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.gateway
            .peers
            .send(&self.trace, method, url, &headers, body)
            .await
    }
}

/// A `traceparent` (W3C Trace Context) that begins a trace.
fn fresh_traceparent() -> HeaderValue {
    let mut chance = [0_u8; 24];
    aws_lc_rs::rand::fill(&mut chance).expect("the system has a source of randomness");
    let (trace, span) = chance.split_at(16);
    let text = format!("00-{}-{}-01", token::hex(trace), token::hex(span));
    HeaderValue::try_from(text).expect("hex and dashes make a header")
}
