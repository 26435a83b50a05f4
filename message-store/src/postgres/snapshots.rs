//! Snapshots: one row for each stream, projection and fingerprint.

use async_trait::async_trait;

use super::PostgresStore;
use super::connection::Connection;
use super::failure::backend;
use super::row::get;
use crate::store::{Snapshot, SnapshotKey, Snapshots};
use crate::{History, Position, Result, StreamName};

const LOAD: &str = include_str!("sql/load_snapshot.sql");
const SAVE: &str = include_str!("sql/save_snapshot.sql");
const REMOVE: &str = include_str!("sql/remove_snapshots.sql");

#[async_trait]
impl Snapshots for PostgresStore {
    async fn load(&self, key: &SnapshotKey) -> Result<Option<Snapshot>> {
        let SnapshotKey { stream, projection, fingerprint } = key;
        let load = async |connection: &mut Connection| {
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&stream.as_str(), projection, fingerprint];
            connection.query_opt(LOAD, &parameters).await.map_err(backend("loading a snapshot"))
        };
        let Some(row) = self.pool.with(load).await? else { return Ok(None) };
        Ok(Some(Snapshot { position: Position::new(get(&row, 0)?), content: get(&row, 1)? }))
    }

    async fn save(&self, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
        let SnapshotKey { stream, projection, fingerprint } = key;
        let Snapshot { position, content } = snapshot;
        let save = async |connection: &mut Connection| {
            self.assert_history(connection, history)?;
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&stream.as_str(), projection, fingerprint, &position.get(), content];
            let is_same = connection.begin_writing(None).await.map_err(backend("saving a snapshot"))?;
            if !is_same {
                return Err(self.history_changed());
            }
            let saved = connection.execute(SAVE, &parameters).await;
            connection.end_writing(saved.is_ok()).await.map_err(backend("saving a snapshot"))?;
            saved.map(drop).map_err(backend("saving a snapshot"))
        };
        self.pool.with(save).await
    }

    async fn remove(&self, stream: &StreamName) -> Result<()> {
        let remove = async |connection: &mut Connection| {
            connection.execute(REMOVE, &[&stream.as_str()]).await.map_err(backend("removing snapshots"))
        };
        self.pool.with(remove).await.map(drop)
    }
}
