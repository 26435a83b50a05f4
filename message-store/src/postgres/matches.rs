//! Reads of the messages that make a condition fail.
//!
//! Problem: the messages and the positions up to which a read has looked must belong together. In two statements, what
//! is committed between them would be below the positions and not among the messages. Fix: one statement reads both, so
//! both come from one view of the database.

use super::append::Jsonb;
use super::connection::Connection;
use super::failure::backend;
use super::row::{get, message_in};
use super::sent_condition::SentCondition;
use crate::store::{Condition, LookedThrough, Matches};
use crate::{Category, GlobalPosition, Limits, Result, StreamName};

const MATCHES: &str = include_str!("sql/matches.sql");

pub(super) async fn matches(
    client: &Connection,
    condition: &Condition,
    limit: usize,
    limits: &Limits,
) -> Result<Matches> {
    let SentCondition { parts, categories } = SentCondition::new(condition)?;
    let names: Vec<&str> = categories.iter().map(Category::as_str).collect();
    let (rows, bytes) = (limits.rows(limit.max(1)), limits.bytes());
    let found = client
        .query(MATCHES, &[&Jsonb(&parts), &rows, &bytes, &names])
        .await
        .map_err(backend("reading the messages that match a query"))?;
    let (ends, found) = found.split_at(names.len().min(found.len()));
    let mut messages = Vec::with_capacity(found.len());
    for row in found {
        messages.extend(message_in(row)?);
    }
    let count: i64 = ends.first().map(|row| get(row, 3)).transpose()?.unwrap_or_default();
    let has_more = count >= rows || usize::try_from(count).is_ok_and(|count| count > messages.len());
    let last = messages.last().map(|last| last.global_position).filter(|_| has_more);
    let mut looked_through = LookedThrough::default();
    let mut seen = GlobalPosition::ZERO;
    for row in ends {
        // The name of a category is a stream name of that category.
        let category = StreamName::from_database(get::<&str>(row, 1)?).category();
        let end = GlobalPosition::new(get::<Option<i64>>(row, 4)?.unwrap_or_default());
        // A message of this category may still be written below the last match, which is of another category.
        let through = last.map_or(end, |last| last.min(end)).max(condition.after.of(&category));
        looked_through = looked_through.with(category, through);
        seen = seen.max(end);
    }
    client.record_seen(Some(seen));
    Ok(Matches::new(messages, looked_through, has_more))
}
