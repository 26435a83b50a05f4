//! Changes of the archive, as parts of transactions. The clock is the clock of the machine.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::failure::Failed;
use super::read::time_in;
use crate::store::ArchiveRun;
use crate::{Category, Error, GlobalPosition, Result, StreamName};

/// A change of the archive, as a part of a transaction.
#[derive(Debug)]
pub(super) enum ArchiveChange {
    Begin(Category, GlobalPosition),
    /// The number of the run, and the number of messages to look at.
    Move(i64, u32),
}

pub(super) fn change(transaction: &Transaction<'_>, change: &ArchiveChange) -> Result<ArchiveRun, Failed> {
    match change {
        ArchiveChange::Begin(category, through) => begin(transaction, category, *through),
        ArchiveChange::Move(number, messages) => move_part(transaction, *number, *messages),
    }
}

fn begin(transaction: &Transaction<'_>, category: &Category, through: GlobalPosition) -> Result<ArchiveRun, Failed> {
    let open = include_str!("sql/open_archive_run.sql");
    if let Some(run) = transaction.query_row(open, [category.as_str()], run_in).optional()? {
        return Ok(run);
    }
    let begin = include_str!("sql/begin_archive_run.sql");
    transaction.execute(begin, (category.as_str(), through.get(), Timestamp::now().as_microsecond()))?;
    Ok(transaction.query_row(open, [category.as_str()], run_in)?)
}

fn move_part(transaction: &Transaction<'_>, number: i64, messages: u32) -> Result<ArchiveRun, Failed> {
    let run = transaction.query_row(include_str!("sql/archive_run.sql"), [number], run_in).optional()?;
    let mut run = run.ok_or_else(|| Error::invalid("run of the archive", format!("there is no run {number}")))?;
    if run.ended_at.is_some() {
        return Ok(run);
    }
    let mut statement = transaction.prepare_cached(include_str!("sql/to_archive.sql"))?;
    let bounds = (run.category.as_str(), run.looked_through.get(), run.through.get(), messages);
    let rows = statement.query_map(bounds, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let looked_at: Vec<(i64, bool)> = rows.collect::<rusqlite::Result<_>>()?;
    let mut write = transaction.prepare_cached(include_str!("sql/archive_message.sql"))?;
    let mut delete = transaction.prepare_cached(include_str!("sql/delete_message.sql"))?;
    for (position, _) in looked_at.iter().filter(|(_, has_later)| *has_later) {
        write.execute([position])?;
        delete.execute([position])?;
        run.moved += 1;
    }
    run.looked_through = looked_at.last().map_or(run.looked_through, |(last, _)| GlobalPosition::new(*last));
    if looked_at.len() < messages as usize {
        run.looked_through = run.through;
        run.ended_at = Some(Timestamp::now());
    }
    let moved = i64::try_from(run.moved).unwrap_or(i64::MAX);
    let ended_at = run.ended_at.map(Timestamp::as_microsecond);
    transaction
        .execute(include_str!("sql/save_archive_run.sql"), (number, run.looked_through.get(), moved, ended_at))?;
    Ok(transaction.query_row(include_str!("sql/archive_run.sql"), [number], run_in)?)
}

pub(super) fn run_in(row: &Row<'_>) -> rusqlite::Result<ArchiveRun> {
    const TIMES: [usize; 2] = [5, 6];
    let ended_at: Option<i64> = row.get(TIMES[1])?;
    Ok(ArchiveRun {
        number: row.get(0)?,
        category: StreamName::from_database(row.get_ref(1)?.as_str()?).category(),
        through: GlobalPosition::new(row.get(2)?),
        looked_through: GlobalPosition::new(row.get(3)?),
        moved: row.get::<_, i64>(4)?.unsigned_abs(),
        begun_at: time_in(TIMES[0], row.get(TIMES[0])?)?,
        ended_at: ended_at.map(|time| time_in(TIMES[1], time)).transpose()?,
    })
}
