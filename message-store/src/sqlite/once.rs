//! Keys with a window: taken in the transaction that writes the messages. The clock is that of the machine the file is on.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Transaction;

use super::failure::Failed;
use crate::store::{Claim, ClaimRecord};
use crate::{Error, Json, Result};

/// The key's holder, unless it has expired; with a sliding window, the window begins anew.
pub(super) fn seen(transaction: &Transaction<'_>, claim: &Claim) -> Result<Option<ClaimRecord>, Failed> {
    let now = Timestamp::now().as_microsecond();
    let key = (claim.scope.as_str(), claim.key.as_str(), now);
    let sql = include_str!("sql/find_key.sql");
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query(key)?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let at = Timestamp::from_microsecond(row.get(0)?);
    let at = at.map_err(|error| Error::backend("reading when a key was taken", false, error))?;
    let seen = ClaimRecord { at, fingerprint: row.get(1)?, result: Json::from_database(row.get(2)?) };
    if claim.window.is_sliding {
        let sql = include_str!("sql/renew_key.sql");
        let expires_at = expiry(now, claim.window.lifetime);
        transaction.prepare_cached(sql)?.execute((claim.scope.as_str(), claim.key.as_str(), expires_at))?;
    }
    Ok(Some(seen))
}

/// Takes a key that is free.
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
    Ok(())
}

/// Removes up to `batch` expired keys.
pub(super) fn sweep(transaction: &Transaction<'_>, batch: u32) -> rusqlite::Result<u64> {
    let sql = include_str!("sql/sweep.sql");
    let swept = transaction.prepare_cached(sql)?.execute((Timestamp::now().as_microsecond(), batch))?;
    Ok(swept as u64)
}

fn expiry(now: i64, lifetime: Duration) -> i64 {
    now.saturating_add(i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX))
}
