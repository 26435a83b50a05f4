//! The number of a store's history.

/// The number of the history that a handle sees: 0 when the store is opened, and one more for each history that begins
/// later. Numbers of two handles must not be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History(pub u64);
