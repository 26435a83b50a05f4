//! Keys with a window. A key is taken in the transaction that writes its messages. The clock is the clock of the
//! machine.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Transaction;
use uuid::Uuid;

use super::failure::Failed;
use crate::store::{Claim, ClaimRecord};
use crate::{Error, Json, Result};

/// The record of a key. `None` if it was never taken or has expired. A sliding window begins again.
pub(super) fn record(transaction: &Transaction<'_>, claim: &Claim) -> Result<Option<ClaimRecord>, Failed> {
    let now = Timestamp::now().as_microsecond();
    let key = (claim.scope.as_str(), claim.key.as_str(), now);
    let sql = include_str!("sql/find_key.sql");
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query(key)?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let at = Timestamp::from_microsecond(row.get(0)?);
    let at = at.map_err(|error| Error::backend("reading when a key was taken", false, error))?;
    let record = ClaimRecord { at, fingerprint: row.get(1)?, result: Json::from_database(row.get(2)?) };
    if claim.window.is_sliding {
        let sql = include_str!("sql/renew_key.sql");
        let expires_at = expiry(now, claim.window.lifetime);
        transaction.prepare_cached(sql)?.execute((claim.scope.as_str(), claim.key.as_str(), expires_at))?;
    }
    Ok(Some(record))
}

/// Takes a free key, and ends its lease.
pub(super) fn take(transaction: &Transaction<'_>, claim: &Claim, result: &Json) -> rusqlite::Result<()> {
    let now = Timestamp::now().as_microsecond();
    let sql = include_str!("sql/take_key.sql");
    let expires_at = expiry(now, claim.window.lifetime);
    let key = (claim.scope.as_str(), claim.key.as_str());
    transaction.prepare_cached(sql)?.execute((
        key.0,
        key.1,
        now,
        expires_at,
        claim.fingerprint.as_str(),
        result.as_str(),
    ))?;
    transaction.prepare_cached(include_str!("sql/end_lease.sql"))?.execute(key)?;
    Ok(())
}

/// Returns whether the owner now has the lease.
pub(super) fn lease(
    transaction: &Transaction<'_>,
    claim: &Claim,
    owner: Uuid,
    time: Duration,
) -> rusqlite::Result<bool> {
    let now = Timestamp::now().as_microsecond();
    let sql = include_str!("sql/lease_key.sql");
    let lease = (claim.scope.as_str(), claim.key.as_str(), owner.as_bytes(), now, expiry(now, time));
    Ok(transaction.prepare_cached(sql)?.execute(lease)? > 0)
}

pub(super) fn release(transaction: &Transaction<'_>, claim: &Claim, owner: Uuid) -> rusqlite::Result<()> {
    let sql = include_str!("sql/release_key.sql");
    let lease = (claim.scope.as_str(), claim.key.as_str(), owner.as_bytes());
    transaction.prepare_cached(sql)?.execute(lease).map(drop)
}

/// Removes up to `batch` expired keys. Returns their number.
pub(super) fn sweep(transaction: &Transaction<'_>, batch: u32) -> rusqlite::Result<u64> {
    let sql = include_str!("sql/sweep.sql");
    let now = Timestamp::now().as_microsecond();
    transaction.prepare_cached(include_str!("sql/sweep_leases.sql"))?.execute([now])?;
    let swept = transaction.prepare_cached(sql)?.execute((now, batch))?;
    Ok(swept as u64)
}

fn expiry(now: i64, lifetime: Duration) -> i64 {
    now.saturating_add(i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX))
}
