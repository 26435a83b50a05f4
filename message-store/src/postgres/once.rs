//! Keys with a window. A key is taken in the transaction that writes its messages.
//!
//! Problem: the transaction may wait for the lock of a category. If it waits for long, it keeps a connection that reads
//! need, and perhaps the lock of another category. Fix: it waits for a limited time, is rolled back, and is tried again
//! after a pause without a connection. The limit grows, so that the transaction gets its turn among busy writers; with
//! several categories it stays short.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::append;
use super::append::{InBatch, RACES, meaning};
use super::connection::Connection;
use super::failure::{backend, is_race};
use super::replication::until_on_standby;
use super::row::get;
use crate::store::{Claim, ClaimRecord};
use crate::{Error, History, Json, Result};

const FIND: &str = include_str!("sql/find_key.sql");
const TAKE: &str = include_str!("sql/take_key.sql");
const LEASE: &str = include_str!("sql/lease_key.sql");
const RELEASE: &str = include_str!("sql/release_key.sql");
const LIMIT_LOCK_WAIT: &str = include_str!("sql/limit_lock_wait.sql");
const SWEEP: &str = include_str!("sql/sweep.sql");

pub(super) async fn record(client: &Connection, claim: &Claim) -> Result<Option<ClaimRecord>> {
    let window = claim.window;
    let row = client
        .query_opt(FIND, &[&claim.scope, &claim.key.as_str(), &seconds(window.lifetime), &window.is_sliding])
        .await
        .map_err(backend("looking for a key"))?;
    if row.is_some() {
        until_on_standby(client).await?;
    }
    row.as_ref().map(record_in).transpose()
}

/// Returns whether the owner now has the lease.
pub(super) async fn lease(client: &Connection, claim: &Claim, owner: Uuid, time: Duration) -> Result<bool> {
    let row = client
        .query_one(LEASE, &[&claim.scope, &claim.key.as_str(), &owner, &seconds(time)])
        .await
        .map_err(backend("leasing a key"))?;
    get(&row, 0)
}

pub(super) async fn release(client: &Connection, claim: &Claim, owner: Uuid) -> Result<()> {
    let released = client.execute(RELEASE, &[&claim.scope, &claim.key.as_str(), &owner]).await;
    released.map(drop).map_err(backend("releasing a key"))
}

/// The result of an attempt to take a key.
pub(super) enum Taken {
    Now,
    Before(ClaimRecord),
    /// A lock did not come in time. Nothing was written.
    NotInTime,
}

/// How long an attempt waits for a lock, and the pause after it.
pub(super) struct LockTimeout {
    now: Duration,
    longest: Duration,
    pause: Duration,
}

impl LockTimeout {
    /// Zero means no limit to the server.
    pub(super) const NONE: Self = Self { now: Duration::ZERO, longest: Duration::ZERO, pause: Duration::ZERO };

    pub(super) fn new(append: InBatch<'_>) -> Self {
        const SHORT: Duration = Duration::from_millis(50);
        let has_several_categories = append::categories(append).len() > 1;
        Self { now: SHORT, longest: if has_several_categories { SHORT } else { SHORT * 2 }, pause: SHORT }
    }

    pub(super) async fn pause(&mut self) {
        // The pause grows more than the wait, so that many calls that wait leave connections to others.
        const LONGEST: Duration = Duration::from_millis(800);
        tokio::time::sleep(self.pause).await;
        (self.now, self.pause) = ((self.now * 2).min(self.longest), (self.pause * 2).min(LONGEST));
    }
}

pub(super) async fn append_once(
    client: &mut Connection,
    claim: &Claim,
    append: InBatch<'_>,
    result: &Json,
    (lock_timeout, history): (&LockTimeout, Option<History>),
) -> Result<Taken> {
    let mut races = 0;
    loop {
        match try_append(client, claim, append, result, (lock_timeout, history)).await {
            Ok(Ok(true)) => return Ok(Taken::Now),
            Ok(Ok(false)) => {
                if let Some(record) = record(client, claim).await? {
                    return Ok(Taken::Before(record));
                }
                // The record expired between the two statements.
            }
            Ok(Err(refused)) => return Err(refused),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(Taken::NotInTime),
            Err(error) if races < RACES && error.as_db_error().is_some_and(is_race) => {}
            Err(error) => return Err(meaning(error, append.0)),
        }
        races += 1;
    }
}

/// Returns whether the key was free. If it was, this takes it and writes the messages, unless the append is refused.
async fn try_append(
    client: &mut Connection,
    claim: &Claim,
    in_batch: InBatch<'_>,
    result: &Json,
    (lock_timeout, history): (&LockTimeout, Option<History>),
) -> Result<Result<bool>, tokio_postgres::Error> {
    let place = client.place();
    let [limit, take, append] = client.prepare_all([LIMIT_LOCK_WAIT, TAKE, append::statement([in_batch])]).await?;
    let changed = || Ok(Err(Error::HistoryChanged { store: place.clone() }));
    if history.is_some_and(|history| history != client.history()) {
        return changed();
    }
    let question = history.map(|_| client.history_question());
    let transaction = client.transaction().await?;
    if let Some(question) = question
        && !question.is_same(transaction.client()).await?
    {
        transaction.rollback().await?;
        return changed();
    }
    let lifetime = seconds(claim.window.lifetime);
    let milliseconds = lock_timeout.now.as_millis().to_string();
    let milliseconds: [&(dyn ToSql + Sync); 1] = [&milliseconds];
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&claim.scope, &claim.key.as_str(), &lifetime, &claim.fingerprint, &result.as_str()];
    // Both are sent at once.
    let (limited, row) = tokio::join!(
        limit.query_one(transaction.client(), &milliseconds),
        take.query_one(transaction.client(), &parameters)
    );
    limited?;
    let row = row?;
    if !row.try_get::<_, bool>(0)? {
        transaction.rollback().await?;
        return Ok(Ok(false));
    }
    if !in_batch.0.is_empty() {
        let sent = append::send(transaction.client(), &append, [in_batch], |_| None, None).await?;
        if let Some(Err(refused)) = sent.results.into_iter().flatten().find(Result::is_err) {
            transaction.rollback().await?;
            return Ok(Err(refused));
        }
    }
    transaction.commit().await?;
    Ok(Ok(true))
}

pub(super) async fn sweep(client: &Connection, batch: u32) -> Result<u64> {
    let batch = i32::try_from(batch).unwrap_or(i32::MAX);
    let row = client.query_one(SWEEP, &[&batch]).await.map_err(backend("sweeping keys"))?;
    Ok(get::<i64>(&row, 0)?.unsigned_abs())
}

fn record_in(row: &Row) -> Result<ClaimRecord> {
    let at: Timestamp = get(row, 0)?;
    Ok(ClaimRecord { at, fingerprint: get(row, 1)?, result: Json::from_database(get(row, 2)?) })
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
