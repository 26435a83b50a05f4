//! Appends with more than messages: changes of timers, and the fence of a slot's owner. They share no transaction with
//! other appends.
//!
//! Problem: a member of a group checks that it owns a slot, stands still, and then writes although another member has
//! taken the slot. Fix: the statement that appends checks the slot as its last step, and commits by itself. Why it is
//! right: the check locks the slot, so no other member can claim it before the commit, and between the check and the
//! commit the server needs nothing from the member.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::append::{Arguments, InBatch, Jsonb, RACES, meaning, sent};
use super::connection::Connection;
use super::failure::is_race;
use crate::store::Fence;
use crate::{Appended, Error, Result};

pub(super) const APPEND_APART: &str = include_str!("sql/append_apart.sql");
pub(super) const APPEND_UNLESS_APART: &str = include_str!("sql/append_unless_apart.sql");
/// The code of the error with which `assert_slot` fails.
const SLOT_LOST: &str = "MS001";

/// What is carried out in the transaction of an append.
pub(super) struct Beside<'a> {
    /// The argument of `change_timers`.
    pub(super) timers: Option<&'a str>,
    pub(super) fence: Option<&'a Fence>,
}

pub(super) async fn append_apart(client: &Connection, append: InBatch<'_>, beside: &Beside<'_>) -> Result<Appended> {
    let (mut races, appends) = (0, append.0);
    loop {
        if !client.begin_writing(None).await.map_err(|error| meaning(error, appends))? {
            return Err(Error::HistoryChanged { store: client.place() });
        }
        let sent = send(client, append, beside).await;
        client.end_writing(sent.is_ok()).await.map_err(|error| meaning(error, appends))?;
        match sent {
            Ok(mut results) => {
                let nothing = || Err(Error::backend("appending", false, "the server returned no result"));
                return results.pop().flatten().unwrap_or_else(nothing);
            }
            Err(error) if is_slot_lost(&error) => {
                return Err(beside.fence.map_or_else(|| meaning(error, appends), Fence::lost));
            }
            Err(error) if races < RACES && error.as_db_error().is_some_and(is_race) => races += 1,
            Err(error) => return Err(meaning(error, appends)),
        }
    }
}

/// Whether the slot of a fence is lost.
pub(super) fn is_slot_lost(error: &tokio_postgres::Error) -> bool {
    error.code().map(SqlState::code) == Some(SLOT_LOST)
}

async fn send(
    client: &Connection,
    append: InBatch<'_>,
    Beside { timers, fence }: &Beside<'_>,
) -> Result<Vec<Option<Result<Appended>>>, tokio_postgres::Error> {
    let statement = if append.1.is_some() { APPEND_UNLESS_APART } else { APPEND_APART };
    let arguments = Arguments::new([append], |_| None, None);
    let timers = timers.map(Jsonb);
    let group = fence.map(|fence| &fence.member.group);
    let slot = fence.map(|fence| i32::from(fence.slot));
    let (epoch, member) = (fence.map(|fence| fence.epoch), fence.map(|fence| fence.member.id));
    let beside: [&(dyn ToSql + Sync); 5] = [&timers, &group, &slot, &epoch, &member];
    let row = client.query_one(statement, &[&arguments.list()[..], &beside].concat()).await?;
    Ok(sent(&row, [append])?.results)
}
