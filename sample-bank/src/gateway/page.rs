//! The bank's page, compiled in.

use super::Gateway;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

/// Path, type and content of each file.
const FILES: [(&str, &str, &str); 8] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("../../page/index.html"),
    ),
    (
        "/app.css",
        "text/css; charset=utf-8",
        include_str!("../../page/app.css"),
    ),
    (
        "/app.js",
        "text/javascript; charset=utf-8",
        include_str!("../../page/app.js"),
    ),
    (
        "/api.js",
        "text/javascript; charset=utf-8",
        include_str!("../../page/api.js"),
    ),
    (
        "/face.js",
        "text/javascript; charset=utf-8",
        include_str!("../../page/face.js"),
    ),
    (
        "/feed.js",
        "text/javascript; charset=utf-8",
        include_str!("../../page/feed.js"),
    ),
    (
        "/money.js",
        "text/javascript; charset=utf-8",
        include_str!("../../page/money.js"),
    ),
    (
        "/shops.json",
        "application/json",
        include_str!("../../services/merchants.json"),
    ),
];

/// Only what this gateway serves runs on the page, and nobody frames it.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

pub(super) fn routes() -> Router<Gateway> {
    FILES
        .iter()
        .fold(Router::new(), |router, (path, kind, content)| {
            router.route(path, get(async || file(kind, content)))
        })
}

fn file(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, content).into_response()
}
