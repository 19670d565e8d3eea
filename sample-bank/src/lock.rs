//! The service `lock`.

mod lease;

pub use lease::Lease;

use crate::Failure;
use crate::settings::Settings;
use crate::web::{Service, Stop};
use axum::Router;

/// Runs the service until it is told to stop.
///
/// # Errors
///
/// It cannot start.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    Service::new("lock", Router::new())
        .serve(&settings, Stop::on_signal()?)
        .await
}
