//! The statement that appends a batch, in one round trip and one commit.

use std::collections::{BTreeSet, HashMap};

use bytes::BytesMut;
use serde::Deserialize;
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::failure::{self, Meaning, is_unanswered};
use super::prepared::Prepared;
use super::sent_condition::SentCondition;
use crate::{
    Append, Appended, Category, Error, ExpectedVersion, GlobalPosition, MessageId, MessageRef, Place, Position, Result,
    StreamName, Version,
};

pub(super) const APPEND: &str = include_str!("sql/append.sql");
/// For batches in which an append has a condition.
const APPEND_UNLESS: &str = include_str!("sql/append_unless.sql");

/// The number of times that a batch is sent again after a race. Two appends in different categories can race for one
/// id; the second one then finds the id taken. A transaction of another program may lock categories in another order
/// than this library does. One repeat is enough unless the winner rolls back.
pub(super) const RACES: usize = 5;

/// The arguments of `append_messages`, or of `append_messages_unless` if there are conditions.
#[derive(Debug, Default)]
pub(super) struct Arguments<'a> {
    stream_names: Vec<&'a str>,
    known_positions: Vec<Option<i64>>,
    append_parts: Vec<i32>,
    part_streams: Option<Vec<i32>>,
    part_expected_versions: Vec<Option<i64>>,
    part_sizes: Option<Vec<i32>>,
    ids: Vec<Uuid>,
    types: Vec<&'a str>,
    data: Vec<Option<Jsonb<'a>>>,
    metadata: Vec<Option<Jsonb<'a>>>,
    wait_for: Option<&'a str>,
    /// Empty if no append has a condition.
    conditions: Vec<Option<Jsonb<'a>>>,
}

/// One append of a batch: its streams, and its condition.
pub(super) type InBatch<'a> = (&'a [Append], Option<&'a SentCondition>);

/// The statement for a batch.
pub(super) fn statement<'a>(batch: impl IntoIterator<Item = InBatch<'a>>) -> &'static str {
    if batch.into_iter().any(|(_, condition)| condition.is_some()) { APPEND_UNLESS } else { APPEND }
}

/// The categories that an append locks.
pub(super) fn categories((appends, condition): InBatch<'_>) -> BTreeSet<&str> {
    let of_condition = condition.iter().flat_map(|condition| &condition.categories).map(Category::as_str);
    appends.iter().map(|append| append.stream.category_str()).chain(of_condition).collect()
}

/// JSON that is sent as text. The server parses it before it takes any lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jsonb<'a>(pub(super) &'a str);

impl ToSql for Jsonb<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        const VERSION: u8 = 1;
        out.extend_from_slice(&[VERSION]);
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }

    to_sql_checked!();
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl<'a> Arguments<'a> {
    /// The arguments for several appends, each with its streams. No message id occurs twice. `known` returns a position
    /// that a stream is known to have.
    pub(super) fn new(
        batch: impl IntoIterator<Item = InBatch<'a>>,
        known: impl Fn(&StreamName) -> Option<Position>,
        wait_for: Option<&'a str>,
    ) -> Self {
        let mut arguments = Self { wait_for, ..Self::default() };
        let (mut part_streams, mut part_sizes) = (Vec::new(), Vec::new());
        let mut numbers: HashMap<&str, i32> = HashMap::new();
        let mut has_conditions = false;
        for (appends, condition) in batch {
            has_conditions |= condition.is_some();
            arguments.conditions.push(condition.map(|condition| Jsonb(&condition.parts)));
            arguments.append_parts.push(number(appends.len()));
            for Append { stream, expected, messages } in appends {
                let stream_number = numbers.entry(stream.as_str()).or_insert_with(|| {
                    arguments.stream_names.push(stream.as_str());
                    arguments.known_positions.push(known_position(stream, *expected, &known));
                    number(arguments.stream_names.len())
                });
                part_streams.push(*stream_number);
                arguments.part_expected_versions.push(expected.number());
                part_sizes.push(number(messages.len()));
                for message in messages {
                    arguments.ids.push(message.id.as_uuid());
                    arguments.types.push(&message.message_type);
                    arguments.data.push(message.data.as_str().map(Jsonb));
                    arguments.metadata.push(message.metadata.as_str().map(Jsonb));
                }
            }
        }
        // The function is told nothing of parts that are one message each, for a stream of its own.
        let is_simple = arguments.stream_names.len() == part_streams.len() && part_sizes.iter().all(|size| *size == 1);
        if !has_conditions {
            arguments.conditions.clear();
        }
        if !is_simple {
            (arguments.part_streams, arguments.part_sizes) = (Some(part_streams), Some(part_sizes));
        }
        arguments
    }

    /// The arguments in the order of the function's parameters.
    pub(super) fn list(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut list: Vec<&(dyn ToSql + Sync)> = vec![
            &self.stream_names,
            &self.known_positions,
            &self.append_parts,
            &self.part_streams,
            &self.part_expected_versions,
            &self.part_sizes,
            &self.ids,
            &self.types,
            &self.data,
            &self.metadata,
            &self.wait_for,
        ];
        if !self.conditions.is_empty() {
            list.push(&self.conditions);
        }
        list
    }
}

/// A position that the stream of an append is known to have.
pub(super) fn known_position(
    stream: &StreamName,
    expected: ExpectedVersion,
    known: impl Fn(&StreamName) -> Option<Position>,
) -> Option<i64> {
    let expected = expected.number().filter(|expected| *expected >= 0);
    expected.or_else(|| known(stream).map(Position::get))
}

