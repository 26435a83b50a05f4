//! Transfers over HTTP: a request starts one, and the process manager carries it out.

use axum::extract::{Json, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use message_store::{Append, MessageId, MessageStoreExt as _, NewMessage, Position, StreamRead};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::app::App;
use super::commands::Body;
use super::extract::At;
use super::kept::Kept;
use super::keys::{self, PAUSE, Work, key_of, wait_of};
use super::openapi::{Refused, Unread};
use super::problem::Problem;
use super::tracing::Trace;
use crate::messages::{MAX_ACCOUNT_ID_BYTES, MAX_ID_BYTES};
use crate::transfer::messages::Received;
use crate::transfer::{self, Stage, Transfer};
use crate::{Money, component};

/// The longest id of a transfer, in bytes: those of its withdrawal and its deposits are longer.
const MAX_TRANSFER_ID_BYTES: usize = MAX_ID_BYTES - 16;

/// The body of a request to transfer money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The account from which the money is withdrawn.
    from: String,
    /// The account to which it is deposited.
    to: String,
    /// More than zero, with at most two digits after the point.
    #[schema(value_type = f64, example = 12.5)]
    amount: Money,
}

/// A transfer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownTransfer {
    transfer_id: String,
    from: String,
    to: String,
    #[schema(value_type = f64)]
    amount: Money,
    /// How far it has come: `withdrawing`, `timedOut`, `depositing` or `refunding`. It ends with `transferred`, `cancelled`,
    /// `refunded` or `stuck`.
    stage: String,
    /// The command that came first, if this one was a repeat of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_of: Option<String>,
}

/// Transfers money. The path names the transfer: it is made once, however often it is asked for.
#[utoipa::path(put, path = "/transfers/{transfer}", params(("transfer" = String, Path)), request_body = Order,
    responses(
        (status = 202, description = "It has begun", body = ShownTransfer), (status = 200, description = "It is as asked for", body = ShownTransfer),
        (status = 422, description = "The id or the key was first used for another request", body = Problem, content_type = "application/problem+json"), Refused))]
pub(super) async fn order(
    State(app): State<App>,
    At(transfer): At<String>,
    headers: HeaderMap,
    body: Body<Order>,
) -> Result<Response, Problem> {
    let Json(order) = body?;
    Ok(Ordered { id: transfer, order, trace: Trace::of(&headers) }.carry_out(&app).await?.into_response())
}

