//! How a batch waits for the locks of its categories.
//!
//! Problem: if a transaction has the lock of one category and waits for another, the writers of the first category wait
//! too. Another program's transaction can keep a lock for long. Fix: a batch of several categories waits with locks for
//! at most [`SHORT_WAIT`](super::SHORT_WAIT). If that is not enough, the next batch takes the locks that are free, and
//! leaves out the appends to locked categories. An append that needs several categories then waits for the locked one,
//! without a limit, but without any lock. Why no append starves: usually all locks come within the short wait, because
//! the server gives each lock to the session that has waited longest.

use super::{Route, batch::Settled};

#[derive(Clone, Debug, Default)]
pub(super) enum LockWait {
    /// For all locks.
    #[default]
    All,
    /// For no lock. Appends to locked categories are left out.
    None,
    /// For the lock of this category. Appends to other locked categories are left out.
    For(String),
}

impl LockWait {
    /// The parameter of `append_messages`.
    pub(super) fn wait_for(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::None => Some(""),
            Self::For(category) => Some(category),
        }
    }

    /// Whether the wait ends after [`SHORT_WAIT`](super::SHORT_WAIT).
    pub(super) fn is_short(&self, route: &Route) -> bool {
        !matches!(self, Self::For(_)) && route.has_several_categories()
    }

    /// How the next batch waits.
    pub(super) fn next(&self, route: &Route, settled: &Settled) -> Self {
        match self {
            Self::All if settled.has_timed_out => Self::None,
            Self::None if route.is_shared() && settled.answered > 0 && !settled.left_out.is_empty() => Self::None,
            Self::None if !route.is_shared() => settled.locked.clone().map_or(Self::All, Self::For),
            _ => Self::All,
        }
    }
}
