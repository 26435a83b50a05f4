//! Changes of an erasure, as parts of transactions. The clock is the clock of the machine.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::failure::Failed;
use super::read::time_in;
use crate::store::{ErasureRun, ErasureTarget, Redaction};
use crate::{Error, GlobalPosition, Result};

/// A change of an erasure, as a part of a transaction.
#[derive(Debug)]
pub(super) enum ErasureChange {
    Begin(ErasureTarget),
    /// The number of the run, the new contents, the position through which it has looked, and whether it ends.
    Erase(i64, Vec<Redaction>, GlobalPosition, bool),
}

pub(super) fn change(transaction: &Transaction<'_>, change: &ErasureChange) -> Result<ErasureRun, Failed> {
    match change {
        ErasureChange::Begin(target) => begin(transaction, target),
        ErasureChange::Erase(number, redactions, through, is_end) => {
            erase(transaction, *number, redactions, *through, *is_end)
        }
    }
}

fn begin(transaction: &Transaction<'_>, target: &ErasureTarget) -> Result<ErasureRun, Failed> {
    let (open, (kind, name)) = (include_str!("sql/open_erasure_run.sql"), target.parts());
    if let Some(run) = transaction.query_row(open, (kind, name), run_in).optional()? {
        return Ok(run);
    }
    let begin = include_str!("sql/begin_erasure_run.sql");
    transaction.execute(begin, (kind, name, Timestamp::now().as_microsecond()))?;
    Ok(transaction.query_row(open, (kind, name), run_in)?)
}

fn erase(
    transaction: &Transaction<'_>,
    number: i64,
    redactions: &[Redaction],
    through: GlobalPosition,
    is_end: bool,
) -> Result<ErasureRun, Failed> {
    let sql = include_str!("sql/erasure_run.sql");
    let run = transaction.query_row(sql, [number], run_in).optional()?;
    let run = run.ok_or_else(|| Error::invalid("run of an erasure", format!("there is no run {number}")))?;
    if run.ended_at.is_some() {
        return Ok(run);
    }
    let mut erased = 0;
    let mut in_table = transaction.prepare_cached(include_str!("sql/erase_message.sql"))?;
    let mut in_archive = transaction.prepare_cached(include_str!("sql/erase_archived_message.sql"))?;
    // They were made of what is erased. A run that goes on after a kill no longer knows the streams of the parts before.
    let mut snapshots = transaction.prepare_cached(include_str!("sql/remove_snapshots_of_message.sql"))?;
    for Redaction { id, data, metadata } in redactions {
        let id = id.as_uuid();
        erased += in_table.execute((id.as_bytes(), data.as_str(), metadata.as_str()))?;
        erased += in_archive.execute((id.as_bytes(), data.as_str(), metadata.as_str()))?;
        snapshots.execute([id.as_bytes()])?;
    }
    let ended_at = is_end.then(|| Timestamp::now().as_microsecond());
    let erased = i64::try_from(erased).unwrap_or(i64::MAX);
    transaction.execute(include_str!("sql/save_erasure_run.sql"), (number, through.get(), erased, ended_at))?;
    Ok(transaction.query_row(sql, [number], run_in)?)
}

pub(super) fn run_in(row: &Row<'_>) -> rusqlite::Result<ErasureRun> {
    const TIMES: [usize; 2] = [5, 6];
    let (kind, name): (String, String) = (row.get(1)?, row.get(2)?);
    let ended_at: Option<i64> = row.get(TIMES[1])?;
    let unknown = || {
        let text = format!("this version does not know a {kind} as a target");
        rusqlite::Error::FromSqlConversionFailure(1, Type::Text, text.into())
    };
    Ok(ErasureRun {
        number: row.get(0)?,
        target: ErasureTarget::from_parts(&kind, &name).ok_or_else(unknown)?,
        looked_through: GlobalPosition::new(row.get(3)?),
        erased: row.get::<_, i64>(4)?.unsigned_abs(),
        begun_at: time_in(TIMES[0], row.get(TIMES[0])?)?,
        ended_at: ended_at.map(|time| time_in(TIMES[1], time)).transpose()?,
    })
}
