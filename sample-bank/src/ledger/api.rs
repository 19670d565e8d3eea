//! The ledger over HTTP: what requests must look like, before the book is opened.

use super::Ledger;
use super::book::{Account, Kind};
use super::holds::{Capture, Place, Release};
use super::intent::{Answer, Fence, Intent};
use super::post::{Leg, Open, Post};
use super::reads;
use super::view;
use crate::call::Trace;
use crate::database::Work;
use crate::failpoint;
use crate::ids;
use crate::money::{Currency, Written, check_id, check_text};
use crate::problem::Problem;
use crate::web::{At, Input, Key, Params};
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Most postings of one transaction.
const MOST_POSTINGS: usize = 16;
/// Longest `kind`, in characters.
const KIND_LIMIT: usize = 32;
/// Longest reference, in characters: that of a SEPA transfer.
pub(crate) const REFERENCE_LIMIT: usize = 140;
/// Longest text of a terminal, in characters.
pub(crate) const DESCRIPTOR_LIMIT: usize = 64;
/// Largest `details`, in bytes of JSON.
const DETAILS_LIMIT: usize = 4096;
/// Longest id of a merchant: its account's id has the currency as well.
pub(crate) const MERCHANT_LIMIT: usize = 56;
/// Holds expire within 30 days, in seconds.
const LONGEST_HOLD: i64 = 30 * 24 * 3600;
/// When a hold expires that says nothing: in seven days, as with card schemes.
const HOLD: i64 = 7 * 24 * 3600;
/// Most rows of one answer.
const PAGE: i64 = 1000;

pub(super) fn routes() -> Router<Ledger> {
    Router::new()
        .route("/accounts", post(open_account).get(accounts))
        .route("/accounts/{id}", get(account))
        .route("/accounts/{id}/entries", get(entries))
        .route("/transactions", post(post_transaction).get(transactions))
        .route("/transactions/{id}", get(transaction))
        .route("/holds", post(place_hold).get(open_holds))
        .route("/holds/{id}", get(hold))
        .route("/holds/{id}/capture", post(capture))
        .route("/holds/{id}/release", post(release))
        .route("/keys/{key}", get(key))
        .route("/totals", get(totals))
        .route("/outbox", get(outbox))
}

/// `fencing-token`, if the caller has one.
struct Fenced(Option<Fence>);

impl<S: Send + Sync> FromRequestParts<S> for Fenced {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("fencing-token") else {
            return Ok(Self(None));
        };
        Fence::parse(value.to_str().unwrap_or_default()).map(|fence| Self(Some(fence)))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    id: String,
    currency: String,
    kind: String,
    #[serde(default)]
    customer: Option<String>,
    #[serde(default)]
    floor: Option<i64>,
}

