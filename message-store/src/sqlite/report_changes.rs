//! Saves of the reports of services, as parts of transactions.

use jiff::{SignedDuration, Timestamp};
use rusqlite::Transaction;
use uuid::Uuid;

use crate::Json;

/// How long the report of a service that has ended stays.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Saves a report, as a part of a transaction.
pub(super) fn save(transaction: &Transaction<'_>, service: Uuid, report: &Json) -> rusqlite::Result<()> {
    let now = Timestamp::now();
    let kept_since = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN).as_microsecond();
    let id = service.as_bytes();
    transaction.prepare_cached(include_str!("sql/forget_reports.sql"))?.execute((id, kept_since))?;
    let saved = (id, now.as_microsecond(), report.text());
    transaction.prepare_cached(include_str!("sql/save_report.sql"))?.execute(saved)?;
    Ok(())
}
