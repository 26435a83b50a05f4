//! Changes of timers, as parts of transactions. The clock is the clock of the machine.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::append::append;
use super::failure::Failed;
use crate::store::{IfWaiting, Timer, TimerChange, TimerChanged, TimerKey};
use crate::{Append, Error, Json, MessageId, NewMessage, Result, StreamName};

/// Carries out changes, in their order.
pub(super) fn change(transaction: &Transaction<'_>, changes: &[TimerChange]) -> rusqlite::Result<Vec<TimerChanged>> {
    let now = Timestamp::now();
    changes.iter().map(|change| change_one(transaction, change, now)).collect()
}

fn change_one(transaction: &Transaction<'_>, change: &TimerChange, now: Timestamp) -> rusqlite::Result<TimerChanged> {
    let TimerKey { stream, name } = change.key();
    let key = (stream.as_str(), name.as_str());
    let execute = |sql| transaction.prepare_cached(sql)?.execute(key);
    Ok(match change {
        TimerChange::Set { due, to, message, if_waiting, .. } => {
            let NewMessage { id, message_type, data, metadata } = message;
            let id = id.as_uuid();
            // Another message may have the id. Then the timer gets another one when it fires.
            let fired = (id.as_bytes(), to.as_str(), message_type);
            if exists(transaction, include_str!("sql/has_fired.sql"), fired)? {
                return Ok(TimerChanged::Fired);
            }
            let has_timer = exists(transaction, include_str!("sql/has_timer.sql"), key)?;
            let if_waiting = match if_waiting {
                IfWaiting::Replace => "replace",
                IfWaiting::KeepDue => "keepDue",
                IfWaiting::Keep => "keep",
            };
            let set = transaction.prepare_cached(include_str!("sql/set_timer.sql"))?.execute((
                key.0,
                stream.category_str(),
                key.1,
                due.at(now).as_microsecond(),
                to.as_str(),
                id.as_bytes(),
                message_type,
                data.as_str(),
                metadata.as_str(),
                if_waiting,
            ))?;
            match (set, has_timer) {
                (0, _) => TimerChanged::Kept,
                (_, true) => TimerChanged::Replaced,
                (_, false) => TimerChanged::Set,
            }
        }
        TimerChange::Move { due, .. } => {
            let sql = include_str!("sql/move_timer.sql");
            let due = due.at(now).as_microsecond();
            match transaction.prepare_cached(sql)?.execute((key.0, key.1, due))? {
                0 => TimerChanged::NotWaiting,
                _ => TimerChanged::Moved,
            }
        }
        TimerChange::Redact { id, data, metadata, .. } => {
            let sql = include_str!("sql/redact_timer.sql");
            let id = id.as_uuid();
            match transaction.prepare_cached(sql)?.execute((
                key.0,
                key.1,
                id.as_bytes(),
                data.as_str(),
                metadata.as_str(),
            ))? {
                0 => TimerChanged::NotWaiting,
                _ => TimerChanged::Redacted,
            }
        }
        TimerChange::Cancel { .. } => match execute(include_str!("sql/remove_timer.sql"))? {
            0 => TimerChanged::NotWaiting,
            _ => TimerChanged::Cancelled,
        },
    })
}

/// Writes the messages of those of these timers that still wait as they were listed, and removes them. Returns their
/// number, and the streams that have new messages.
pub(super) fn fire(transaction: &Transaction<'_>, timers: &[Timer]) -> Result<(usize, Vec<StreamName>), Failed> {
    let (mut fired, mut written_to) = (0, Vec::new());
    for listed in timers {
        let Some(Timer { key, to, message, .. }) = waiting(transaction, listed)? else { continue };
        let key = (key.stream.as_str(), key.name.as_str());
        match append(transaction, &(vec![Append::to(to.clone()).message(message)], None)) {
            Ok(appended) => {
                transaction.prepare_cached(include_str!("sql/remove_timer.sql"))?.execute(key)?;
                fired += 1;
                if !appended.already_written {
                    written_to.push(to);
                }
            }
            // Another message has the id. The timer waits, so its message was not written.
            Err(Failed::Refused(Error::IdConflict { .. })) => {
                let id = MessageId::new().as_uuid();
                let sql = include_str!("sql/set_timer_id.sql");
                transaction.prepare_cached(sql)?.execute((key.0, key.1, id.as_bytes()))?;
            }
            Err(failed) => return Err(failed),
        }
    }
    Ok((fired, written_to))
}

/// The timer, if it waits as it was listed.
fn waiting(transaction: &Transaction<'_>, listed: &Timer) -> rusqlite::Result<Option<Timer>> {
    let (id, due) = (listed.id().as_uuid(), listed.due.as_microsecond());
    let key = (listed.key.stream.as_str(), listed.key.name.as_str(), id.as_bytes(), due);
    let mut statement = transaction.prepare_cached(include_str!("sql/waiting_timer.sql"))?;
    statement.query_row(key, |row| timer_in(row, due)).optional()
}

pub(super) fn timer_in(row: &Row<'_>, now: i64) -> rusqlite::Result<Timer> {
    let key = TimerKey::new(StreamName::from_database(row.get_ref(0)?.as_str()?), row.get::<_, String>(1)?);
    let due: i64 = row.get(2)?;
    let due_in = SignedDuration::from_micros(due.saturating_sub(now));
    let id: [u8; 16] = row.get(4)?;
    let message = NewMessage {
        id: MessageId::from_uuid(uuid::Uuid::from_bytes(id)),
        message_type: row.get(5)?,
        data: Json::from_database(row.get(6)?),
        metadata: Json::from_database(row.get(7)?),
    };
    let due = Timestamp::from_microsecond(due).unwrap_or(Timestamp::MAX);
    Ok(Timer::new(key, (due, due_in), StreamName::from_database(row.get_ref(3)?.as_str()?), message))
}

fn exists(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<bool> {
    connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))
}
