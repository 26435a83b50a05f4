//! The requests that move money: deposits and withdrawals.

use axum::extract::{Json, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use message_store::handling::Decider as _;
use message_store::{Position, StreamRead};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::App;
use super::commands::{Body, Done, execute, expected_of};
use super::extract::At;
use super::kept::Kept;
use super::keys::{self, Work, key_of};
use super::openapi::Refused;
use super::problem::Problem;
use super::tracing::Trace;
use crate::{Account, Command, Money, transfer};

/// The body of a request to move money.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Amount {
    /// More than zero, with at most two digits after the point.
    #[schema(value_type = f64, example = 12.5)]
    amount: Money,
}

/// Deposits money. The path names the deposit: it is made once, however often it is asked for.
#[utoipa::path(put, path = "/accounts/{account}/deposits/{deposit}", params(("account" = String, Path), ("deposit" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that the account must have")),
    request_body = Amount,
    responses(
        (status = 201, description = "It is done", body = Done),
        (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is refused, or the first request with this key is being carried out", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The account has another version than If-Match names", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The id or the key was first used for another request", body = Problem, content_type = "application/problem+json"), Refused))]
pub(super) async fn deposit(
    State(app): State<App>,
    At(path): At<(String, String)>,
    headers: HeaderMap,
    body: Body<Amount>,
) -> Result<Response, Problem> {
    by_path(&app, Operation::Deposit, path, &headers, body).await
}

/// Deposits money. The key names the deposit: it is made once, and a request that is sent again gets the first answer.
#[utoipa::path(post, path = "/accounts/{account}/deposits",
    params(("account" = String, Path), ("Idempotency-Key" = String, Header, description = "The name of the intent, new for each: 1 to 255 bytes"), ("Prefer" = Option<String>, Header, description = "`wait=10`: how many seconds a request waits for an earlier one with its key that is being carried out"), ("If-Match" = Option<String>, Header, description = "The ETag that the account must have")),
    request_body = Amount,
    responses(
        (status = 201, description = "It is done", body = Done),
        (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is refused, or the first request with this key is being carried out", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The account has another version than If-Match names", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The id or the key was first used for another request", body = Problem, content_type = "application/problem+json"), Refused))]
pub(super) async fn deposit_by_key(
    State(app): State<App>,
    At(account): At<String>,
    headers: HeaderMap,
    body: Body<Amount>,
) -> Result<Response, Problem> {
    by_key(&app, Operation::Deposit, account, &headers, body).await
}

/// Withdraws money. The path names the withdrawal: it is made once, however often it is asked for.
#[utoipa::path(put, path = "/accounts/{account}/withdrawals/{withdrawal}", params(("account" = String, Path), ("withdrawal" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that the account must have")),
    request_body = Amount,
    responses(
        (status = 201, description = "It is done", body = Done),
        (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is refused, or the first request with this key is being carried out", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The account has another version than If-Match names", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The id or the key was first used for another request", body = Problem, content_type = "application/problem+json"), Refused))]
pub(super) async fn withdraw(
    State(app): State<App>,
    At(path): At<(String, String)>,
    headers: HeaderMap,
    body: Body<Amount>,
) -> Result<Response, Problem> {
    by_path(&app, Operation::Withdrawal, path, &headers, body).await
}

/// Withdraws money. The key names the withdrawal: it is made once, and a request that is sent again gets the first answer.
#[utoipa::path(post, path = "/accounts/{account}/withdrawals",
    params(("account" = String, Path), ("Idempotency-Key" = String, Header, description = "The name of the intent, new for each: 1 to 255 bytes"), ("Prefer" = Option<String>, Header, description = "`wait=10`: how many seconds a request waits for an earlier one with its key that is being carried out"), ("If-Match" = Option<String>, Header, description = "The ETag that the account must have")),
    request_body = Amount,
    responses(
        (status = 201, description = "It is done", body = Done),
        (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is refused, or the first request with this key is being carried out", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The account has another version than If-Match names", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The id or the key was first used for another request", body = Problem, content_type = "application/problem+json"), Refused))]
pub(super) async fn withdraw_by_key(
    State(app): State<App>,
    At(account): At<String>,
    headers: HeaderMap,
    body: Body<Amount>,
) -> Result<Response, Problem> {
    by_key(&app, Operation::Withdrawal, account, &headers, body).await
}

/// A deposit or a withdrawal.
#[derive(Clone, Debug)]
pub(super) struct Movement {
    operation: Operation,
    account: String,
    id: String,
    amount: Money,
    expects: Option<u64>,
    trace: Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Operation {
    Deposit,
    Withdrawal,
}

impl Movement {
    fn command(&self, expected_version: Option<u64>) -> Command {
        let (id, account_id, amount) = (self.id.clone(), self.account.clone(), self.amount);
        let time = Timestamp::now();
        match self.operation {
            Operation::Deposit => Command::Deposit { deposit_id: id, account_id, amount, time, expected_version },
            Operation::Withdrawal => {
                Command::Withdraw { withdrawal_id: id, account_id, amount, time, expected_version }
            }
        }
    }
}

impl Work for Movement {
    async fn carry_out(&self, app: &App) -> Result<Kept, Problem> {
        if transfer::is_reserved(&self.id) {
            return Err(Problem::reserved_id(&self.id));
        }
        if self.expects.is_none() {
            return self.execute(app, None).await;
        }
        // What was carried out before is a repeat, whatever the version is now.
        if !self.was_carried_out(app).await? {
            let version = app.accounts.entities().fetch(&self.account).await?.state.version;
            // A version that the account does not have yet would be right later.
            if self.expects.is_some_and(|expected| expected <= version) {
                let kept = self.execute(app, self.expects).await;
                if !matches!(&kept, Err(problem) if *problem == Problem::version_changed()) {
                    return kept;
                }
            }
            if !self.was_carried_out(app).await? {
                return Err(Problem::version_changed());
            }
        }
        self.execute(app, None).await
    }
}

impl Movement {
    async fn execute(&self, app: &App, expected_version: Option<u64>) -> Result<Kept, Problem> {
        let command = self.command(expected_version);
        execute(app, &self.account, command, (Some(self.id.clone()), &self.trace)).await
    }

    /// Whether the intent is reserved: whatever is sent for it then is a repeat.
    async fn was_carried_out(&self, app: &App) -> Result<bool, Problem> {
        let Some(intent) = Account::intent(&self.command(None)) else { return Ok(false) };
        let reserved = intent.stream(&self.account)?;
        let first = app.store.read_stream(&reserved, StreamRead::forwards_from(Position::FIRST).limit(1)).await?;
        Ok(!first.is_empty())
    }
}

/// Moves money, with the id that the path names.
async fn by_path(
    app: &App,
    operation: Operation,
    (account, id): (String, String),
    headers: &HeaderMap,
    body: Body<Amount>,
) -> Result<Response, Problem> {
    let Json(Amount { amount }) = body?;
    let expects = expected_of(app, &account, headers).await?;
    Ok(Movement { operation, account, id, amount, expects, trace: Trace::of(headers) }
        .carry_out(app)
        .await?
        .into_response())
}

/// Moves money, with the key as the id.
async fn by_key(
    app: &App,
    operation: Operation,
    account: String,
    headers: &HeaderMap,
    body: Body<Amount>,
) -> Result<Response, Problem> {
    let (id, Json(Amount { amount })) = (key_of(headers)?, body?);
    let request = message_store::Json::encode(&(operation, &account, amount))?;
    let expects = expected_of(app, &account, headers).await?;
    keys::once(
        app,
        &id.clone(),
        headers,
        &request,
        Movement { operation, account, id, amount, expects, trace: Trace::of(headers) },
    )
    .await
}
