//! What people see of a running proxy: the dashboard, `heddle top`, `heddle routes`.

mod browser;
mod commands;
mod pages;
mod support;
