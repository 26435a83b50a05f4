//! Timers: rows that wait, and become messages.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::PostgresStore;
use super::append::{Jsonb, meaning};
use super::connection::Connection;
use super::failure::backend;
use super::row::get;
use super::timer_changes::argument;
use crate::store::{LONGEST, Timer, TimerChange, TimerChanged, TimerKey, TimerQuery, Timers};
use crate::{Category, Error, Json, MessageId, MessageStore as _, NewMessage, Result, StreamName};

const CHANGE: &str = include_str!("sql/change_timers.sql");
const FIRE: &str = include_str!("sql/fire_timers.sql");
const LIST: &str = include_str!("sql/timers.sql");

#[async_trait]
impl Timers for PostgresStore {
    async fn change(&self, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
        changes.iter().try_for_each(|change| change.check(self.limits()))?;
        let Some(argument) = argument(&changes)? else { return Ok(Vec::new()) };
        let change = async |connection: &mut Connection| {
            let row = connection.query_one(CHANGE, &[&Jsonb(&argument)]).await.map_err(|error| meaning(error, &[]))?;
            get::<Vec<String>>(&row, 0)?.iter().map(|result| changed(result)).collect()
        };
        self.pool.with(change).await
    }

    async fn list(&self, query: TimerQuery) -> Result<Vec<Timer>> {
        let TimerQuery { due_within, category, after, limit } = query;
        let within = due_within.map(|time| time.min(LONGEST).as_secs_f64());
        let (due, key) = after.unzip();
        let (stream, name) = key.as_ref().map_or(("", ""), |key| (key.stream.as_str(), &key.name));
        let category = category.as_ref().map(Category::as_str);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let list = async |connection: &mut Connection| {
            let rows = connection.query(LIST, &[&within, &due, &stream, &name, &category, &limit]).await;
            rows.map_err(backend("listing timers"))?.iter().map(timer_in).collect()
        };
        self.pool.with(list).await
    }

    async fn fire(&self, timers: &[Timer]) -> Result<usize> {
        let streams: Vec<&str> = timers.iter().map(|timer| timer.key.stream.as_str()).collect();
        let names: Vec<&str> = timers.iter().map(|timer| timer.key.name.as_str()).collect();
        let ids: Vec<Uuid> = timers.iter().map(|timer| timer.id().as_uuid()).collect();
        let due: Vec<Timestamp> = timers.iter().map(|timer| timer.due).collect();
        let fire = async |connection: &mut Connection| {
            let fired = connection.query_one(FIRE, &[&streams, &names, &ids, &due]).await;
            let row = fired.map_err(|error| meaning(error, &[]))?;
            Ok((get::<i64>(&row, 0)?, get::<Option<Vec<String>>>(&row, 1)?.unwrap_or_default()))
        };
        let (fired, written_to) = self.pool.with(fire).await?;
        let written_to: Vec<StreamName> = written_to.iter().map(|stream| StreamName::from_database(stream)).collect();
        self.wake(&written_to);
        Ok(usize::try_from(fired).unwrap_or(usize::MAX))
    }
}

fn changed(result: &str) -> Result<TimerChanged> {
    Ok(match result {
        "set" => TimerChanged::Set,
        "replaced" => TimerChanged::Replaced,
        "kept" => TimerChanged::Kept,
        "fired" => TimerChanged::Fired,
        "moved" => TimerChanged::Moved,
        "redacted" => TimerChanged::Redacted,
        "cancelled" => TimerChanged::Cancelled,
        "notWaiting" => TimerChanged::NotWaiting,
        other => return Err(Error::backend("changing timers", false, format!("the server answered {other:?}"))),
    })
}

fn timer_in(row: &Row) -> Result<Timer> {
    let key = TimerKey::new(StreamName::from_database(get(row, 0)?), get::<String>(row, 1)?);
    let due_in = SignedDuration::from_micros(get(row, 3)?);
    let message = NewMessage {
        id: MessageId::from_uuid(get(row, 5)?),
        message_type: get(row, 6)?,
        data: Json::from_database(get(row, 7)?),
        metadata: Json::from_database(get(row, 8)?),
    };
    Ok(Timer::new(key, (get(row, 2)?, due_in), StreamName::from_database(get(row, 4)?), message))
}
