//! Histories: they distinguish the store before a failover from the store after it.
//!
//! Problem: a failover to an asynchronous standby can lose the latest messages, and other messages then get their
//! positions. The positions that this process remembers are then beyond the ends of the streams, or belong to other
//! messages. Fix: each new connection is asked for the server's system identifier and timeline, the store's identity,
//! and the last global position given out. If one of them does not follow from the values seen before, another history
//! has begun, with its own number. Why it is right: a server cannot change its history without losing its connections,
//! each connection knows the history in which it was verified, and each append names the history in which it was
//! decided. So an append that was decided on lost messages is refused.
//!
//! The last global position does not show every loss: the server gives out numbers ahead, and others may have written since.
//! So the last message that this process knew is looked up when another history has begun, and its loss is named.
//!
//! Behind a pooler, a connection can get another server without notice. There, the question is part of each transaction
//! that writes, and is asked before other calls if the last answer is not recent.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::PlantedBug;
use crate::planted::Planted;
use crate::store::{HistoryChange, LostMessage};
use crate::{GlobalPosition, History, MessageId, StoreId};

const SERVER: &str = include_str!("sql/history_of_server.sql");
const STORE: &str = include_str!("sql/history_of_store.sql");
const IS_THERE: &str = include_str!("sql/is_there.sql");
const MESSAGE_DB: &str = include_str!("sql/history_of_message_db.sql");

/// Behind a pooler, an answer of this age is recent.
const RECENT: Duration = Duration::from_secs(1);

/// The current history of one open store, and the facts that identify it.
#[derive(Debug)]
pub(super) struct Histories {
    place: String,
    is_message_db: bool,
    planted: Planted<PlantedBug>,
    /// The URL has several hosts, so a primary can come back after another took its place.
    has_several_hosts: bool,
    last: Mutex<Last>,
    current: AtomicU64,
    /// The highest global position in any answer under the current history.
    seen: AtomicI64,
    /// The message with the highest global position that was written or read under the current history.
    last_message: Mutex<Option<LostMessage>>,
    /// The last such message of the history before, until it was looked for.
    of_before: Mutex<Option<LostMessage>>,
    /// How the current history began.
    change: Mutex<Option<HistoryChange>>,
    /// Whether this user may not ask for the facts about the server.
    is_blind: AtomicBool,
}

#[derive(Debug)]
struct Last {
    store_id: StoreId,
    server: Server,
    asked_at: Option<Instant>,
}

/// The facts about a server. `None` if this user may not read it; `None` counts as unchanged.
#[derive(Clone, Debug, Default)]
struct Server {
    system_identifier: Option<String>,
    timeline: Option<String>,
    is_standby: bool,
}

impl Histories {
    pub(super) fn new(
        place: String,
        store_id: StoreId,
        (is_message_db, has_several_hosts): (bool, bool),
        planted: Planted<PlantedBug>,
    ) -> Self {
        let last = Mutex::new(Last { store_id, server: Server::default(), asked_at: None });
        let (current, seen, is_blind) = (AtomicU64::new(0), AtomicI64::new(0), AtomicBool::new(false));
        let (last_message, of_before, change) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            place,
            is_message_db,
            planted,
            has_several_hosts,
            last,
            current,
            seen,
            last_message,
            of_before,
            change,
            is_blind,
        }
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

    /// Records a message of an answer. One of an earlier history does not count.
    pub(super) fn record_message(&self, history: History, id: MessageId, global_position: GlobalPosition) {
        let mut last = lock(&self.last_message);
        if history == self.current() && last.is_none_or(|last| last.global_position < global_position) {
            *last = Some(LostMessage { id, global_position });
        }
    }

    /// How the current history began. `None` for the first one.
    pub(super) fn change(&self) -> Option<HistoryChange> {
        lock(&self.change).clone()
    }

    /// Records a new identity of the store, which begins another history.
    pub(super) fn rotated(&self, store_id: StoreId) {
        let mut last = self.last();
        last.store_id = store_id;
        self.current.fetch_add(1, Ordering::SeqCst);
    }

    /// The host, port and database.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Whether the server was asked a moment ago.
    pub(super) fn is_recent(&self) -> bool {
        self.last().asked_at.is_some_and(|asked_at| asked_at.elapsed() < RECENT)
    }

    /// Why a server is not a standby that follows the primary, if it is not.
    pub(super) async fn is_not_followed_by(&self, client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
        let Facts { server, store_id, .. } = self.facts(client, "").await?;
        let last = self.last();
        if !server.is_standby {
            return Ok(Some("is no standby".to_owned()));
        }
        if self.has(PlantedBug::StandbysOfAnyHistory) {
            return Ok(None);
        }
        let is_known = server.system_identifier.is_some() && server.timeline.is_some();
        if !is_known {
            return Ok(Some("is a standby, and this user may not ask what it follows (pg_control_system)".to_owned()));
        }
        let is_same = server.changes(&last.server).is_empty() && store_id.is_none_or(|id| id == last.store_id);
        let reason = "is a standby that has not followed the primary into its present history, as far as its last checkpoint says";
        Ok((!is_same).then(|| reason.to_owned()))
    }

    /// Returns the history of a connection's server. Begins another history if the server's facts require it. `None` if the
    /// server was the primary until another one took its place.
    pub(super) async fn verify(&self, client: &Client) -> Result<Option<History>, tokio_postgres::Error> {
        self.ask(client, "").await
    }

