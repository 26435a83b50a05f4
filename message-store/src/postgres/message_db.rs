//! Appends to Message DB's own schema. They keep the same contract with Message DB's functions.
//!
//! One transaction takes Message DB's lock of all categories, in the order of their hashes, checks ids and versions,
//! and calls `write_message` for each message. So an append takes round trips for each message. `message-store migrate
//! --adopt` removes that cost.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::Client;
use uuid::Uuid;

use super::append::{RACES, meaning};
use super::connection::Connection;
use super::failure::is_race;
use super::prepared::Prepared;
use super::read::{VERSION, version_in};
use super::row::get;
use crate::store::{Stored, written_before};
use crate::{Append, Appended, Error, GlobalPosition, Json, MessageId, Place, Position, Result};

const LOCK: &str = include_str!("sql/message_db_lock.sql");
const STORED: &str = include_str!("sql/message_db_stored.sql");
const WRITE: &str = include_str!("sql/message_db_write.sql");
const PLACE: &str = include_str!("sql/message_db_place.sql");

pub(super) async fn append(client: &mut Connection, appends: &[Append]) -> Result<Appended> {
    let mut race = 0;
    loop {
        match try_append(client, appends).await {
            Err(Failed::Database(error)) if race < RACES && error.as_db_error().is_some_and(is_race) => race += 1,
            Err(Failed::Database(error)) => return Err(meaning(error, appends)),
            Err(Failed::Refused(error)) => return Err(error),
            Ok(appended) => return Ok(appended),
        }
    }
}

enum Failed {
    Refused(Error),
    Database(tokio_postgres::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

async fn try_append(client: &mut Connection, appends: &[Append]) -> Result<Appended, Failed> {
    let [lock, stored_before, version, write, place] =
        client.prepare_all([LOCK, STORED, VERSION, WRITE, PLACE]).await?;
    let (watch, question, place_of_store) = (client.watch(), client.history_question(), client.place());
    let transaction = client.transaction().await?;
    let session = transaction.client();
    if !question.is_same(session).await? {
        return Err(Error::HistoryChanged { store: place_of_store }.into());
    }
    let categories: BTreeMap<i64, &str> = appends
        .iter()
        .map(|append| (crate::hash::hash_64(append.stream.category_str()), append.stream.as_str()))
        .collect();
    for stream in categories.values() {
        lock.execute(session, &[stream]).await?;
    }
    if let Some(written) = written_before(appends, &stored(session, &stored_before, appends).await?)? {
        return Ok(Appended { written, already_written: true });
    }
    for Append { stream, expected, .. } in appends {
        let actual = version_in(version.query(session, &[&stream.as_str()]).await?.first())?;
        if !expected.allows(actual) {
            let (stream, expected) = (stream.clone(), *expected);
            return Err(Error::WrongExpectedVersion { stream, expected, actual }.into());
        }
    }
    let mut written = Vec::new();
    for append in appends {
        for message in &append.messages {
            let (id, data, metadata) = (message.id.as_uuid(), message.data.as_str(), message.metadata.as_str());
            let stream = append.stream.as_str();
            let text = id.to_string();
            watch.is_asked();
            write.execute(session, &[&text, &stream, &message.message_type, &data, &metadata]).await?;
            let row = place.query_one(session, &[&id]).await?;
            let global_position = GlobalPosition::new(row.try_get(1)?);
            written.push(Place { position: Position::new(row.try_get(0)?), global_position });
        }
    }
    transaction.commit().await?;
    Ok(Appended { written, already_written: false })
}

async fn stored(
    session: &Client,
    statement: &Prepared,
    appends: &[Append],
) -> Result<HashMap<MessageId, Stored>, Failed> {
    let ids: Vec<Uuid> =
        appends.iter().flat_map(|append| &append.messages).map(|message| message.id.as_uuid()).collect();
    let rows = statement.query(session, &[&ids]).await?;
    let mut stored = HashMap::new();
    for row in &rows {
        let written =
            Place { position: Position::new(get(row, 4)?), global_position: GlobalPosition::new(get(row, 5)?) };
        let data = Json::from_database(get(row, 3)?);
        let found = Stored { stream: get(row, 1)?, message_type: get(row, 2)?, data, written, is_erased: false };
        stored.insert(MessageId::from_uuid(get(row, 0)?), found);
    }
    Ok(stored)
}
