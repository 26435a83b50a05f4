//! What the requests that change something share: a command is sent and handled, and what it has led to is answered.

use axum::extract::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode, header};
use message_store::handling::Executed;
use message_store::{NewMessage, Outcome};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::App;
use super::kept::Kept;
use super::preconditions::expected;
use super::problem::Problem;
use super::tracing::Trace;
use crate::{Command, Event, Money, Reason};

/// The header with the position that a query can wait for.
pub(super) const POSITION: &str = "account-position";

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

/// The version that a request expects of the account.
pub(super) async fn expected_of(app: &App, account: &str, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    expected(headers, app.accounts.entities().fetch(account).await?.state.version)
}

/// Sends the command, handles it, and answers what it has led to. An answer is returned as `Ok` if something was written for it.
pub(super) async fn execute(
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
            ("amount-not-positive", "The amount is not above zero", "give an amount above zero, under a new key or id")
        }
        Reason::AccountNotOpen => ("account-not-open", "The account is not open", "PUT /accounts/{account} opens it"),
        Reason::AccountClosed => ("account-closed", "The account is closed", "a closed account stays closed"),
        Reason::InvalidId => ("invalid-id", "The id is empty or too long", "give an id of 1 to 255 bytes"),
    };
    Problem::new(StatusCode::CONFLICT, name, title, detail)
}
