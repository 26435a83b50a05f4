//! Erasure. The writer's thread replaces the content of messages, so that a part is one transaction, and the file's turns are
//! kept.

use async_trait::async_trait;
use rusqlite::Connection;

use super::SqliteStore;
use super::erasure_changes::{ErasureChange, run_in};
use super::read::messages;
use crate::store::{Erasure, ErasureRun, ErasureTarget, Redaction};
use crate::{GlobalPosition, Message, Result};

#[async_trait]
impl Erasure for SqliteStore {
    async fn begin(&self, target: &ErasureTarget) -> Result<ErasureRun> {
        self.writer.erase(ErasureChange::Begin(target.clone())).await
    }

    async fn messages(&self, target: &ErasureTarget, after: GlobalPosition, limit: usize) -> Result<Vec<Message>> {
        let (target, limits) = (target.clone(), self.limits);
        let read = move |connection: &Connection| {
            let sql = match target {
                ErasureTarget::Stream(_) => include_str!("sql/messages_of_stream.sql"),
                ErasureTarget::Entity(_) => include_str!("sql/messages_of_entity.sql"),
                ErasureTarget::Tag(_) => include_str!("sql/messages_of_tag.sql"),
            };
            messages(connection, sql, (target.parts().1, after.get(), limits.rows(limit)), &limits)
        };
        self.readers.read("reading messages to erase", read).await
    }

    async fn redact(
        &self,
        run: &ErasureRun,
        redactions: Vec<Redaction>,
        through: GlobalPosition,
    ) -> Result<ErasureRun> {
        self.writer.erase(ErasureChange::Erase(run.number, redactions, through, false)).await
    }

    async fn end(&self, run: &ErasureRun) -> Result<ErasureRun> {
        self.writer.erase(ErasureChange::Erase(run.number, Vec::new(), run.looked_through, true)).await
    }

    async fn runs(&self) -> Result<Vec<ErasureRun>> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/erasure_runs.sql"))?;
            statement.query_map([], run_in)?.collect()
        };
        self.readers.read("reading the journal of erasures", read).await
    }
}
