//! Pure. What customers do, from a seed.

use super::journal::Kind;
use super::people::People;
use super::random::Random;
use crate::demo::SHOPS;
use serde::Deserialize;
use serde_json::{Value, json};

/// Of a hundred requests: transfers, then card payments; the rest reads.
const TRANSFERS: u64 = 45;
const CARDS: u64 = 35;
/// One payment in so many is wrong in some way, and must be refused.
const WRONG: u64 = 25;
/// Largest amount of a transfer, in minor units.
const AMOUNT: u64 = 2_000;

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// Index of the customer.
    pub(super) customer: usize,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// Money that moves.
    pub(super) payment: Option<Payment>,
    /// For the report.
    pub(super) name: &'static str,
}

/// Money that moves, as the journal tells it.
#[derive(Debug, Clone)]
pub(super) struct Payment {
    pub(super) kind: Kind,
    pub(super) mark: String,
    pub(super) account: String,
    pub(super) to: Option<String>,
    pub(super) amount: i64,
    pub(super) currency: String,
}

impl Order {
    pub(super) fn is_transfer(&self) -> bool {
        self.payment
            .as_ref()
            .is_some_and(|payment| payment.kind == Kind::Transfer)
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Shop {
    id: String,
    descriptor: String,
    price: i64,
}

/// An endless list of orders.
#[derive(Debug)]
pub(super) struct Orders {
    people: People,
    shops: Vec<Shop>,
    random: Random,
    run: String,
    number: u64,
    /// Nothing but card payments.
    cards_only: bool,
}

impl Orders {
    pub(super) fn new(people: People, seed: u64, run: String) -> Self {
        Self {
            people,
            shops: serde_json::from_str(SHOPS).expect("the catalogue is compiled in"),
            random: Random::new(seed),
            run,
            number: 0,
            cards_only: false,
        }
    }

    /// Card payments and nothing else.
    pub(super) fn cards_only(self, cards_only: bool) -> Self {
        Self { cards_only, ..self }
    }

    pub(super) fn next(&mut self) -> Order {
        self.number += 1;
        let customer =
            usize::try_from(self.random.below(self.people.customers.len() as u64)).unwrap_or(0);
        let what = self.random.below(100);
        if self.cards_only {
            self.card(customer)
        } else if what < TRANSFERS {
            self.transfer(customer)
        } else if what < TRANSFERS + CARDS {
            self.card(customer)
        } else {
            self.look(customer)
        }
    }

    fn transfer(&mut self, customer: usize) -> Order {
        let (from, currency) = self.account(customer);
        let others = self.people.customers.len() as u64 - 1;
        let other = (customer + 1 + usize::try_from(self.random.below(others.max(1))).unwrap_or(0))
            % self.people.customers.len();
        let to = self.account(other).0;
        let amount = 1 + self.random.below(AMOUNT);
        let payment = self.maybe_wrong(Payment {
            kind: Kind::Transfer,
            mark: format!("load {}-{}", self.run, self.number),
            account: from,
            to: Some(to),
            amount: i64::try_from(amount).unwrap_or(1),
            currency,
        });
        Order {
            customer,
            method: "POST",
            path: "/v1/transfers".to_owned(),
            body: Some(json!({
                "from": payment.account, "to": payment.to, "amount": payment.amount,
                "currency": payment.currency, "reference": payment.mark,
            })),
            payment: Some(payment),
            name: "transfer",
        }
    }

    fn card(&mut self, customer: usize) -> Order {
        let account = &self.people.customers[customer].accounts[0];
        let card = account.card.clone();
        let shop = self.random.one(&self.shops).clone();
        let payment = Payment {
            kind: Kind::Card,
            mark: format!("{} {}-{}", shop.descriptor, self.run, self.number),
            account: account.id.clone(),
            to: None,
            amount: shop.price,
            currency: account.currency.clone(),
        };
        let payment = self.maybe_wrong(payment);
        Order {
            customer,
            method: "POST",
            path: "/v1/card-payments".to_owned(),
            body: Some(json!({
                "card": card, "merchant": shop.id, "descriptor": payment.mark, "amount": payment.amount,
                "currency": payment.currency,
            })),
            payment: Some(payment),
            name: "card payment",
        }
    }

    fn look(&mut self, customer: usize) -> Order {
        let account = self.account(customer).0;
        let (name, path) = match self.random.below(3) {
            0 => ("accounts", "/v1/accounts".to_owned()),
            1 => ("balance", format!("/v1/accounts/{account}")),
            _ => ("feed", format!("/v1/accounts/{account}/feed?limit=20")),
        };
        Order {
            customer,
            method: "GET",
            path,
            body: None,
            payment: None,
            name,
        }
    }

    /// Every now and then a customer asks for what cannot be.
    fn maybe_wrong(&mut self, mut payment: Payment) -> Payment {
        if self.random.below(WRONG) != 0 {
            return payment;
        }
        match self.random.below(4) {
            0 => payment.amount = 0,
            1 => payment.amount = -payment.amount,
            2 => payment.amount = crate::money::MOST,
            _ => payment.currency = "XYZ".to_owned(),
        }
        payment
    }

    /// The first account of a customer: all of the same currency.
    fn account(&self, customer: usize) -> (String, String) {
        let account = &self.people.customers[customer].accounts[0];
        (account.id.clone(), account.currency.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::people::{Account, Customer};
    use super::*;
    use std::collections::HashSet;

    fn orders(seed: u64) -> Vec<Order> {
        let customers = (0..5).map(|n| Customer {
            id: format!("cus-{n}"),
            name: n.to_string(),
            secret: String::new(),
            accounts: vec![Account {
                id: format!("acc-{n}"),
                currency: "EUR".to_owned(),
                card: format!("card-{n}"),
            }],
        });
        let people = People {
            customers: customers.collect(),
        };
        let mut orders = Orders::new(people, seed, "r".to_owned());
        (0..2000).map(|_| orders.next()).collect()
    }

    #[test]
    fn orders_follow_from_the_seed_and_have_marks_of_their_own() {
        let bodies = |seed| {
            orders(seed)
                .into_iter()
                .map(|order| order.body)
                .collect::<Vec<_>>()
        };
        assert_eq!(bodies(1), bodies(1));
        assert_ne!(bodies(1), bodies(2));
        let all = orders(3);
        let payments: Vec<_> = all
            .iter()
            .filter_map(|order| order.payment.as_ref())
            .collect();
        let marks: HashSet<_> = payments.iter().map(|payment| &payment.mark).collect();
        assert_eq!(marks.len(), payments.len());
        assert!(marks.iter().all(|mark| mark.len() <= 64));
        assert!(
            payments
                .iter()
                .all(|payment| payment.to.as_ref() != Some(&payment.account))
        );
        let wrong = payments
            .iter()
            .filter(|p| p.amount <= 0 || p.currency == "XYZ" || p.amount == crate::money::MOST);
        assert!((20..200).contains(&wrong.count()));
    }
}