    /// Whether the server was the primary until another one, which was seen before, took its place.
    pub(super) async fn is_deposed(&self, client: &Client) -> Result<bool, tokio_postgres::Error> {
        Ok(self.facts(client, "").await?.server.is_deposed_by(&self.last().server))
    }

    /// Begins a transaction with these limits, and returns the history of its server.
    pub(super) async fn begin(&self, client: &Client, limits: &str) -> Result<Option<History>, tokio_postgres::Error> {
        self.ask(client, &format!("BEGIN ISOLATION LEVEL READ COMMITTED;{limits}")).await
    }

    async fn ask(&self, client: &Client, first: &str) -> Result<Option<History>, tokio_postgres::Error> {
        let (before, seen) = (self.current(), self.seen());
        let facts = self.facts(client, first).await?;
        let given_out = facts.given_out;
        let Some(history) = self.compare(facts, before, seen) else { return Ok(None) };
        self.record_seen(history, given_out);
        let of_before = *lock(&self.of_before);
        // An error would end a transaction that has begun.
        if let Some(of_before) = of_before.filter(|_| first.is_empty()) {
            self.look_for(client, of_before).await?;
        }
        Ok(Some(history))
    }

    /// Compares the facts about a server with those seen before, and begins another history if they require it. `None` if the
    /// server was the primary until another one took its place.
    fn compare(&self, facts: Facts, before: History, seen: GlobalPosition) -> Option<History> {
        let Facts { server, store_id, given_out } = facts;
        let mut last = self.last();
        let may_be_deposed = self.has_several_hosts && !self.has(PlantedBug::DeposedPrimariesServe);
        if may_be_deposed && server.is_deposed_by(&last.server) {
            return None;
        }
        last.asked_at = Some(Instant::now());
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
            let reason = changes.join("; ");
            tracing::warn!(
                target: "message_store::postgres",
                store = %self.place,
                changes = reason,
                "the store has another history than before; positions remembered from the earlier one are forgotten"
            );
            *lock(&self.change) = Some(HistoryChange::new(Timestamp::now(), reason, None));
            *lock(&self.of_before) = lock(&self.last_message).take();
        }
        Some(self.current())
    }

    /// Names the last message of the earlier history, if it is lost.
    async fn look_for(&self, client: &Client, before: LostMessage) -> Result<(), tokio_postgres::Error> {
        let sql = IS_THERE.replace("{id}", &before.id.to_string());
        let is_there = match rows(client, &sql).await {
            Ok(rows) => rows.iter().any(|row| row.get(0) == Some("t")),
            // This user may not read messages, so it cannot know.
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => true,
            Err(error) => return Err(error),
        };
        if !is_there {
            let LostMessage { id, global_position } = before;
            tracing::error!(
                target: "message_store::postgres",
                store = %self.place,
                "the store has lost its latest messages: the message {id} at global position {global_position} is not there any more"
            );
            if let Some(change) = &mut *lock(&self.change) {
                change.lost = Some(before);
            }
        }
        lock(&self.of_before).take_if(|of_before| *of_before == before);
        Ok(())
    }

    async fn facts(&self, client: &Client, first: &str) -> Result<Facts, tokio_postgres::Error> {
        let store = if self.is_message_db { MESSAGE_DB } else { STORE };
        if !self.is_blind.load(Ordering::Relaxed) {
            match rows(client, &format!("{first}{SERVER};{store}")).await {
                // This user lacks the right to read the first statement's functions. No other error makes it blind: the
                // server could be another one.
                Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                    self.is_blind.store(true, Ordering::Relaxed);
                    if !first.is_empty() {
                        client.batch_execute("ROLLBACK").await?;
                    }
                }
                rows => return rows.map(|rows| Facts::of(&rows)),
            }
        }
        rows(client, &format!("{first}{store}")).await.map(|rows| Facts::of(&rows))
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        lock(&self.last)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a server answers. `None` if this user may not know it.
struct Facts {
    server: Server,
    store_id: Option<StoreId>,
    given_out: Option<GlobalPosition>,
}

impl Facts {
    fn of(rows: &[SimpleQueryRow]) -> Self {
        // The columns have the types of these values.
        let value = |column| rows.iter().find_map(|row| row.try_get(column).ok().flatten());
        Self {
            server: Server {
                system_identifier: value("system_identifier").map(str::to_owned),
                timeline: value("timeline").map(str::to_owned),
                is_standby: value("is_standby") == Some("t"),
            },
            store_id: value("store_id").and_then(|id| id.parse().ok()).map(StoreId::from_uuid),
            given_out: value("given_out").and_then(|position| position.parse().ok()).map(GlobalPosition::new),
        }
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

    /// Whether this is a primary, and the other one was promoted after it: both began as the same server.
    fn is_deposed_by(&self, other: &Self) -> bool {
        let is_same = self.system_identifier.is_some() && self.system_identifier == other.system_identifier;
        let timelines = self.timeline.as_ref().zip(other.timeline.as_ref());
        // Both have eight hexadecimal digits.
        is_same && !self.is_standby && timelines.is_some_and(|(this, other)| this < other)
    }

    fn learn(&mut self, found: Self) {
        self.system_identifier = found.system_identifier.or(self.system_identifier.take());
        self.timeline = found.timeline.or(self.timeline.take());
        self.is_standby = found.is_standby;
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
