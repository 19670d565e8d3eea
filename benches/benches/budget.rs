//! What every request and every retry pays for the retry budget, accrual, and the hedging delay.

use criterion::{Criterion, criterion_group, criterion_main};
use heddle_core::accrual::{EndpointHealth, SetHealth};
use heddle_core::budget::RetryBudget;
use heddle_core::config::{Accrual, Budget};
use heddle_core::retry::hedge::LatencyTracker;
use std::hint::black_box;
use std::time::Duration;

fn budget(criterion: &mut Criterion) {
    let budget = RetryBudget::new(&Budget::default()).expect("the default is within bounds");
    let mut now = 0;
    criterion.bench_function("budget/deposit", |bencher| {
        bencher.iter(|| {
            now += 20_000;
            budget.deposit(black_box(now));
        });
    });
    criterion.bench_function("budget/withdraw", |bencher| {
        bencher.iter(|| {
            now += 20_000;
            black_box(budget.try_withdraw(black_box(now)))
        });
    });
}

fn health(criterion: &mut Criterion) {
    let (health, set, rules) = (
        EndpointHealth::new(0),
        SetHealth::new(3),
        Accrual::default(),
    );
    let mut now = 0;
    criterion.bench_function("accrual/success", |bencher| {
        bencher.iter(|| {
            now += 20_000;
            black_box(health.try_probe(now, &rules) && health.success(now, &rules, &set))
        });
    });
    let latencies = LatencyTracker::default();
    criterion.bench_function("hedge/record and ask", |bencher| {
        bencher.iter(|| {
            now += 20_000;
            latencies.record(now, Duration::from_micros(now / 1000 % 5000));
            black_box(latencies.percentile(95.0, now))
        });
    });
}

criterion_group!(benches, budget, health);
criterion_main!(benches);
