//! Reads of categories from a standby.
//!
//! Problem: a new consumer, or one that is far behind, reads a whole category, and takes time from the primary. But a standby is
//! behind the primary: a reader that took the standby's end of a category for the end would sleep although messages wait, and
//! a look for something that is missing would not find it. Fix: the standby gives what it has. When it has nothing more, the
//! primary is asked, and only the primary says that a category ends. Why it is right: every snapshot of a standby contains all
//! messages of a category up to some position (docs/decisions/0013). So its batch is the batch that the primary would have
//! returned, or the beginning of it, and no caller sees a difference. One exception: the data of a message that was erased can be
//! read until the standby has carried out the erasure.
//!
//! A standby that follows another history than the primary's may have messages that the store has lost, so it is not asked.
//! A reader that has come to the end is not sent to the standby again, until it is far behind.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::timeout;
use tokio_postgres::Client;

use super::connection::Connection;
use super::failure::backend;
use super::history::Histories;
use super::hosts::{Connected, places_of};
use super::large_rows::LargeRows;
use super::pool::Pool;
use super::reconnects::Reconnects;
use super::row::get;
use super::silence::Silences;
use super::{PlantedBug, PostgresOptions, read, tls};
use crate::store::StandbyReads;
use crate::{Batch, Category, Error, GlobalPosition, Limits, Read, Result};

const WRITTEN: &str = include_str!("sql/written_wal.sql");
const BEHIND: &str = include_str!("sql/standby_behind.sql");

const CONTEXT: &str = "asking how far the standby is behind";

/// The time within which the standby must say how far it is behind.
const REPORT_WITHIN: Duration = Duration::from_secs(2);
/// After a failed attempt, the standby is left alone for this time.
const PAUSE: Duration = Duration::from_secs(5);
/// A batch of the primary with so many messages shows that its reader is far behind.
const FAR_BEHIND: usize = 500;

/// The standby that categories are read from.
#[derive(Debug)]
pub(super) struct StandbyReader {
    pool: Pool,
    histories: Arc<Histories>,
    from_standby: AtomicU64,
    from_primary: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why the standby does not serve.
    away: Option<Away>,
    /// The position from which on the standby had nothing, of each category.
    ends: HashMap<Category, GlobalPosition>,
}

#[derive(Debug)]
struct Away {
    since: Timestamp,
    reason: String,
    /// The time of the next attempt.
    next: Instant,
}

impl StandbyReader {
    /// `size` is that of its pool, with the time for which a caller waits for a connection.
    pub(super) fn new(
        options: &PostgresOptions,
        histories: &Arc<Histories>,
        size: (usize, Option<Duration>),
    ) -> Result<Self> {
        let options = options.clone().of_standby();
        let pool = Pool::new("standby", options, histories, size, (&Silences::default(), &Reconnects::default()))?;
        let (from_standby, from_primary, state) = Default::default();
        Ok(Self { pool, histories: Arc::clone(histories), from_standby, from_primary, state })
    }

    /// Reads a batch from the standby. `None`: the primary must be asked.
    pub(super) async fn read(&self, category: &Category, read: &Read, bounds: (&Limits, &LargeRows)) -> Option<Batch> {
        if !read.with_archive || !self.is_to_ask(category, read.from) {
            return None;
        }
        let work = async |connection: &mut Connection| read::category(connection, category, read, bounds).await;
        match self.pool.with(work).await {
            Ok(batch) => {
                self.is_back();
                if !batch.is_at_end(read) || self.histories.has(PlantedBug::StandbyEndsCategories) {
                    self.from_standby.fetch_add(1, Ordering::Relaxed);
                    return Some(batch);
                }
                self.state().ends.insert(category.clone(), read.from);
            }
            Err(error) => self.is_away(&crate::chain(&error)),
        }
        None
    }

    /// Notes a batch that the primary returned.
    pub(super) fn read_from_primary(&self, category: &Category, batch: &Batch) {
        self.from_primary.fetch_add(1, Ordering::Relaxed);
        if batch.messages.len() >= FAR_BEHIND {
            self.state().ends.remove(category);
        }
    }