/// The answer to a batch.
pub(super) struct Sent {
    /// One result for each append. `None` if the append was left out, because another transaction has locked one of its
    /// categories.
    pub(super) results: Vec<Option<Result<Appended>>>,
    /// A stream whose category another transaction has locked, if an append was left out.
    pub(super) locked: Option<StreamName>,
    /// Whether the server waited for the lock of a category.
    pub(super) has_waited: bool,
}

/// Writes a batch by its [`statement`]. Waits for the locks of all categories; with `wait_for`, only for the
/// category of that name, or for none if it is empty. An error concerns the whole batch: nothing was written.
pub(super) async fn send<'a>(
    client: &tokio_postgres::Client,
    statement: &Prepared,
    batch: impl IntoIterator<Item = InBatch<'a>> + Clone,
    known: impl Fn(&StreamName) -> Option<Position>,
    wait_for: Option<&'a str>,
) -> Result<Sent, tokio_postgres::Error> {
    let row = statement.query_one(client, &Arguments::new(batch.clone(), known, wait_for).list()).await?;
    sent(&row, batch)
}

pub(super) fn sent<'a>(row: &Row, batch: impl IntoIterator<Item = InBatch<'a>>) -> Result<Sent, tokio_postgres::Error> {
    let positions: Vec<Option<i64>> = row.try_get(0)?;
    let global_positions: Vec<Option<i64>> = row.try_get(1)?;
    let refusals: Option<Vec<Option<&str>>> = row.try_get(2)?;
    let written_before: Option<Vec<bool>> = row.try_get(3)?;
    let has_waited = row.try_get(4)?;

    let mut places = positions.into_iter().zip(global_positions);
    let (mut results, mut locked) = (Vec::new(), None);
    for (number, (appends, _)) in batch.into_iter().enumerate() {
        let size = appends.iter().map(|append| append.messages.len()).sum();
        let written: Vec<Place> = places.by_ref().take(size).filter_map(|(p, g)| p.zip(g).map(written)).collect();
        let refusal = refusals.as_ref().and_then(|refusals| *refusals.get(number)?);
        let already_written = written_before.as_ref().is_some_and(|before| before.get(number) == Some(&true));
        results.push(match refusal {
            Some(refusal) => match refused(refusal, appends) {
                Refused::For(error) => Some(Err(error)),
                Refused::LeftOut(stream) => {
                    locked = Some(stream);
                    None
                }
            },
            None if written.len() == size => Some(Ok(Appended { written, already_written })),
            None => {
                Some(Err(Error::backend("appending", false, "the server did not return the place of every message")))
            }
        });
    }
    Ok(Sent { results, locked, has_waited })
}

pub(super) fn written((position, global_position): (i64, i64)) -> Place {
    Place { position: Position::new(position), global_position: GlobalPosition::new(global_position) }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Refusal {
    Locked { locked: StreamName },
    Version { stream: StreamName, actual: i64 },
    Id { id: MessageId, reason: String },
    Condition { matched: Matched },
}

#[derive(Deserialize)]
struct Matched {
    id: MessageId,
    stream: String,
    position: i64,
    global_position: i64,
}

/// Why an append was not written.
enum Refused {
    For(Error),
    /// Another transaction has locked the category of this stream.
    LeftOut(StreamName),
}

fn refused(refusal: &str, appends: &[Append]) -> Refused {
    let unclear = |reason: String| Error::backend("appending; nothing was written", false, reason);
    Refused::For(match serde_json::from_str(refusal) {
        Ok(Refusal::Locked { locked }) => return Refused::LeftOut(locked),
        Ok(Refusal::Version { stream, actual }) => match appends.iter().find(|append| append.stream == stream) {
            Some(append) => {
                let actual = if actual < 0 { Version::NO_STREAM } else { Version::at(Position::new(actual)) };
                Error::WrongExpectedVersion { stream, expected: append.expected, actual }
            }
            None => unclear(refusal.to_owned()),
        },
        Ok(Refusal::Id { id, reason }) => {
            match appends.iter().find(|append| append.messages.iter().any(|message| message.id == id)) {
                Some(append) => Error::IdConflict { id, stream: append.stream.clone(), reason },
                None => unclear(refusal.to_owned()),
            }
        }
        Ok(Refusal::Condition { matched: Matched { id, stream, position, global_position } }) => {
            let Some(first) = appends.first() else { return Refused::For(unclear(refusal.to_owned())) };
            let (position, global_position) = (Position::new(position), GlobalPosition::new(global_position));
            let found = MessageRef::new(id, StreamName::from_database(&stream), position, global_position);
            Error::ConditionFailed { stream: first.stream.clone(), found }
        }
        Err(error) => unclear(format!("{refusal}: {error}")),
    })
}

/// Converts a server's error for appends that were sent.
pub(super) fn meaning(error: tokio_postgres::Error, appends: &[Append]) -> Error {
    if is_unanswered(&error) {
        return Error::CommitUnknown { cause: error.into() };
    }
    if let Some(db_error) = error.as_db_error()
        && failure::meaning(db_error.code()) == Meaning::BadData
    {
        return Error::invalid("message", db_error.message());
    }
    let stream = appends.first().map_or("nothing", |append| append.stream.as_str());
    failure::failed(format!("appending to {stream}; nothing was written"), error)
}
