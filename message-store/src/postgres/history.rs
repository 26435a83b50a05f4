//! Histories: they distinguish the store before a failover from the store after it.
//!
//! Problem: a failover to an asynchronous standby can lose the latest messages, and other messages then get their
//! positions. The positions that this process remembers are then beyond the ends of the streams, or belong to other
//! messages. Fix: each new connection is asked for the server's system identifier and timeline, the store's identity,
//! and the last global position given out. If one of them does not follow from the values seen before, another history
//! has begun, with its own number. Why it is right: a server cannot change its history without losing its connections,
//! each connection knows the history in which it was verified, and each append names the history in which it was
//! decided. So an append that was decided on lost messages is refused.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::PlantedBug;
use super::failure::backend;
use crate::planted::Planted;
use crate::{Error, GlobalPosition, History, Result, StoreId};

const SERVER: &str = include_str!("sql/history_of_server.sql");
const STORE: &str = include_str!("sql/history_of_store.sql");
const MESSAGE_DB: &str = include_str!("sql/history_of_message_db.sql");

/// The current history of one open store, and the facts that identify it.
#[derive(Debug)]
pub(super) struct Histories {
    place: String,
    is_message_db: bool,
    planted: Planted<PlantedBug>,
    last: Mutex<Last>,
    current: AtomicU64,
    /// The highest global position in any answer under the current history.
    seen: AtomicI64,
}

#[derive(Debug)]
struct Last {
    store_id: StoreId,
    server: Server,
}

/// The facts about a server. `None` if this user may not read it; `None` counts as unchanged.
#[derive(Clone, Debug, Default)]
struct Server {
    system_identifier: Option<String>,
    timeline: Option<String>,
}

impl Histories {
    pub(super) fn new(place: String, store_id: StoreId, is_message_db: bool, planted: Planted<PlantedBug>) -> Self {
        let last = Mutex::new(Last { store_id, server: Server::default() });
        Self { place, is_message_db, planted, last, current: AtomicU64::new(0), seen: AtomicI64::new(0) }
    }

    pub(super) fn has(&self, bug: PlantedBug) -> bool {
        self.planted.is(bug)
    }

    pub(super) fn current(&self) -> History {
        History(self.current.load(Ordering::SeqCst))
    }

    pub(super) fn store_id(&self) -> StoreId {
        self.last().store_id
    }

    /// The highest global position in any answer under the current history.
    pub(super) fn seen(&self) -> GlobalPosition {
        GlobalPosition::new(self.seen.load(Ordering::SeqCst))
    }

    /// Records the global position of an answer. A late answer from an earlier history does not count.
    pub(super) fn record_seen(&self, history: History, position: Option<GlobalPosition>) {
        if let Some(position) = position.filter(|_| history == self.current()) {
            self.seen.fetch_max(position.get(), Ordering::SeqCst);
        }
    }

    /// Records a new identity of the store, which begins another history.
    pub(super) fn rotated(&self, store_id: StoreId) {
        let mut last = self.last();
        last.store_id = store_id;
        self.current.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the history of a new connection. Begins another history if the server's facts require it.
    pub(super) async fn verify(&self, client: &Client) -> Result<History> {
        let (before, seen) = (self.current(), self.seen());
        let (server, store_id, given_out) = self.ask(client).await?;
        let mut last = self.last();
        let mut changes = server.changes(&last.server);
        if let Some(found) = store_id.filter(|found| *found != last.store_id) {
            changes.push(format!("the store's identity was {} and is {found}", last.store_id));
        }
        // Every position in an answer was given out before the server was asked, unless another history has begun
        // meanwhile.
        if let Some(end) = given_out.filter(|end| *end < seen && before == self.current()) {
            changes.push(format!("global position {seen} was given out, and now the last one is {end}"));
        }
        last.server.learn(server);
        if !changes.is_empty() && !self.has(PlantedBug::HistoryIgnored) {
            last.store_id = store_id.unwrap_or(last.store_id);
            self.seen.store(given_out.map_or(0, GlobalPosition::get), Ordering::SeqCst);
            self.current.fetch_add(1, Ordering::SeqCst);
            tracing::warn!(
                target: "message_store::postgres",
                store = %self.place,
                changes = changes.join("; "),
                "the store has another history than before; positions remembered from the earlier one are forgotten"
            );
        }
        let history = self.current();
        drop(last);
        self.record_seen(history, given_out);
        Ok(history)
    }

    async fn ask(&self, client: &Client) -> Result<(Server, Option<StoreId>, Option<GlobalPosition>)> {
        let store = if self.is_message_db { MESSAGE_DB } else { STORE };
        let rows = match rows(client, &format!("{SERVER};{store}")).await {
            // This user may lack the right to read the first statement's functions.
            Err(error) if error.as_db_error().is_some() && !client.is_closed() => rows(client, store).await,
            rows => rows,
        };
        let rows = rows.map_err(backend("asking the server for its history"))?;
        let value = |column| rows.iter().find_map(|row| row.try_get(column).ok().flatten());
        let number = |column| value(column).map(str::parse).transpose().map_err(unreadable);
        let store_id = value("store_id").map(str::parse).transpose().map_err(unreadable)?.map(StoreId::from_uuid);
        let server = Server {
            system_identifier: value("system_identifier").map(str::to_owned),
            timeline: value("timeline").map(str::to_owned),
        };
        Ok((server, store_id, number("given_out")?.map(GlobalPosition::new)))
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    fn changes(&self, last: &Self) -> Vec<String> {
        let pairs = [
            ("system identifier", &last.system_identifier, &self.system_identifier),
            ("timeline", &last.timeline, &self.timeline),
        ];
        let changed = pairs.into_iter().filter_map(|(what, last, found)| {
            let (last, found) = last.as_ref().zip(found.as_ref())?;
            (last != found).then(|| format!("the server's {what} was {last} and is {found}"))
        });
        changed.collect()
    }

    fn learn(&mut self, found: Self) {
        self.system_identifier = found.system_identifier.or(self.system_identifier.take());
        self.timeline = found.timeline.or(self.timeline.take());
    }
}

/// The rows of all statements of `sql`, in one round trip.
async fn rows(client: &Client, sql: &str) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::backend("asking the server for its history", false, error)
}
