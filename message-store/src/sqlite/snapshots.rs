//! Snapshots. The writer's thread saves and removes them, as parts of its transactions.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension as _, Transaction};

use super::SqliteStore;
use crate::store::{Snapshot, SnapshotKey, Snapshots};
use crate::{Error, History, MessageStore as _, Position, Result, StreamName};

/// How long a snapshot stays that is not saved again, if others of its stream are.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A change of the snapshots.
#[derive(Debug)]
pub(super) enum SnapshotChange {
    Save(SnapshotKey, Snapshot),
    Remove(StreamName),
}

/// Carries out a change, as a part of a transaction.
pub(super) fn change(transaction: &Transaction<'_>, change: &SnapshotChange) -> rusqlite::Result<()> {
    match change {
        SnapshotChange::Save(SnapshotKey { stream, projection, fingerprint }, Snapshot { position, content }) => {
            let now = Timestamp::now();
            let key = (stream.as_str(), projection, fingerprint);
            let parameters = (key.0, key.1, key.2, position.get(), content, now.as_microsecond());
            transaction.prepare_cached(include_str!("sql/save_snapshot.sql"))?.execute(parameters)?;
            let kept_since = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN).as_microsecond();
            let prune = include_str!("sql/prune_snapshots.sql");
            transaction.prepare_cached(prune)?.execute((key.0, key.1, key.2, kept_since))?;
        }
        SnapshotChange::Remove(stream) => {
            transaction.prepare_cached(include_str!("sql/remove_snapshots.sql"))?.execute([stream.as_str()])?;
        }
    }
    Ok(())
}

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
