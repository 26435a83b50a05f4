//! An optional part of a store: snapshots, a cache of the states of entities beside the log.
//!
//! A store keeps the content of a snapshot as it is, and knows nothing of it. Whether a snapshot may be used, its reader
//! decides: [`EntityStore::snapshots`](crate::entity::EntityStore::snapshots).

use async_trait::async_trait;

use crate::{History, Position, Result, StreamName};

/// The snapshots in a store. Losing one costs a read of the stream, so a store need not make them durable.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// The snapshot with this key, if there is one.
    async fn load(&self, key: &SnapshotKey) -> Result<Option<Snapshot>>;

    /// Keeps a snapshot, in place of the one with this key.
    ///
    /// Of each stream and projection, the snapshots with the two fingerprints that were saved last stay: two releases of
    /// a program can run side by side. Earlier ones are removed, and so are snapshots of the stream that were saved more
    /// than 30 days ago.
    ///
    /// # Errors
    /// [`HistoryChanged`](crate::Error::HistoryChanged) if the store has another history than `history`: nothing is
    /// saved.
    async fn save(&self, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()>;

    /// Removes the snapshots of all projections of a stream.
    async fn remove(&self, stream: &StreamName) -> Result<()>;
}

/// The key of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotKey {
    #[allow(missing_docs)]
    pub stream: StreamName,
    /// The name of the projection.
    pub projection: String,
    /// A hash of all from which the content follows, except the stream's messages.
    pub fingerprint: String,
}

/// A stored snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The position of the last message from which it was made.
    pub position: Position,
    /// A JSON text. The store returns it as it is, to the letter.
    pub content: String,
}
