//! The requests that move money, and open and close accounts.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Json, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use message_store::handling::{Decider as _, Executed};
use message_store::{NewMessage, Outcome, Position, StreamRead};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::App;
use super::extract::At;
use super::kept::Kept;
use super::keys::{self, Work, key_of};
use super::openapi::{Refused, Unread};
use super::preconditions::expected;
use super::problem::Problem;
use super::tracing::Trace;
use crate::{Account, Command, Event, Money, Reason, transfer};

/// The header with the position that a query can wait for.
pub(super) const POSITION: &str = "account-position";

/// The body of a request to open an account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Opening {
    customer_id: String,
}

/// The body of a request to move money.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Amount {
    /// More than zero, with at most two digits after the point.
    #[schema(value_type = f64, example = 12.5)]
    amount: Money,
}

/// What a request has led to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    /// The account.
    account_id: String,
    /// The id of the deposit or of the withdrawal.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// `opened`, `deposited`, `withdrawn`, `closed`, or `unchanged` if it was so before.
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    amount: Option<Money>,
    /// The command that came first, if this one was a repeat of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_of: Option<String>,
}

pub(super) type Body<T> = Result<Json<T>, JsonRejection>;

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

/// Deposits money. The path names the deposit: it is made once, however often it is asked for.
#[utoipa::path(put, path = "/accounts/{account}/deposits/{deposit}", params(("account" = String, Path), ("deposit" = String, Path), ("If-Match" = Option<String>, Header)),
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
    params(("account" = String, Path), ("Idempotency-Key" = String, Header), ("Prefer" = Option<String>, Header), ("If-Match" = Option<String>, Header)),
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
#[utoipa::path(put, path = "/accounts/{account}/withdrawals/{withdrawal}", params(("account" = String, Path), ("withdrawal" = String, Path), ("If-Match" = Option<String>, Header)),
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
    params(("account" = String, Path), ("Idempotency-Key" = String, Header), ("Prefer" = Option<String>, Header), ("If-Match" = Option<String>, Header)),
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

/// The version that a request expects of the account.
async fn expected_of(app: &App, account: &str, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    expected(headers, app.accounts.entities().fetch(account).await?.state.version)
}

/// Sends the command, handles it, and answers what it has led to. An answer is returned as `Ok` if something was written for it.
async fn execute(
    app: &App,
    account: &str,
    command: Command,
    (id, trace): (Option<String>, &Trace),
) -> Result<Kept, Problem> {
    let is_open = matches!(command, Command::Open { .. });
    if !is_open && app.accounts.entities().fetch(account).await?.state.opened.is_none() {
        return Err(Problem::no_account(account));
    }
    let expects = command.expected_version().is_some();
    let executed = app.accounts.execute(account, trace.on(NewMessage::from_variant(&command)?)?).await?;
    if let Outcome::Conflict { original } = &executed.outcome {
        let named = id.unwrap_or_default();
        return Err(Problem::other_payload(format!(
            "{named:?} was first used by the message at {original}, with another content"
        )));
    }
    // On another version than the command expects, it leads to no event.
    if executed.events.is_empty() && !executed.has_erased && expects && id.is_some() {
        return Err(Problem::version_changed());
    }
    answer(account, id.as_deref(), &executed)
}

fn answer(account: &str, id: Option<&str>, executed: &Executed<Event>) -> Result<Kept, Problem> {
    // (A command that the consumer has handled first is none.)
    let repeat_of = match &executed.outcome {
        Outcome::Duplicate { original } => Some(original.id.to_string()),
        _ => None,
    };
    let headers = vec![(POSITION.to_owned(), executed.last.to_string())];
    let done = |what: &str, amount: Option<Money>| {
        let done = Done {
            account_id: account.to_owned(),
            id: id.map(str::to_owned),
            what: what.to_owned(),
            amount,
            repeat_of: repeat_of.clone(),
        };
        (StatusCode::CREATED, done)
    };
    let (status, body) = match executed.events.first() {
        Some(Event::Opened { .. }) => done("opened", None),
        Some(Event::Deposited { amount, .. }) => done("deposited", Some(*amount)),
        Some(Event::Withdrawn { amount, .. }) => done("withdrawn", Some(*amount)),
        Some(Event::Closed { .. }) => (StatusCode::OK, done("closed", None).1),
        Some(Event::DepositRejected { reason, .. } | Event::WithdrawalRejected { reason, .. }) => {
            let problem = rejection(*reason);
            let status = problem.status;
            return Ok(Kept { status, headers, is_problem: true, body: message_store::Json::encode(&problem)? });
        }
        // The account was opened or closed before.
        None => (StatusCode::OK, done("unchanged", None).1),
    };
    Ok(Kept { status: status.as_u16(), headers, is_problem: false, body: message_store::Json::encode(&body)? })
}

/// A rejection is an event, so the answer stays the same.
fn rejection(reason: Reason) -> Problem {
    let (name, title, detail) = match reason {
        Reason::InsufficientFunds => {
            ("insufficient-funds", "The balance is below the amount", "deposit money, and withdraw it under a new id")
        }
        Reason::AmountNotPositive => {
            ("amount-not-positive", "The amount is not above zero", "give an amount above zero")
        }
        Reason::AccountNotOpen => ("account-not-open", "The account is not open", "PUT /accounts/{account} opens it"),
        Reason::AccountClosed => ("account-closed", "The account is closed", "a closed account stays closed"),
        Reason::InvalidId => ("invalid-id", "The id is empty or too long", "give an id of 1 to 255 bytes"),
    };
    Problem::new(StatusCode::CONFLICT, name, title, detail)
}