async fn open_account(
    State(ledger): State<Ledger>,
    Input(new): Input<NewAccount>,
) -> Result<Response, Problem> {
    check_id("id", &new.id, "acc-")?;
    let kind = Kind::parse(&new.kind).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::name).join(", ");
        Problem::malformed(format!("`kind` is one of {known}"))
    })?;
    if let Some(customer) = &new.customer {
        check_id("customer", customer, "cus-")?;
    }
    let floor = match (kind, new.floor) {
        (Kind::Customer, floor) => Some(floor.unwrap_or(0)),
        (_, None) => None,
        (_, Some(_)) => return Err(Problem::malformed("`floor` is for accounts of customers")),
    };
    if floor.is_some_and(|floor| !(-crate::money::MOST..=0).contains(&floor)) {
        return Err(Problem::malformed(
            "`floor` is from -10^15 to 0 minor units",
        ));
    }
    let account = Account {
        id: new.id,
        currency: Currency::parse(&new.currency)?,
        kind,
        customer: new.customer,
        floor,
        balance: 0,
        held: 0,
        sequence: 0,
    };
    let (account, new) = ledger.database.write(Open(account)).await?;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(view::account(&account))).into_response())
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTransaction {
    kind: String,
    #[serde(default)]
    reference: String,
    postings: Vec<NewPosting>,
    #[serde(default)]
    details: Option<Map<String, Value>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPosting {
    account: String,
    amount: Written,
    #[serde(default)]
    currency: Option<String>,
}

impl NewPosting {
    fn leg(&self) -> Result<Leg, Problem> {
        check_id("account", &self.account, "acc-")?;
        Ok(Leg {
            account: self.account.clone(),
            amount: self.amount.signed()?,
            currency: self.currency.as_deref().map(Currency::parse).transpose()?,
        })
    }
}

async fn post_transaction(
    State(ledger): State<Ledger>,
    Key(key): Key,
    Fenced(fence): Fenced,
    trace: Trace,
    Input(new): Input<NewTransaction>,
) -> Result<Response, Problem> {
    failpoint::reach("ledger.received");
    let intent = intent(key, "transactions", &new, fence, &trace);
    if !crate::money::is_id(&new.kind, "") || new.kind.len() > KIND_LIMIT {
        return Err(Problem::malformed(format!(
            "`kind` has 1 to {KIND_LIMIT} of a-z, 0-9 and -"
        )));
    }
    if !new.reference.is_empty() {
        check_text("reference", &new.reference, REFERENCE_LIMIT)?;
    }
    let legs = new
        .postings
        .iter()
        .map(NewPosting::leg)
        .collect::<Result<Vec<_>, _>>()?;
    check_legs(&legs)?;
    let details = new.details.map(|details| Value::from(details).to_string());
    if details
        .as_ref()
        .is_some_and(|details| details.len() > DETAILS_LIMIT)
    {
        return Err(Problem::malformed(format!(
            "`details` has more than {DETAILS_LIMIT} bytes"
        )));
    }
    let work = Post {
        intent,
        kind: new.kind,
        reference: new.reference,
        details,
        legs,
    };
    ledger.record(work).await
}

fn check_legs(legs: &[Leg]) -> Result<(), Problem> {
    if !(2..=MOST_POSTINGS).contains(&legs.len()) {
        let detail = format!(
            "a transaction has 2 to {MOST_POSTINGS} postings, this one has {}",
            legs.len()
        );
        return Err(Problem::malformed(detail));
    }
    let mut ids: Vec<&str> = legs.iter().map(|leg| leg.account.as_str()).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Problem::malformed(format!(
            "{} has two postings: write their sum as one",
            pair[0]
        ))),
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewHold {
    account: String,
    amount: Written,
    currency: String,
    card: String,
    merchant: String,
    descriptor: String,
    /// Seconds.
    #[serde(default)]
    expires_in: Option<i64>,
}

async fn place_hold(
    State(ledger): State<Ledger>,
    Key(key): Key,
    Fenced(fence): Fenced,
    trace: Trace,
    Input(new): Input<NewHold>,
) -> Result<Response, Problem> {
    failpoint::reach("ledger.received");
    let intent = intent(key, "holds", &new, fence, &trace);
    check_id("account", &new.account, "acc-")?;
    check_id("card", &new.card, "card-")?;
    check_merchant(&new.merchant)?;
    check_text("descriptor", &new.descriptor, DESCRIPTOR_LIMIT)?;
    let expires_in = new.expires_in.unwrap_or(HOLD);
    if !(1..=LONGEST_HOLD).contains(&expires_in) {
        return Err(Problem::malformed(format!(
            "`expires_in` is from 1 to {LONGEST_HOLD} seconds"
        )));
    }
    let work = Place {
        intent,
        amount: new.amount.positive()?,
        currency: Currency::parse(&new.currency)?,
        account: new.account,
        card: new.card,
        merchant: new.merchant,
        descriptor: new.descriptor,
        expires_in: expires_in * 1000,
    };
    ledger.record(work).await
}

/// Refuses what is no id of a merchant.
pub(crate) fn check_merchant(id: &str) -> Result<(), Problem> {
    check_id("merchant", id, "")?;
    if id.len() > MERCHANT_LIMIT {
        return Err(Problem::malformed(format!(
            "`merchant` has more than {MERCHANT_LIMIT} characters"
        )));
    }
    Ok(())
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCapture {
    #[serde(default)]
    amount: Option<Written>,
}

async fn capture(
    State(ledger): State<Ledger>,
    At(hold): At<String>,
    Key(key): Key,
    Fenced(fence): Fenced,
    trace: Trace,
    Input(new): Input<NewCapture>,
) -> Result<Response, Problem> {
    failpoint::reach("ledger.received");
    let intent = intent(key, &format!("holds/{hold}/capture"), &new, fence, &trace);
    check_id("hold", &hold, "hold-")?;
    let amount = new.amount.map(|amount| amount.positive()).transpose()?;
    ledger
        .record(Capture {
            intent,
            hold,
            amount,
        })
        .await
}

async fn release(
    State(ledger): State<Ledger>,
    At(hold): At<String>,
    Key(key): Key,
    Fenced(fence): Fenced,
    trace: Trace,
) -> Result<Response, Problem> {
    failpoint::reach("ledger.received");
    check_id("hold", &hold, "hold-")?;
    let intent = intent(
        key,
        &format!("holds/{hold}/release"),
        &json!({}),
        fence,
        &trace,
    );
    ledger.record(Release { intent, hold }).await
}

fn intent(
    key: String,
    path: &str,
    body: &impl Serialize,
    fence: Option<Fence>,
    trace: &Trace,
) -> Intent {
    // What was read is written again: spaces and the order of fields make no other request.
    let body = serde_json::to_string(body).expect("what came as JSON can be written as JSON");
    let digest = ids::fingerprint(&[path, &body]);
    Intent::new(key, digest, fence, trace.text().map(str::to_owned))
}

impl Ledger {
    /// Does what an intent asks, and answers after the commit.
    async fn record(&self, work: impl Work<Output = Answer>) -> Result<Response, Problem> {
        let answer = self.database.write(work).await?;
        failpoint::reach("ledger.committed");
        self.written.notify_one();
        // A repetition is answered with what the first try was.
        let status = if answer.replayed { 200 } else { answer.status };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        let mut response = (status, answer.body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if answer.replayed {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        Ok(response)
    }
}

async fn account(State(ledger): State<Ledger>, At(id): At<String>) -> Result<Json<Value>, Problem> {
    let account = ledger.database.read(reads::OneAccount(id)).await?;
    Ok(Json(view::account(&account)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    after: i64,
    #[serde(default)]
    limit: Option<i64>,
}

fn page(limit: Option<i64>) -> Result<i64, Problem> {
    let limit = limit.unwrap_or(100);
    if (1..=PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::malformed(format!("`limit` is from 1 to {PAGE}")))
}

async fn entries(
    State(ledger): State<Ledger>,
    At(account): At<String>,
    Params(at): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let (after, limit) = (at.after, page(at.limit)?);
    let work = reads::Entries {
        account,
        after,
        limit,
    };
    ledger.database.read(work).await.map(Json)
}

async fn transactions(
    State(ledger): State<Ledger>,
    Params(at): Params<Page>,
) -> Result<Json<Value>, Problem> {
    let (after, limit) = (at.after, page(at.limit)?);
    ledger
        .database
        .read(reads::Transactions { after, limit })
        .await
        .map(Json)
}

async fn transaction(
    State(ledger): State<Ledger>,
    At(id): At<String>,
) -> Result<Json<Value>, Problem> {
    ledger
        .database
        .read(reads::OneTransaction(id))
        .await
        .map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountPage {
    #[serde(default)]
    after: String,
    #[serde(default)]
    limit: Option<i64>,
}

async fn accounts(
    State(ledger): State<Ledger>,
    Params(at): Params<AccountPage>,
) -> Result<Json<Value>, Problem> {
    let (after, limit) = (at.after, page(at.limit)?);
    ledger
        .database
        .read(reads::Accounts { after, limit })
        .await
        .map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldPage {
    #[serde(default)]
    state: Option<String>,
    /// Seconds, may have a fraction.
    #[serde(default)]
    older_than: f64,
    #[serde(default)]
    limit: Option<i64>,
}

async fn open_holds(
    State(ledger): State<Ledger>,
    Params(at): Params<HoldPage>,
) -> Result<Json<Value>, Problem> {
    if at.state.is_some_and(|state| state != "open") {
        return Err(Problem::malformed(
            "`state` can only be open: the others are not kept apart",
        ));
    }
    if !(0.0..=1e9).contains(&at.older_than) {
        return Err(Problem::malformed("`older_than` is in seconds, 0 or more"));
    }
    let work = reads::OpenHolds {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 10^12, as just checked"
        )]
        older_than: (at.older_than * 1000.0) as i64,
        limit: page(at.limit)?,
    };
    let holds = ledger.database.read(work).await?;
    Ok(Json(json!({"holds": holds})))
}

async fn hold(State(ledger): State<Ledger>, At(id): At<String>) -> Result<Json<Value>, Problem> {
    let hold = ledger.database.read(reads::OneHold(id)).await?;
    Ok(Json(view::hold(&hold)))
}

async fn key(State(ledger): State<Ledger>, At(key): At<String>) -> Result<Json<Value>, Problem> {
    ledger.database.read(reads::OneKey(key)).await.map(Json)
}

async fn totals(State(ledger): State<Ledger>) -> Result<Json<Value>, Problem> {
    ledger.database.read(reads::Totals).await.map(Json)
}

async fn outbox(State(ledger): State<Ledger>) -> Result<Json<Value>, Problem> {
    let (unpublished, oldest) = ledger.database.read(reads::Waiting).await?;
    Ok(Json(
        json!({"unpublished": unpublished, "oldest_ms": oldest}),
    ))
}
