//! The archive. `functions/archive.sql` moves the messages.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::PostgresStore;
use super::connection::Connection;
use super::failure::backend;
use super::row::get;
use crate::store::{Archive, ArchiveRun};
use crate::{Category, Error, GlobalPosition, Result, StreamName};

const BEGIN: &str = include_str!("sql/begin_archive_run.sql");
const MOVE_PART: &str = include_str!("sql/archive_part.sql");
const RUNS: &str = include_str!("sql/archive_runs.sql");

#[async_trait]
impl Archive for PostgresStore {
    async fn begin(&self, category: &Category, through: GlobalPosition) -> Result<ArchiveRun> {
        one(self.ask("beginning to archive", BEGIN, &[&category.as_str(), &through.get()]).await?)
    }

    async fn move_part(&self, run: &ArchiveRun, messages: u32) -> Result<ArchiveRun> {
        let messages = i32::try_from(messages).unwrap_or(i32::MAX);
        one(self.ask("archiving messages", MOVE_PART, &[&run.number, &messages]).await?)
    }

    async fn runs(&self) -> Result<Vec<ArchiveRun>> {
        self.ask("reading the journal of the archive", RUNS, &[]).await
    }
}

impl PostgresStore {
    async fn ask(
        &self,
        context: &'static str,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<ArchiveRun>> {
        let ask = async |connection: &mut Connection| connection.query(sql, parameters).await.map_err(backend(context));
        self.pool.with(ask).await?.iter().map(run_in).collect()
    }
}

fn one(mut runs: Vec<ArchiveRun>) -> Result<ArchiveRun> {
    runs.pop().ok_or_else(|| Error::backend("archiving messages", false, "the server returned no run"))
}

fn run_in(row: &Row) -> Result<ArchiveRun> {
    Ok(ArchiveRun {
        number: get(row, 0)?,
        category: StreamName::from_database(get(row, 1)?).category(),
        through: GlobalPosition::new(get(row, 2)?),
        looked_through: GlobalPosition::new(get(row, 3)?),
        moved: get::<i64>(row, 4)?.unsigned_abs(),
        begun_at: get(row, 5)?,
        ended_at: get(row, 6)?,
    })
}
