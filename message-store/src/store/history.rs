//! Histories of a store, as a handle sees them.

/// Counts the histories that a handle has seen of its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History(pub u64);
