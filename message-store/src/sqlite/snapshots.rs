//! Snapshots. The writer's thread saves and removes them, as parts of its transactions.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use rusqlite::OptionalExtension as _;

use super::SqliteStore;
use super::snapshot_changes::SnapshotChange;
use crate::store::{Snapshot, SnapshotKey, Snapshots};
use crate::{Error, History, MessageStore as _, Position, Result, StreamName};

#[async_trait]
impl Snapshots for SqliteStore {
    async fn load(&self, key: &SnapshotKey) -> Result<Option<Snapshot>> {
        let SnapshotKey { stream, projection, fingerprint } = key.clone();
        self.readers
            .read("loading a snapshot", move |connection| {
                let mut statement = connection.prepare_cached(include_str!("sql/load_snapshot.sql"))?;
                let snapshot = statement.query_row((stream.as_str(), projection, fingerprint), |row| {
                    Ok(Snapshot { position: Position::new(row.get(0)?), content: row.get(1)? })
                });
                snapshot.optional()
            })
            .await
    }

    async fn save(&self, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
        if history != History(self.rotations.load(Ordering::SeqCst)) {
            return Err(Error::HistoryChanged { store: self.describe() });
        }
        self.writer.change_snapshot(SnapshotChange::Save(key.clone(), snapshot.clone())).await
    }

    async fn remove(&self, stream: &StreamName) -> Result<()> {
        self.writer.change_snapshot(SnapshotChange::Remove(stream.clone())).await
    }
}
