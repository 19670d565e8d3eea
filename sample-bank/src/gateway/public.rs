//! The public API, version 1. `openapi.json` beside this file's folder describes it; a test holds them together.

use super::{Behalf, Customer, Gateway, token};
use crate::call::{Reply, Trace};
use crate::clock;
use crate::failpoint;
use crate::money::check_id;
use crate::problem::{Code, Problem};
use crate::web::{At, Input, Key};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

const DESCRIPTION: &str = include_str!("openapi.json");
/// How long one stream of events lasts at most; the page opens the next one where it was.
const STREAM: Duration = Duration::from_secs(3600);

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/openapi.json", get(describe))
        .route("/v1/sessions", post(open_session))
        .route("/v1/me", get(me))
        .route("/v1/accounts", get(accounts))
        .route("/v1/accounts/{id}", get(account))
        .route("/v1/accounts/{id}/feed", get(feed))
        .route("/v1/accounts/{id}/spending", get(spending))
        .route("/v1/transfers", post(transfer))
        .route("/v1/card-payments", post(pay))
        .route("/v1/cards/{id}", get(card).patch(change_card))
        .route("/v1/events", get(events))
}

async fn describe() -> Response {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    customer: String,
    secret: String,
}

async fn open_session(
    State(gateway): State<Gateway>,
    Input(given): Input<Credentials>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    check_id("customer", &given.customer, "cus-")?;
    let url = format!("http://accounts/customers/{}/secret", given.customer);
    let behalf = gateway.on_behalf_of(&given.customer);
    let reply = behalf
        .send(Method::POST, &url, Some(&json!({"secret": given.secret})))
        .await?;
    reply.success::<Value>("accounts")?;
    let expires = clock::now() + token::LIFETIME;
    let token = gateway.signer.issue(&given.customer, expires);
    let session =
        json!({"token": token, "customer": given.customer, "expires": clock::rfc3339(expires)});
    Ok((StatusCode::CREATED, Json(session)))
}

async fn me(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
) -> Result<Response, Problem> {
    let url = format!("http://accounts/customers/{customer}");
    gateway
        .on_behalf_of(&customer)
        .pass(Method::GET, &url, None)
        .await
}

async fn accounts(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
) -> Result<Response, Problem> {
    let url = format!("http://accounts/customers/{customer}/accounts");
    gateway
        .on_behalf_of(&customer)
        .pass(Method::GET, &url, None)
        .await
}

async fn account(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
    At(id): At<String>,
) -> Result<Response, Problem> {
    check_id("account", &id, "acc-")?;
    let url = format!("http://accounts/accounts/{id}");
    gateway
        .on_behalf_of(&customer)
        .pass(Method::GET, &url, None)
        .await
}

async fn feed(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
    At(id): At<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    let behalf = gateway.on_behalf_of(&customer);
    behalf.feed(&id, &format!("{id}{query}")).await
}

/// Three calls deep: the feed asks `merchants` in turn.
async fn spending(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let behalf = gateway.on_behalf_of(&customer);
    behalf.feed(&id, &format!("{id}/spending")).await
}

async fn transfer(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
    Key(key): Key,
    Input(body): Input<Value>,
) -> Result<Response, Problem> {
    let behalf = gateway.on_behalf_of(&customer).with("idempotency-key", key);
    behalf
        .pass(Method::POST, "http://accounts/transfers", Some(&body))
        .await
}

async fn pay(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
    Key(key): Key,
    Input(body): Input<Value>,
) -> Result<Response, Problem> {
    let behalf = gateway.on_behalf_of(&customer).with("idempotency-key", key);
    behalf
        .pass(Method::POST, "http://cards/authorisations", Some(&body))
        .await
}

async fn card(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
    At(id): At<String>,
) -> Result<Response, Problem> {
    check_id("card", &id, "card-")?;
    let url = format!("http://accounts/cards/{id}");
    gateway
        .on_behalf_of(&customer)
        .pass(Method::GET, &url, None)
        .await
}

async fn change_card(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
    At(id): At<String>,
    Input(body): Input<Value>,
) -> Result<Response, Problem> {
    check_id("card", &id, "card-")?;
    let url = format!("http://accounts/cards/{id}");
    gateway
        .on_behalf_of(&customer)
        .pass(Method::PATCH, &url, Some(&body))
        .await
}