    fn is_to_ask(&self, category: &Category, from: GlobalPosition) -> bool {
        let state = self.state();
        let is_away = state.away.as_ref().is_some_and(|away| Instant::now() < away.next);
        !is_away && state.ends.get(category).is_none_or(|end| from < *end)
    }

    fn is_back(&self) {
        if let Some(Away { since, .. }) = self.state().away.take() {
            tracing::info!(target: "message_store::postgres", store = %self.histories.place(), %since, "categories are read from the standby again");
        }
    }

    fn is_away(&self, reason: &str) {
        let mut state = self.state();
        if state.away.is_none() {
            tracing::warn!(target: "message_store::postgres", store = %self.histories.place(), reason, "no standby serves: categories are read from the primary");
        }
        let since = state.away.as_ref().map_or_else(Timestamp::now, |away| away.since);
        state.away = Some(Away { since, reason: reason.to_owned(), next: Instant::now() + PAUSE });
    }

    /// What was read from where, and how far the standby is behind the primary.
    pub(super) async fn report(&self, primary: &Pool) -> StandbyReads {
        let is_to_ask = self.state().away.as_ref().is_none_or(|away| away.next <= Instant::now());
        let mut bytes_behind = None;
        if is_to_ask {
            match timeout(REPORT_WITHIN, self.behind(primary)).await {
                Ok(Ok(bytes)) => {
                    self.is_back();
                    bytes_behind = Some(bytes);
                }
                Ok(Err(error)) => self.is_away(&crate::chain(&error)),
                Err(_) => self.is_away("it did not say in time how far it is behind"),
            }
        }
        let state = self.state();
        StandbyReads {
            from_standby: self.from_standby.load(Ordering::Relaxed),
            from_primary: self.from_primary.load(Ordering::Relaxed),
            bytes_behind,
            away_since: state.away.as_ref().map(|away| away.since),
            reason: state.away.as_ref().map(|away| away.reason.clone()),
        }
    }

    /// The bytes of the primary's log that the standby has not carried out.
    async fn behind(&self, primary: &Pool) -> Result<u64> {
        let written = primary.with(async |connection| written(connection).await).await?;
        self.pool.with(async |connection| bytes_behind(connection, &written).await).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of what the primary has written.
async fn written(primary: &Client) -> Result<String> {
    get(&primary.query_one(WRITTEN, &[]).await.map_err(backend(CONTEXT))?, 0)
}

async fn bytes_behind(standby: &Client, written: &str) -> Result<u64> {
    let bytes: i64 = get(&standby.query_one(BEHIND, &[&written]).await.map_err(backend(CONTEXT))?, 0)?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// Looks whether a standby serves, for a report of the database. Returns what was looked at, and its problem.
pub(super) async fn look(options: PostgresOptions, primary: &Client) -> Result<(String, Option<String>)> {
    let store_id = read::store_id(primary).await?;
    let histories = Arc::new(Histories::new(options.place(), store_id, (false, true), options.planted));
    histories.verify(primary).await.map_err(backend("asking the server for its history"))?;
    let behind = async {
        let connected = options.of_standby().hosts().of_histories(&histories).connect().await;
        let connected = connected.map_err(|error| error.at_first("connecting to a standby"))?;
        let Connected { client, messages, config } = connected;
        let driver = tokio::spawn(tls::drive(messages));
        let bytes = bytes_behind(&client, &written(primary).await?).await;
        driver.abort();
        Ok((places_of(&config), bytes?))
    };
    Ok(match behind.await {
        Ok((place, bytes)) => {
            (format!("category reads from the standby {place}, which is {bytes} bytes behind the primary"), None)
        }
        Err::<_, Error>(error) => {
            let problem = format!("none serves, so the primary does: {}", crate::chain(&error));
            ("category reads from a standby".to_owned(), Some(problem))
        }
    })
}
