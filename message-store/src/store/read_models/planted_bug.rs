//! Protections that a test can switch off, to show that the test notices.

/// A protection of read models that a test switches off ([`Update::plant`](super::Update)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
pub enum ReadModelBug {
    /// A transaction does not check that the position is still the one from which its messages were read.
    PositionUnchecked,
    /// A version that no longer serves is updated.
    StateUnchecked,
    /// A version that is built has effects.
    EffectsWhileBuilding,
    /// A version that is built passes the one that serves.
    BuildPassesServing,
    /// A version begins to serve before it has caught up.
    SwitchedEarly,
    /// A position that is set back is forgotten.
    MarkForgotten,
    /// A message is skipped whatever the fault is.
    PassingFaultsSkipped,
}