/// Transfers money. The key names the transfer: it is made once, and a request that is sent again gets the first answer.
#[utoipa::path(post, path = "/transfers",
    params(("Idempotency-Key" = String, Header, description = "The name of the intent, new for each: 1 to 255 bytes"), ("Prefer" = Option<String>, Header, description = "`wait=10`: how many seconds a request waits for an earlier one with its key that is being carried out")), request_body = Order,
    responses(
        (status = 202, description = "It has begun", body = ShownTransfer), (status = 200, description = "It is as asked for", body = ShownTransfer),
        (status = 409, description = "It is refused, or the first request with this key is being carried out", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The id or the key was first used for another request", body = Problem, content_type = "application/problem+json"), Refused))]
pub(super) async fn order_by_key(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body<Order>,
) -> Result<Response, Problem> {
    let (id, Json(order)) = (key_of(&headers)?, body?);
    let request = message_store::Json::encode(&("transfer", &order))?;
    keys::once(&app, &id.clone(), &headers, &request, Ordered { id, order, trace: Trace::of(&headers) }).await
}

/// Shows a transfer. With `Prefer: wait=10`, the answer waits until the transfer has ended.
#[utoipa::path(get, path = "/transfers/{transfer}",
    params(("transfer" = String, Path), ("Prefer" = Option<String>, Header, description = "`wait=10`: how many seconds the answer waits until the transfer has ended")),
    responses(
        (status = 200, description = "It is as asked for", body = ShownTransfer),
        (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"), Unread))]
pub(super) async fn show(
    State(app): State<App>,
    At(transfer): At<String>,
    headers: HeaderMap,
) -> Result<Json<ShownTransfer>, Problem> {
    let until = Instant::now() + wait_of(&headers);
    loop {
        let found = &app.transfers.processes().fetch(&transfer).await?.state;
        if found.stage == Stage::Absent {
            return Err(Problem::no_transfer(&transfer));
        }
        if has_ended(found.stage) || Instant::now() >= until {
            return Ok(Json(shown(found, None)?));
        }
        sleep(PAUSE).await;
    }
}

/// An order, with the id of its transfer.
#[derive(Clone, Debug)]
struct Ordered {
    id: String,
    order: Order,
    trace: Trace,
}

impl Work for Ordered {
    async fn carry_out(&self, app: &App) -> Result<Kept, Problem> {
        let Self { id, order, trace } = self;
        self.check()?;
        let message = NewMessage::from_variant(&Received::Transfer {
            transfer_id: id.clone(),
            withdrawal_account_id: order.from.clone(),
            deposit_account_id: order.to.clone(),
            amount: order.amount,
            time: Timestamp::now(),
        })?;
        let (message_id, message) = (message.id, trace.on(message)?);
        app.store.append_settled(Append::to(transfer::command_stream(id)?).message(message)).await?;
        // If this process stops here, the consumer of the commands carries it out.
        let sent = app.store.message(message_id).await?.ok_or_else(Problem::gone)?;
        let _ = app.transfers.react(&sent).await?;
        let found = &app.transfers.processes().fetch(id).await?.state;
        if *order != Order::of(found) {
            return Err(Problem::other_payload(format!("{id:?} was first used for another transfer; use a new id")));
        }
        let repeat_of = first_order(app, id).await?.filter(|first| *first != message_id).map(|first| first.to_string());
        let status = if has_ended(found.stage) { StatusCode::OK } else { StatusCode::ACCEPTED };
        let place = format!("/transfers/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        let body = message_store::Json::encode(&shown(found, repeat_of)?)?;
        Ok(Kept {
            status: status.as_u16(),
            headers: vec![(header::LOCATION.to_string(), place)],
            is_problem: false,
            body,
        })
    }
}

impl Order {
    fn of(transfer: &Transfer) -> Self {
        let (from, to) = (transfer.withdrawal_account_id.clone(), transfer.deposit_account_id.clone());
        Self { from, to, amount: transfer.amount }
    }
}

impl Ordered {
    /// Refuses what no account could carry out: once it is sent, it is too late.
    fn check(&self) -> Result<(), Problem> {
        let Self { id, order, .. } = self;
        for account in [&order.from, &order.to] {
            let stream = component::command_stream(account)?;
            if stream.cardinal_id() != Some(account) || account.len() > MAX_ACCOUNT_ID_BYTES {
                let detail = format!(
                    "{account:?} is no id of an account: it has a `+`, or more than {MAX_ACCOUNT_ID_BYTES} bytes"
                );
                return Err(Problem::invalid(detail));
            }
        }
        if transfer::command_stream(id)?.cardinal_id() != Some(id) || id.len() > MAX_TRANSFER_ID_BYTES {
            let detail =
                format!("{id:?} is no id of a transfer: it has a `+`, or more than {MAX_TRANSFER_ID_BYTES} bytes");
            return Err(Problem::invalid(detail));
        }
        if order.from == order.to {
            return Err(Problem::invalid("a transfer has two accounts"));
        }
        if !order.amount.is_positive() {
            return Err(Problem::invalid("the amount of a transfer is above zero"));
        }
        Ok(())
    }
}

/// The command that has begun the transfer: its first event names it as its cause.
async fn first_order(app: &App, id: &str) -> Result<Option<MessageId>, Problem> {
    let at = |position| StreamRead::forwards_from(position).limit(1);
    let stream = app.transfers.processes().stream(id)?;
    let Some(initiated) = app.store.read_stream(&stream, at(Position::FIRST)).await?.pop() else { return Ok(None) };
    let Some(position) = initiated.decode_metadata().causation_message_position else { return Ok(None) };
    let first = app.store.read_stream(&transfer::command_stream(id)?, at(position)).await?.pop();
    Ok(first.map(|first| first.id))
}

const fn has_ended(stage: Stage) -> bool {
    matches!(stage, Stage::Transferred | Stage::Cancelled | Stage::Refunded | Stage::Stuck)
}

fn shown(transfer: &Transfer, repeat_of: Option<String>) -> Result<ShownTransfer, Problem> {
    let Transfer { transfer_id, withdrawal_account_id, deposit_account_id, amount, stage, .. } = transfer.clone();
    let stage = match stage {
        Stage::Absent => return Err(Problem::no_transfer(&transfer_id)),
        Stage::Withdrawing => "withdrawing",
        Stage::TimedOut => "timedOut",
        Stage::Depositing => "depositing",
        Stage::Refunding => "refunding",
        Stage::Transferred => "transferred",
        Stage::Cancelled => "cancelled",
        Stage::Refunded => "refunded",
        Stage::Stuck => "stuck",
    };
    let stage = stage.to_owned();
    Ok(ShownTransfer { transfer_id, from: withdrawal_account_id, to: deposit_account_id, amount, stage, repeat_of })
}
