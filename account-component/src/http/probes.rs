//! The probes of a platform.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::app::App;

/// The time in which the store must answer a probe: platforms do not wait for long.
const STORE_WITHIN: Duration = Duration::from_secs(2);

/// Whether the service works.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Probed {
    is_well: bool,
    /// Why not.
    reasons: Vec<String>,
}

/// Whether the process should go on.
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "It is well", body = Probed), (status = 503, description = "It is not, and why", body = Probed)))]
pub(super) async fn live(State(app): State<App>) -> Response {
    let health = app.component.as_ref().map(message_store::service::ServiceHandle::health);
    let is_well = health.as_ref().is_none_or(|health| health.is_live);
    answer(is_well, health.map(|health| health.reasons).unwrap_or_default())
}

/// Whether the service can take requests: the store answers, and the component handles commands.
#[utoipa::path(get, path = "/readyz", responses((status = 200, description = "It is well", body = Probed), (status = 503, description = "It is not, and why", body = Probed)))]
pub(super) async fn ready(State(app): State<App>) -> Response {
    let mut reasons = app.component.as_ref().map(|component| component.health().reasons).unwrap_or_default();
    match timeout(STORE_WITHIN, app.store.now()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => reasons.push(format!("the store does not answer: {error}")),
        Err(_) => reasons.push(format!("the store has not answered within {STORE_WITHIN:?}")),
    }
    answer(reasons.is_empty(), reasons)
}

fn answer(is_well: bool, reasons: Vec<String>) -> Response {
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Probed { is_well, reasons })).into_response()
}