impl Behalf<'_> {
    /// Asks the feed about an account, if it is the customer's.
    async fn feed(&self, account: &str, what: &str) -> Result<Response, Problem> {
        check_id("account", account, "acc-")?;
        let url = format!("http://accounts/accounts/{account}/owner");
        let owner = self.send(Method::GET, &url, None::<&()>).await?;
        owner.success::<Value>("accounts")?;
        self.pass(Method::GET, &format!("http://feed/feed/{what}"), None)
            .await
    }

    /// Sends a request on, and its answer back: a success as it is, a refusal as it is, all else as unavailable.
    async fn pass(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Response, Problem> {
        let reply = self.send(method, url, body).await?;
        failpoint::reach("gateway.answered");
        answer(reply, url)
    }
}

fn answer(reply: Reply, url: &str) -> Result<Response, Problem> {
    let peer = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap_or_default();
    if !reply.status.is_success() {
        return Err(Problem::from_answer(
            peer,
            reply.status,
            &reply.headers,
            &reply.body,
        ));
    }
    let mut response = (reply.status, reply.body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Balances are nobody else's business.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(replayed) = reply.headers.get("idempotency-replayed") {
        headers.insert("idempotency-replayed", replayed.clone());
    }
    Ok(response)
}

#[derive(Deserialize)]
struct Listed {
    accounts: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// What happens on the customer's accounts, as it happens: server-sent events, straight through from `notifications`.
async fn events(
    State(gateway): State<Gateway>,
    Customer(customer): Customer,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let behalf = gateway.on_behalf_of(&customer);
    let url = format!("http://accounts/customers/{customer}/accounts");
    let listed: Listed = behalf
        .send(Method::GET, &url, None::<&()>)
        .await?
        .success("accounts")?;
    if listed.accounts.is_empty() {
        return Err(Problem::new(
            Code::NotFound,
            "you have no account yet: there is nothing to listen to",
        ));
    }
    let accounts: Vec<String> = listed
        .accounts
        .iter()
        .map(|account| format!("account={}", account.id))
        .collect();
    let url = format!(
        "http://notifications/notifications/{customer}/events?{}",
        accounts.join("&")
    );
    stream(behalf, &url, headers.get("last-event-id")).await
}

async fn stream(
    behalf: Behalf<'_>,
    url: &str,
    last: Option<&HeaderValue>,
) -> Result<Response, Problem> {
    let mut request = behalf.gateway.peers.http().get(url).timeout(STREAM);
    if let Trace(Some(trace)) = &behalf.trace {
        request = request.header("traceparent", trace);
    }
    for (name, value) in &behalf.headers {
        request = request.header(*name, value);
    }
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let lost = |e: reqwest::Error| {
        Problem::unavailable(format!("notifications gave no answer ({e}): ask again"))
    };
    let response = request.send().await.map_err(lost)?;
    let (status, headers) = (response.status(), response.headers().clone());
    if !status.is_success() {
        let body = response.bytes().await.map_err(lost)?;
        return Err(Problem::from_answer(
            "notifications",
            status,
            &headers,
            &body,
        ));
    }
    let mut stop = behalf.gateway.stop.clone();
    // A stream has no end of its own; with this process it ends, and the page opens it at another replica.
    let bytes = response
        .bytes_stream()
        .take_until(async move { stop.requested().await });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_every_path() {
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let described = description["paths"].as_object().unwrap();
        let source = include_str!("public.rs");
        let routes: Vec<&str> = source
            .split(".route(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .filter(|path| path.starts_with('/'))
            .collect();
        assert!(routes.len() >= 10);
        for path in &routes {
            assert!(
                described.contains_key(*path),
                "openapi.json does not describe {path}"
            );
        }
        for path in described.keys() {
            assert!(
                routes.contains(&path.as_str()),
                "openapi.json describes {path}, which is not there"
            );
        }
    }

    #[test]
    fn the_description_has_every_code() {
        for code in Code::ALL {
            let quoted = format!("\"{}\"", code.name());
            assert!(
                DESCRIPTION.contains(&quoted),
                "openapi.json does not list {quoted}"
            );
        }
    }
}
