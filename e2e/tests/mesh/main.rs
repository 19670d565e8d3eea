//! What the mesh decides, seen from outside: charges, retries, cohorts, reloads, context.

mod balancing;
mod charges;
mod context;
mod ejection;
mod examples;
mod listeners;
mod reload;
mod retries;
mod sticky;
mod support;
