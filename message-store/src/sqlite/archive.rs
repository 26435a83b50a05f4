//! The archive. The writer's thread moves the messages, so that a part is one transaction, and the file's turns are kept.

use async_trait::async_trait;
use rusqlite::Connection;

use super::SqliteStore;
use super::archive_changes::{ArchiveChange, run_in};
use crate::store::{Archive, ArchiveRun};
use crate::{Category, GlobalPosition, Result};

#[async_trait]
impl Archive for SqliteStore {
    async fn begin(&self, category: &Category, through: GlobalPosition) -> Result<ArchiveRun> {
        self.writer.archive(ArchiveChange::Begin(category.clone(), through)).await
    }

    async fn move_part(&self, run: &ArchiveRun, messages: u32) -> Result<ArchiveRun> {
        self.writer.archive(ArchiveChange::Move(run.number, messages)).await
    }

    async fn runs(&self) -> Result<Vec<ArchiveRun>> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/archive_runs.sql"))?;
            statement.query_map([], run_in)?.collect()
        };
        self.readers.read("reading the journal of the archive", read).await
    }
}
