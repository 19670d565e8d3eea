//! The demo's customers: one for the page, and those whom `heddle-bank load` plays.

use super::stage::Stage;
use crate::load::people::{Account, Customer, People};
use crate::{Failure, say};
use serde_json::{Value, json};

/// Names of customers; the first is the page's.
const NAMES: [&str; 24] = [
    "Ada", "Bela", "Cato", "Dora", "Emil", "Fenja", "Gero", "Hilde", "Ivo", "Jule", "Karl",
    "Lotte", "Milo", "Nora", "Otto", "Paula", "Quirin", "Rosa", "Silas", "Tilda", "Udo", "Vera",
    "Willem", "Yara",
];
/// What an account begins with, in minor units: enough for a long load.
const OPENING: i64 = 5_000_000;
/// Limit of a card for one payment, in minor units.
const LIMIT: i64 = 20_000;

/// Makes the customers, or reads those that the state has already.
///
/// # Errors
///
/// The bank does not take them.
pub(super) async fn people(stage: &Stage) -> Result<People, Failure> {
    if let Some(known) = People::read(&stage.state)? {
        return Ok(known);
    }
    say(format_args!(
        "opening accounts for {} customers",
        NAMES.len()
    ));
    let mut customers = Vec::with_capacity(NAMES.len());
    for (number, name) in NAMES.into_iter().enumerate() {
        customers.push(open(stage, name, number == 0).await?);
    }
    let people = People { customers };
    people.write(&stage.state)?;
    Ok(people)
}

async fn open(stage: &Stage, name: &str, has_two: bool) -> Result<Customer, Failure> {
    let made = stage
        .persist("POST", "http://accounts/customers", &json!({"name": name}))
        .await?;
    let id = text(&made, "id")?;
    let mut accounts = Vec::new();
    let currencies: &[&str] = if has_two { &["EUR", "JPY"] } else { &["EUR"] };
    for currency in currencies {
        let url = format!("http://accounts/customers/{id}/accounts");
        let opening = json!({"currency": currency, "opening": OPENING});
        let account = text(&stage.persist("POST", &url, &opening).await?, "id")?;
        let url = format!("http://accounts/accounts/{account}/cards");
        let card = stage
            .persist("POST", &url, &json!({"limit": LIMIT}))
            .await?;
        accounts.push(Account {
            id: account,
            currency: (*currency).to_owned(),
            card: text(&card, "id")?,
        });
    }
    Ok(Customer {
        id,
        name: name.to_owned(),
        secret: text(&made, "secret")?,
        accounts,
    })
}

fn text(answer: &Value, field: &str) -> Result<String, Failure> {
    let found = answer.get(field).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| Failure::new(format!("accounts answered without `{field}`: {answer}")))
}
