//! From a request to a bound name: identification, and binding through a dtab.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use heddle_core::config::Identifier;
use heddle_core::identify::{RequestView, identify_first};
use heddle_core::name::{Dtab, Global, MAX_DEPTH, Path, bind};
use std::hint::black_box;

struct Request;

impl RequestView for Request {
    fn method(&self) -> &str {
        "GET"
    }
    fn path(&self) -> &str {
        "/v1/accounts/17/balance"
    }
    fn query(&self) -> Option<&str> {
        None
    }
    fn http10(&self) -> bool {
        false
    }
    fn authority(&self) -> Option<&str> {
        Some("accounts.bank:8080")
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        (name == "x-name").then_some(b"/accounts/v1")
    }
    fn headers_all(&self, name: &str) -> Vec<&[u8]> {
        self.header(name).into_iter().collect()
    }
}

fn identification(criterion: &mut Criterion) {
    let path = Identifier::Path {
        segments: 2,
        consume: true,
    };
    for (name, identifier) in [
        ("host", Identifier::Host),
        ("header", Identifier::Header("x-name".to_owned())),
        ("path", path),
        ("method-host", Identifier::MethodHost { uri: false }),
    ] {
        let identifiers = [identifier];
        criterion.bench_function(&format!("identification/{name}"), |bencher| {
            bencher.iter(|| black_box(identify_first(&identifiers, black_box(&Request))));
        });
    }
}

/// A chain of rules in front of a weighted split, amid entries of other services.
fn binding(criterion: &mut Criterion) {
    let path = Path::parse("/svc/accounts").expect("a path");
    for entries in [4, 100, 1000] {
        let others: String = (4..entries)
            .map(|n| format!("/svc/other{n} => /$/inet/127.0.0.1/{n};"))
            .collect();
        let text = format!(
            "/host => /$/inet/127.0.0.1/80; /env/prod => /host; {others} \
             /svc => /env/prod; /svc/accounts => 95 * /$/inet/127.0.0.1/9001 & 5 * /env/prod"
        );
        let dtab = Dtab::parse(&text).expect("a dtab");
        criterion.bench_with_input(BenchmarkId::new("bind", entries), &dtab, |bencher, dtab| {
            bencher.iter(|| black_box(bind(dtab, &Global, black_box(&path), MAX_DEPTH)));
        });
    }
}

criterion_group!(benches, identification, binding);
criterion_main!(benches);
