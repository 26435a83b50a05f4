//! Appends of a slot's owner, which are refused when the owner has lost the slot.
//!
//! Problem: a member of a group checks that it owns a slot, stands still, and then writes although another member has
//! taken the slot. Fix: the statement that appends checks the slot as its last step, and commits by itself. Why it is
//! right: the check locks the slot, so no other member can claim it before the commit, and between the check and the
//! commit the server needs nothing from the member.

use tokio_postgres::error::SqlState;

use super::append::{Arguments, InBatch, RACES, meaning, sent};
use super::connection::Connection;
use super::failure::is_race;
use crate::store::Fence;
use crate::{Appended, Error, Result};

const APPEND_WITH_FENCE: &str = include_str!("sql/append_with_fence.sql");
const APPEND_UNLESS_WITH_FENCE: &str = include_str!("sql/append_unless_with_fence.sql");
/// The code of the error with which `assert_slot` fails.
const SLOT_LOST: &str = "MS001";

pub(super) async fn append_with_fence(client: &Connection, append: InBatch<'_>, fence: &Fence) -> Result<Appended> {
    let (mut races, appends) = (0, append.0);
    loop {
        if !client.begin_writing(None).await.map_err(|error| meaning(error, appends))? {
            return Err(Error::HistoryChanged { store: client.place() });
        }
        let sent = send(client, append, fence).await;
        client.end_writing(sent.is_ok()).await.map_err(|error| meaning(error, appends))?;
        match sent {
            Ok(mut results) => {
                let nothing = || Err(Error::backend("appending with a fence", false, "the server returned no result"));
                return results.pop().flatten().unwrap_or_else(nothing);
            }
            Err(error) if is_slot_lost(&error) => return Err(fence.lost()),
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
    Fence { member, slot, epoch }: &Fence,
) -> Result<Vec<Option<Result<Appended>>>, tokio_postgres::Error> {
    let statement = if append.1.is_some() { APPEND_UNLESS_WITH_FENCE } else { APPEND_WITH_FENCE };
    let arguments = Arguments::new([append], |_| None, None);
    let fence: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&member.group, &i32::from(*slot), epoch, &member.id];
    let row = client.query_one(statement, &[&arguments.list()[..], &fence].concat()).await?;
    Ok(sent(&row, [append])?.results)
}
