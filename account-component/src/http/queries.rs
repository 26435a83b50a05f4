//! The requests that read.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use message_store::{Error, GlobalPosition, Position, StreamRead};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::extract::At;
use super::openapi::Unread;
use super::preconditions::tag;
use super::problem::Problem;
use crate::read_models::DailySums;
use crate::{Account, Event, Money};

/// The greatest number of entries of a page.
const PAGE: usize = 100;
/// The read model of the days.
const NAME: &str = "account_daily_sums";
/// How long a query waits for a position.
const WAIT: Duration = Duration::from_secs(5);

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownAccount {
    account_id: String,
    #[schema(value_type = f64)]
    balance: Money,
    #[schema(value_type = String, format = DateTime)]
    opened: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    closed: Option<Timestamp>,
    /// The number of events of the account. It is the `ETag`.
    version: u64,
}

/// Shows an account. The `ETag` is its version.
#[utoipa::path(get, path = "/accounts/{account}", params(("account" = String, Path)),
    responses(
        (status = 200, description = "It is as asked for", body = ShownAccount),
        (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"), Unread))]
pub(super) async fn account(State(app): State<App>, At(account): At<String>) -> Result<Response, Problem> {
    let Account { balance, opened, closed, version } = app.accounts.entities().fetch(&account).await?.state;
    let Some(opened) = opened else { return Err(Problem::no_account(&account)) };
    let shown = ShownAccount { account_id: account, balance, opened, closed, version };
    Ok(([(header::ETAG, tag(version))], Json(shown)).into_response())
}

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageOf {
    /// Show what follows this entry. Default: from the beginning.
    after: Option<i64>,
    /// The greatest number of entries (100).
    limit: Option<usize>,
}

/// A part of a statement.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct StatementPage {
    entries: Vec<Entry>,
    /// The `after` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// An event of an account, as its owner reads it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Entry {
    number: i64,
    /// `opened`, `deposited`, `depositRejected`, `withdrawn`, `withdrawalRejected` or `closed`.
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    amount: Option<Money>,
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
}

/// Shows what has happened to an account, a page at a time.
#[utoipa::path(get, path = "/accounts/{account}/statement", params(("account" = String, Path), PageOf),
    responses(
        (status = 200, description = "It is as asked for", body = StatementPage),
        (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"), Unread))]
pub(super) async fn statement(
    State(app): State<App>,
    At(account): At<String>,
    page: Result<Query<PageOf>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<StatementPage>, Problem> {
    let Query(PageOf { after, limit }) = page?;
    let stream = app.accounts.entities().stream(&account)?;
    let from = after.map_or(Position::FIRST, |after| Position::new(after.clamp(-1, i64::MAX - 1) + 1));
    let read = StreamRead::forwards_from(from).limit(limit.unwrap_or(PAGE).clamp(1, PAGE));
    let batch = app.store.read_stream_batch(&stream, read).await?;
    if batch.messages.is_empty() && app.accounts.entities().fetch(&account).await?.state.opened.is_none() {
        return Err(Problem::no_account(&account));
    }
    let next = batch.messages.last().filter(|_| !batch.is_end).map(|last| last.position.get());
    let mut entries = Vec::new();
    for message in batch.messages {
        if let Some(event) = message.decode_variant::<Event>()? {
            entries.push(entry(message.position.get(), event));
        }
    }
    Ok(Json(StatementPage { entries, next }))
}

fn entry(number: i64, event: Event) -> Entry {
    let (what, id, amount, time) = match event {
        Event::Opened { time, .. } => ("opened", None, None, time),
        Event::Deposited { deposit_id, amount, time, .. } => ("deposited", Some(deposit_id), Some(amount), time),
        Event::DepositRejected { deposit_id, amount, time, .. } => {
            ("depositRejected", Some(deposit_id), Some(amount), time)
        }
        Event::Withdrawn { withdrawal_id, amount, time, .. } => ("withdrawn", Some(withdrawal_id), Some(amount), time),
        Event::WithdrawalRejected { withdrawal_id, amount, time, .. } => {
            ("withdrawalRejected", Some(withdrawal_id), Some(amount), time)
        }
        Event::Closed { time, .. } => ("closed", None, None, time),
    };
    Entry { number, what: what.to_owned(), id, amount, time }
}

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AsOf {
    /// Wait until everything up to this position is shown: the `account-position` of an answer.
    position: Option<i64>,
}

/// The money that was moved on a day, in UTC.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Day {
    #[serde(rename = "day")]
    date: String,
    #[schema(value_type = f64)]
    deposits: Money,
    #[schema(value_type = f64)]
    withdrawals: Money,
}

/// Shows the sums of each day, of all accounts.
#[utoipa::path(get, path = "/days", params(AsOf), responses((status = 200, description = "It is as asked for", body = [Day]), Unread))]
pub(super) async fn days(
    State(app): State<App>,
    as_of: Result<Query<AsOf>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<Day>>, Problem> {
    let Query(AsOf { position }) = as_of?;
    let read_models = app.store.read_models().ok_or_else(Problem::not_shown_yet)?;
    if let Some(position) = position {
        read_models.wait_for(NAME, GlobalPosition::new(position), WAIT).await.map_err(|error| match error {
            Error::ReadModelBehind { .. } => Problem::not_shown_yet(),
            other => other.into(),
        })?;
    }
    // No component has run on this store yet.
    if read_models.versions(Some(NAME)).await?.is_empty() {
        return Err(Problem::not_shown_yet());
    }
    let sums = DailySums::all(&app.store).await?;
    Ok(Json(
        sums.into_iter()
            .map(|sum| Day { date: sum.day, deposits: sum.deposits, withdrawals: sum.withdrawals })
            .collect(),
    ))
}
