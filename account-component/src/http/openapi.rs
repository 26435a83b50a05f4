//! The description of the service (`OpenAPI` 3.1).

use axum::Json;
use utoipa::{IntoResponses, OpenApi};

use super::problem::Problem;
use super::{accounts, metrics, movements, probes, queries, transfers};

/// What every request with a body may be answered.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it only describes answers")]
pub(super) enum Refused {
    /// The request is not valid
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is no JSON
    #[response(status = 415, content_type = "application/problem+json")]
    NoJson(Problem),
    /// The service has failed
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(Problem),
    /// The store does not answer, or the request took too long: it can be sent again
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// What every request without a body may be answered.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it only describes answers")]
pub(super) enum Unread {
    /// The request is not valid
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The service has failed
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(Problem),
    /// The store does not answer, or the request took too long: it can be sent again
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Accounts", description = "Deposits, withdrawals and balances. Each intent takes effect once."),
    paths(
        accounts::open,
        accounts::close,
        movements::deposit,
        movements::deposit_by_key,
        movements::withdraw,
        movements::withdraw_by_key,
        transfers::order,
        transfers::order_by_key,
        transfers::show,
        queries::account,
        queries::statement,
        queries::days,
        probes::live,
        probes::ready,
        metrics::show
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
