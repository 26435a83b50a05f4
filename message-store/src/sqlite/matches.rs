//! Searches for the messages that make a condition fail.
//!
//! The database finds candidates, in the order of their global positions: by their tags, by the streams of the cardinal
//! id, or by the category. Each is compared with the condition here, because SQLite's own functions read some texts that
//! are no JSON, and take the first of two equal keys. There is one writer at a time, so a writer that has begun its
//! transaction sees every message that can make its condition fail.

use rusqlite::{Connection, Params};

use super::read::message_in;
use crate::store::{Condition, ConditionPart, LookedThrough, Matches};
use crate::{GlobalPosition, Limits, Message, Tag};

const TAGGED: &str = include_str!("sql/match_tagged.sql");
const ENTITY: &str = include_str!("sql/match_entity.sql");
const CATEGORY: &str = include_str!("sql/match_category.sql");
const END: &str = include_str!("sql/end.sql");

/// The first message that makes the condition fail.
pub(super) fn first_match(connection: &Connection, condition: &Condition) -> rusqlite::Result<Option<Message>> {
    Ok(candidates(connection, condition, (1, usize::MAX))?.0.into_iter().next())
}

/// The messages that make the condition fail, at most `limit` of them.
pub(super) fn matches(
    connection: &Connection,
    condition: &Condition,
    limit: usize,
    limits: &Limits,
) -> rusqlite::Result<Matches> {
    // The messages and the end belong together.
    let view = connection.unchecked_transaction()?;
    let limit = limit.clamp(1, limits.batch_messages);
    let end: Option<i64> = view.prepare_cached(END)?.query_row([], |row| row.get(0))?;
    let (found, is_cut) = candidates(&view, condition, (limit + 1, limits.batch_bytes))?;
    let count = found.len();
    let mut messages = limits.cut(found);
    messages.truncate(limit);
    let has_more = is_cut || messages.len() < count;
    let last = messages.last().map(|last| last.global_position).filter(|_| has_more);
    let through = last.unwrap_or(GlobalPosition::new(end.unwrap_or_default()));
    // A position that the caller names may be above the end.
    let categories = condition.query.categories().into_iter();
    let looked_through = categories.fold(LookedThrough::from(through), |looked_through, category| {
        looked_through.with(category.clone(), through.max(condition.after.of(category)))
    });
    Ok(Matches::new(messages, looked_through, has_more))
}

/// At least the first messages that make the condition fail, in order, each once: as many as asked for, or until they have
/// so many bytes.
fn candidates(
    connection: &Connection,
    condition: &Condition,
    (count, bytes): (usize, usize),
) -> rusqlite::Result<(Vec<Message>, bool)> {
    let (mut found, mut is_cut) = (Vec::<Message>::new(), false);
    for part in condition.parts() {
        let ConditionPart { category, after, types, cardinal_id, tags } = part;
        let (after, types) = (after.get(), types.map(json).transpose()?);
        let taken = match (tags, cardinal_id) {
            (Some(tags), _) => {
                let first = tags.first().map(Tag::as_str);
                take(connection, TAGGED, (category, after, types, json(tags)?, first), condition, (count, bytes))?
            }
            (None, Some(id)) => {
                // The entity's own stream, and those whose names go on with a plus sign. (The comma is the character
                // after it.)
                let own = format!("{category}-{id}");
                let (from, to) = (format!("{own}+"), format!("{own},"));
                take(connection, ENTITY, (category, after, types, own, from, to), condition, (count, bytes))?
            }
            (None, None) => take(connection, CATEGORY, (category, after, types), condition, (count, bytes))?,
        };
        found.extend(taken.0);
        is_cut |= taken.1;
    }
    found.sort_unstable_by_key(|message| message.global_position);
    found.dedup_by_key(|message| message.global_position);
    Ok((found, is_cut))
}

/// The first messages of a search that make the condition fail.
fn take(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    condition: &Condition,
    (count, bytes): (usize, usize),
) -> rusqlite::Result<(Vec<Message>, bool)> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let (mut taken, mut size) = (Vec::new(), 0);
    while taken.len() < count && size <= bytes {
        let Some(row) = rows.next()? else { return Ok((taken, false)) };
        let message = message_in(row)?;
        if condition.is_failed_by(&message) {
            size += message.data.len() + message.metadata.len();
            taken.push(message);
        }
    }
    Ok((taken, true))
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
