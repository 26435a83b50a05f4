//! The requests that open and close accounts.

use axum::extract::{Json, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::App;
use super::commands::{Body, Done, execute, expected_of};
use super::extract::At;
use super::openapi::{Refused, Unread};
use super::preconditions::expected;
use super::problem::Problem;
use super::tracing::Trace;
use crate::Command;

/// The body of a request to open an account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Opening {
    customer_id: String,
}

/// Opens an account. To open it again changes nothing.
#[utoipa::path(put, path = "/accounts/{account}", params(("account" = String, Path), ("If-Match" = Option<String>, Header)), request_body = Opening,
    responses(
        (status = 201, description = "It is done", body = Done), (status = 200, description = "It is as asked for", body = Done),
        (status = 412, description = "The account has another version than If-Match names", body = Problem, content_type = "application/problem+json"), Refused))]
pub(super) async fn open(
    State(app): State<App>,
    At(account): At<String>,
    headers: HeaderMap,
    body: Body<Opening>,
) -> Result<Response, Problem> {
    let Json(Opening { customer_id }) = body?;
    if headers.contains_key(header::IF_MATCH) {
        // To open an account that is there changes nothing, and one that is not there has no version.
        let state = &app.accounts.entities().fetch(&account).await?.state;
        let expected = expected(&headers, state.version)?;
        if state.opened.is_none() || !state.is_of_version(expected) {
            return Err(Problem::version_changed());
        }
    }
    let command = Command::Open { account_id: account.clone(), customer_id, time: Timestamp::now() };
    Ok(execute(&app, &account, command, (None, &Trace::of(&headers))).await?.into_response())
}

/// Closes an account. A closed account takes no deposits and no withdrawals. To close it again changes nothing.
#[utoipa::path(delete, path = "/accounts/{account}", params(("account" = String, Path), ("If-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "It is as asked for", body = Done),
        (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The account has another version than If-Match names", body = Problem, content_type = "application/problem+json"), Unread))]
pub(super) async fn close(
    State(app): State<App>,
    At(account): At<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let expected_version = expected_of(&app, &account, &headers).await?;
    let before = app.accounts.entities().fetch(&account).await?;
    let is_open = before.state.opened.is_some() && before.state.closed.is_none();
    // A version that the account does not have yet would be right later.
    if is_open && expected_version.is_some_and(|expected| expected > before.state.version) {
        return Err(Problem::version_changed());
    }
    let command = Command::Close { account_id: account.clone(), time: Timestamp::now(), expected_version };
    let kept = execute(&app, &account, command, (None, &Trace::of(&headers))).await?;
    if expected_version.is_some() && app.accounts.entities().fetch(&account).await?.state.closed.is_none() {
        return Err(Problem::version_changed());
    }
    Ok(kept.into_response())
}
