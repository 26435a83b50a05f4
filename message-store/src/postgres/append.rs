//! Appending: one round trip, one statement, one commit.

use deadpool_postgres::{GenericClient, Object};
use serde::Deserialize;
use tokio_postgres::error::DbError;
use uuid::Uuid;

use super::failure::{is_bad_data, is_race, is_transient, is_unanswered};
use crate::{Append, Appended, Error, GlobalPosition, MessageId, Position, Result, StreamName, Version, Written};

const APPEND: &str = include_str!("sql/append.sql");

/// Two appends in different categories can race for one id; the loser then finds it taken. And a foreign transaction
/// may lock categories in another order than we do. Once more is enough unless the winner rolls back: a few times is plenty.
pub(super) const RACES: usize = 5;

pub(super) async fn append(client: &Object, appends: &[Append]) -> Result<Appended> {
    let mut race = 0;
    loop {
        match send(client, appends).await {
            Ok(appended) => return Ok(appended),
            Err(error) if race < RACES && error.as_db_error().is_some_and(is_race) => race += 1,
            Err(error) => return Err(meaning(error, appends)),
        }
    }
}

pub(super) async fn send(client: &impl GenericClient, appends: &[Append]) -> Result<Appended, tokio_postgres::Error> {
    let streams: Vec<&str> = appends.iter().map(|append| append.stream.as_str()).collect();
    let expected: Vec<Option<i64>> = appends.iter().map(|append| append.expected.number()).collect();
    let messages =
        || (1_i32..).zip(appends).flat_map(|(number, append)| append.messages.iter().map(move |m| (number, m)));
    let numbers: Vec<i32> = messages().map(|(number, _)| number).collect();
    let ids: Vec<Uuid> = messages().map(|(_, message)| message.id.as_uuid()).collect();
    let types: Vec<&str> = messages().map(|(_, message)| message.message_type.as_str()).collect();
    let data: Vec<Option<&str>> = messages().map(|(_, message)| message.data.as_str()).collect();
    let metadata: Vec<Option<&str>> = messages().map(|(_, message)| message.metadata.as_str()).collect();

    let statement = client.prepare_cached(APPEND).await?;
    let rows = client.query(&statement, &[&streams, &expected, &numbers, &ids, &types, &data, &metadata]).await?;
    let mut appended = Appended { written: Vec::with_capacity(rows.len()), already_written: false };
    for row in &rows {
        let position = Position::new(row.try_get(0)?);
        let global_position = GlobalPosition::new(row.try_get(1)?);
        appended.already_written = row.try_get(2)?;
        appended.written.push(Written { position, global_position });
    }
    Ok(appended)
}

pub(super) fn meaning(error: tokio_postgres::Error, appends: &[Append]) -> Error {
    if is_unanswered(&error) {
        return Error::CommitUnknown { source: error.into() };
    }
    let typed = error.as_db_error().and_then(|db_error| match db_error.code().code() {
        "P0001" => version_conflict(db_error, appends),
        "MS001" => id_conflict(db_error),
        _ if is_bad_data(db_error) => Some(Error::invalid("message", db_error.message())),
        _ => None,
    });
    typed.unwrap_or_else(|| {
        let transient = error.code().is_some_and(is_transient);
        let stream = appends.first().map_or("nothing", |append| append.stream.as_str());
        Error::backend(format!("appending to {stream}"), transient, error)
    })
}

#[derive(Deserialize)]
struct VersionDetail {
    stream: StreamName,
    actual: i64,
}

fn version_conflict(error: &DbError, appends: &[Append]) -> Option<Error> {
    let detail: VersionDetail = serde_json::from_str(error.detail()?).ok()?;
    let expected = appends.iter().find(|append| append.stream == detail.stream)?.expected;
    let actual = if detail.actual < 0 { Version::NO_STREAM } else { Version::at(Position::new(detail.actual)) };
    Some(Error::WrongExpectedVersion { stream: detail.stream, expected, actual })
}

#[derive(Deserialize)]
struct IdDetail {
    id: MessageId,
    stream: StreamName,
    reason: String,
}

fn id_conflict(error: &DbError) -> Option<Error> {
    let IdDetail { id, stream, reason } = serde_json::from_str(error.detail()?).ok()?;
    Some(Error::IdConflict { id, stream, reason })
}
