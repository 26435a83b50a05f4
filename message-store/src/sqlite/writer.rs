//! The one thread that writes.
//!
//! Problem: a durable commit costs a wait for the disk, and SQLite has one writer at a time. Fix: appends queue up while a
//! commit is under way, and all that have gathered share the next one. An idle store commits at once: nothing waits for a
//! group to fill. Why each append stands alone all the same: it is checked before its first row is written, so that one
//! that is refused leaves nothing behind in the shared transaction, and it is answered after the commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{is_transient, read};
use crate::append::{Stored, written_before};
use crate::wake_up::Bells;
use crate::{
    Append, Appended, Error, GlobalPosition, Json, MessageId, NewMessage, Position, Result, StreamName, Written,
};

/// Appends that may wait; further callers wait for a place.
const QUEUE: usize = 1024;
/// Appends that share a commit at most.
const GROUP: usize = 512;

#[derive(Debug)]
pub(super) struct Writer(mpsc::Sender<Job>);

struct Job {
    appends: Vec<Append>,
    answer: oneshot::Sender<Result<Appended>>,
}

impl Writer {
    pub(super) fn start(connection: Arc<Mutex<Connection>>, bells: Arc<Bells>) -> Result<Self> {
        let (sender, jobs) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("message-store-writer".to_owned())
            .spawn(move || run(&connection, jobs, &bells))
            .map_err(|error| Error::backend("starting the writer thread", false, error))?;
        Ok(Self(sender))
    }

    pub(super) async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Job { appends, answer }).await.is_err() {
            return Err(Error::backend("appending to the SQLite store", false, "its writer thread has ended"));
        }
        answered.await.unwrap_or_else(|error| Err(Error::CommitUnknown { source: error.into() }))
    }
}

fn run(connection: &Mutex<Connection>, mut jobs: mpsc::Receiver<Job>, bells: &Bells) {
    let mut group = Vec::with_capacity(GROUP);
    while jobs.blocking_recv_many(&mut group, GROUP) > 0 {
        let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        let results = commit(&mut connection, &group);
        drop(connection);
        for (job, result) in group.drain(..).zip(results) {
            if result.as_ref().is_ok_and(|appended| !appended.already_written) {
                bells.ring_for(job.appends.iter().map(|append| &append.stream));
            }
            // A caller that has gone away does not want the answer; its append stands.
            let _ = job.answer.send(result);
        }
    }
}

/// One result for each job of the group.
fn commit(connection: &mut Connection, group: &[Job]) -> Vec<Result<Appended>> {
    let mut attempt = || -> rusqlite::Result<Vec<Result<Appended>>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut results = Vec::with_capacity(group.len());
        for job in group {
            results.push(match append(&transaction, &job.appends) {
                Ok(appended) => Ok(appended),
                Err(Failed::Refused(error)) => Err(error),
                Err(Failed::Database(error)) => return Err(error),
            });
        }
        transaction.commit()?;
        Ok(results)
    };
    attempt().unwrap_or_else(|error| group.iter().map(|_| Err(group_failed(&error))).collect())
}

/// The transaction was rolled back, with all that was in it.
fn group_failed(error: &rusqlite::Error) -> Error {
    Error::backend("committing to the SQLite store; nothing was written", is_transient(error), error.to_string())
}

enum Failed {
    /// This append cannot be written; it left nothing behind.
    Refused(Error),
    /// The database failed, and with it the whole group.
    Database(rusqlite::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

fn append(transaction: &Transaction<'_>, appends: &[Append]) -> Result<Appended, Failed> {
    if let Some(written) = written_before(appends, &stored(transaction, appends)?)? {
        return Ok(Appended { written, already_written: true });
    }
    let mut firsts = Vec::with_capacity(appends.len());
    for Append { stream, expected, .. } in appends {
        let actual = read::version(transaction, stream)?;
        if !expected.allows(actual) {
            let (stream, expected) = (stream.clone(), *expected);
            return Err(Error::WrongExpectedVersion { stream, expected, actual }.into());
        }
        firsts.push(actual.next());
    }
    let now = Timestamp::now().as_microsecond();
    let mut written = Vec::new();
    for (append, mut position) in appends.iter().zip(firsts) {
        for message in &append.messages {
            let global_position = insert(transaction, &append.stream, message, position, now)?;
            written.push(Written { position, global_position });
            position = position.next();
        }
    }
    Ok(Appended { written, already_written: false })
}

/// The messages that the store has under the ids of an append.
fn stored(transaction: &Transaction<'_>, appends: &[Append]) -> Result<HashMap<MessageId, Stored>, Failed> {
    let mut found = HashMap::new();
    let sql = "SELECT stream_name, type, data, position, global_position FROM messages WHERE id = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    for id in appends.iter().flat_map(|append| &append.messages).map(|message| message.id) {
        let mut rows = statement.query([id.as_uuid().as_bytes()])?;
        if let Some(row) = rows.next()? {
            let data = Json::from_database(row.get(2)?)?;
            let written =
                Written { position: Position::new(row.get(3)?), global_position: GlobalPosition::new(row.get(4)?) };
            found.insert(id, Stored { stream: row.get(0)?, message_type: row.get(1)?, data, written });
        }
    }
    Ok(found)
}

fn insert(
    transaction: &Transaction<'_>,
    stream: &StreamName,
    message: &NewMessage,
    position: Position,
    now: i64,
) -> rusqlite::Result<GlobalPosition> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO messages (position, time, stream_name, category, type, data, metadata, id) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let id: Uuid = message.id.as_uuid();
    statement.execute((
        position.get(),
        now,
        stream.as_str(),
        stream.category_str(),
        &message.message_type,
        message.data.as_str(),
        message.metadata.as_str(),
        id.as_bytes(),
    ))?;
    Ok(GlobalPosition::new(transaction.last_insert_rowid()))
}
