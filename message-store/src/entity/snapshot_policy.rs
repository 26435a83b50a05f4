//! When snapshots are taken, and of which version they are.

/// When an [`EntityStore`](crate::entity::EntityStore::snapshots) takes snapshots.
///
/// ```
/// use message_store::entity::SnapshotPolicy;
/// let policy = SnapshotPolicy::every(100).version(2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct SnapshotPolicy {
    pub(super) every: i64,
    pub(super) version: u32,
}

impl SnapshotPolicy {
    /// Takes a snapshot when an entity has this number of messages more than at its last snapshot. A load then reads at
    /// most about as many messages.
    pub const fn every(messages: u32) -> Self {
        Self { every: if messages == 0 { 1 } else { messages as i64 }, version: 1 }
    }

    /// The version of the projection (1). Raise it when [`apply`](crate::entity::Projection::apply), or the meaning of a
    /// field of the state, changes: earlier snapshots are then not used. Changes that the library sees by itself need no
    /// new version: the fields of the state, its default, the variants of the events, and the upcasters.
    pub const fn version(self, version: u32) -> Self {
        Self { version, ..self }
    }
}
