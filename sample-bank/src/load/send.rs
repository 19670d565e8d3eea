//! How a customer asks: with one idempotency key until there is an answer.

use super::journal::Outcome;
use super::order::Order;
use super::people::{Customer, People};
use super::random::Random;
use crate::Failure;
use crate::ids;
use reqwest::header::HeaderMap;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// How long a customer goes on asking.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(12);
/// The wait before the second try; doubled up to the longest, and never the same for two customers, so that they do not
/// come back together to a service that has just started again.
const AGAIN: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// All customers, signed in.
#[derive(Debug)]
pub(super) struct Sender {
    http: Client,
    gateway: String,
    people: People,
    tokens: Vec<RwLock<String>>,
}

/// What one try brought.
enum Try {
    Settled(Outcome),
    /// Nothing is known, or the way was closed.
    Again(String),
    SignIn,
}

impl Sender {
    /// Signs everybody in.
    ///
    /// # Errors
    ///
    /// The bank does not let somebody in.
    pub(super) async fn sign_in(gateway: String, people: People) -> Result<Self, Failure> {
        let client = Client::builder()
            .no_proxy()
            .timeout(TRY)
            .pool_idle_timeout(Duration::from_secs(4));
        let http = client
            .build()
            .map_err(|e| Failure::new(format!("cannot make a client: {e}")))?;
        let mut sender = Self {
            http,
            gateway: gateway.trim_end_matches('/').to_owned(),
            people,
            tokens: Vec::new(),
        };
        for customer in &sender.people.customers {
            let token = sender.token(customer).await.map_err(|why| {
                Failure::new(format!(
                    "{} does not let {} in: {why}",
                    sender.gateway, customer.id
                ))
            })?;
            sender.tokens.push(RwLock::new(token));
        }
        Ok(sender)
    }

    async fn token(&self, customer: &Customer) -> Result<String, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let asked = self.http.post(format!("{}/v1/sessions", self.gateway));
            let body = json!({"customer": customer.id, "secret": customer.secret});
            let why = match asked.json(&body).send().await {
                Ok(answer) if answer.status().is_success() => {
                    let answer: Value = answer.json().await.map_err(|e| e.to_string())?;
                    let token = answer["token"].as_str().map(str::to_owned);
                    return token.ok_or_else(|| format!("the answer has no token: {answer}"));
                }
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                return Err(why);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Asks until there is an answer. Says how often.
    pub(super) async fn carry_out(&self, order: &Order) -> (Outcome, u64) {
        let key = ids::fresh("");
        let until = Instant::now() + PATIENCE;
        let mut wait = AGAIN;
        let mut tries = 0;
        // Keys are random, so this differs from request to request.
        let mut random = Random::new(key.bytes().fold(0, |sum, byte| sum << 5 ^ u64::from(byte)));
        loop {
            tries += 1;
            let detail = match self.try_once(order, &key).await {
                Try::Settled(outcome) => return (outcome, tries),
                Try::Again(detail) => detail,
                Try::SignIn => match self.token(&self.people.customers[order.customer]).await {
                    Ok(token) => {
                        *self.tokens[order.customer]
                            .write()
                            .unwrap_or_else(PoisonError::into_inner) = token;
                        "signed in again".to_owned()
                    }
                    Err(why) => why,
                },
            };
            let pause = wait.mul_f64(0.5 + random.share());
            if Instant::now() + pause > until {
                return (Outcome::Unknown { detail }, tries);
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(LONGEST);
        }
    }

    async fn try_once(&self, order: &Order, key: &str) -> Try {
        let token = self.tokens[order.customer]
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let url = format!("{}{}", self.gateway, order.path);
        let method = order.method.parse().expect("orders have methods of HTTP");
        let mut request = self.http.request(method, url).bearer_auth(token);
        if let Some(body) = &order.body {
            request = request.json(body);
        }
        if order.payment.is_some() {
            request = request.header("idempotency-key", key);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Try::Again(error.to_string()),
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        match answer.bytes().await {
            Ok(body) => judge(status, &headers, &body),
            Err(error) => Try::Again(error.to_string()),
        }
    }
}

/// What an answer says of the payment.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Try {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    if status.is_success() {
        return Try::Settled(match body["decision"].as_str() {
            Some("declined") => Outcome::Declined {
                reason: text("reason"),
            },
            Some(_) => Outcome::Acknowledged { id: text("hold") },
            None => Outcome::Acknowledged { id: text("id") },
        });
    }
    let code = text("type")
        .strip_prefix("urn:heddle-bank:")
        .map(str::to_owned);
    match code {
        // What the mesh says is no verdict of the bank's.
        Some(code) if status.is_client_error() && !headers.contains_key("heddle-err") => {
            match status {
                StatusCode::UNAUTHORIZED => Try::SignIn,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Try::Again(code),
                _ => Try::Settled(Outcome::Refused {
                    status: status.as_u16(),
                    code,
                }),
            }
        }
        _ => Try::Again(format!("{status} {}", text("detail"))),
    }
}
