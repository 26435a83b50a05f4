//! The description of the service (`OpenAPI` 3.1).

use axum::Json;
use utoipa::OpenApi;

use super::{commands, probes, queries};

#[derive(OpenApi)]
#[openapi(
    info(title = "Accounts", description = "Deposits, withdrawals and balances. Each intent takes effect once."),
    paths(
        commands::open,
        commands::close,
        commands::deposit,
        commands::deposit_by_key,
        commands::withdraw,
        commands::withdraw_by_key,
        queries::account,
        queries::statement,
        queries::days,
        probes::live,
        probes::ready
    )
)]
struct Document;

/// The description.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
