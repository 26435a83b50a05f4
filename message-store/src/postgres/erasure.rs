//! Erasure. `functions/erasure.sql` replaces the content of messages.

use std::sync::LazyLock;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::PostgresStore;
use super::connection::Connection;
use super::failure::backend;
use super::read::messages_in;
use super::row::get;
use crate::store::{Erasure, ErasureRun, ErasureTarget, Redaction};
use crate::{Error, GlobalPosition, Message, Result};

const BEGIN: &str = include_str!("sql/begin_erasure_run.sql");
const ERASE_PART: &str = include_str!("sql/erase_part.sql");
const RUNS: &str = include_str!("sql/erasure_runs.sql");
static OF_STREAM: LazyLock<String> = LazyLock::new(|| messages_to_erase(include_str!("sql/erased_of_stream.sql")));
static OF_ENTITY: LazyLock<String> = LazyLock::new(|| messages_to_erase(include_str!("sql/erased_of_entity.sql")));
static OF_TAG: LazyLock<String> = LazyLock::new(|| messages_to_erase(include_str!("sql/erased_of_tag.sql")));

fn messages_to_erase(found: &str) -> String {
    include_str!("sql/messages_to_erase.sql").replace("{found}", found)
}

#[async_trait]
impl Erasure for PostgresStore {
    async fn begin(&self, target: &ErasureTarget) -> Result<ErasureRun> {
        let (kind, name) = target.parts();
        one(self.ask_for_runs(BEGIN, &[&kind, &name]).await?)
    }

    async fn messages(&self, target: &ErasureTarget, after: GlobalPosition, limit: usize) -> Result<Vec<Message>> {
        let sql: &'static str = match target {
            ErasureTarget::Stream(_) => &OF_STREAM,
            ErasureTarget::Entity(_) => &OF_ENTITY,
            ErasureTarget::Tag(_) => &OF_TAG,
        };
        let (name, limit) = (target.parts().1, self.limits.rows(limit));
        let read = async |connection: &mut Connection| {
            let rows = connection.query(sql, &[&name, &after.get(), &limit]).await;
            messages_in(connection, &rows.map_err(backend("reading messages to erase"))?)
        };
        self.pool.with(read).await
    }

    async fn redact(
        &self,
        run: &ErasureRun,
        redactions: Vec<Redaction>,
        through: GlobalPosition,
    ) -> Result<ErasureRun> {
        self.erase_part(run, &redactions, through, false).await
    }

    async fn end(&self, run: &ErasureRun) -> Result<ErasureRun> {
        self.erase_part(run, &[], run.looked_through, true).await
    }

    async fn runs(&self) -> Result<Vec<ErasureRun>> {
        self.ask_for_runs(RUNS, &[]).await
    }
}

impl PostgresStore {
    async fn erase_part(
        &self,
        run: &ErasureRun,
        redactions: &[Redaction],
        through: GlobalPosition,
        is_end: bool,
    ) -> Result<ErasureRun> {
        let ids: Vec<Uuid> = redactions.iter().map(|redaction| redaction.id.as_uuid()).collect();
        let data: Vec<Option<&str>> = redactions.iter().map(|redaction| redaction.data.as_str()).collect();
        let metadata: Vec<Option<&str>> = redactions.iter().map(|redaction| redaction.metadata.as_str()).collect();
        one(self.ask_for_runs(ERASE_PART, &[&run.number, &ids, &data, &metadata, &through.get(), &is_end]).await?)
    }

    async fn ask_for_runs(&self, sql: &'static str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<ErasureRun>> {
        let ask = async |connection: &mut Connection| {
            connection.query(sql, parameters).await.map_err(backend("erasing messages"))
        };
        self.pool.with(ask).await?.iter().map(run_in).collect()
    }
}

fn one(mut runs: Vec<ErasureRun>) -> Result<ErasureRun> {
    runs.pop().ok_or_else(|| Error::backend("erasing messages", false, "the server returned no run"))
}

fn run_in(row: &Row) -> Result<ErasureRun> {
    let (kind, name): (&str, &str) = (get(row, 1)?, get(row, 2)?);
    let unknown =
        || Error::backend("reading an erasure", false, format!("this version does not know a {kind} as a target"));
    Ok(ErasureRun {
        number: get(row, 0)?,
        target: ErasureTarget::from_parts(kind, name).ok_or_else(unknown)?,
        looked_through: GlobalPosition::new(get(row, 3)?),
        erased: get::<i64>(row, 4)?.unsigned_abs(),
        begun_at: get(row, 5)?,
        ended_at: get(row, 6)?,
    })
}
