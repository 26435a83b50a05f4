//! The budget of connections of an open store, and its division among the uses.
//!
//! Problem: each use of connections has a pool of its own, because one use must not wait for another: an append that waits
//! for a lock keeps its connection, and a read must not need that connection. So the pools add up, and a server has few
//! connections. Fix: one number is divided among the pools. Why nothing waits for ever: read models, whose code may ask the
//! store while it has a connection, have one connection less than the pool of reads.

/// The default number of connections.
pub(super) const DEFAULT: usize = 10;
/// The smallest number with which everything works.
const LEAST: usize = 3;

/// The greatest number of connections for each use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connections {
    /// Reads, keys, read models and everything else.
    pub(super) reads: usize,
    /// Appends that wait for the lock of a category for as long as it takes.
    pub(super) long_waits: usize,
    /// Appends that wait for a lock briefly. 0: they use the connections of the long waits.
    pub(super) short_waits: usize,
    /// Whether a connection listens for wake-ups. If not, readers poll.
    pub(super) listens: bool,
}

impl Connections {
    /// The division of a budget. With at least 6, one is kept for the heartbeats of elastic groups.
    pub(super) fn divided(budget: usize) -> Self {
        let budget = budget.max(LEAST);
        let listens = budget > LEAST;
        let rest = budget - usize::from(listens) - usize::from(budget > 5);
        let short_waits = (rest / 4).min(4);
        let long_waits = (rest / 4).clamp(1, 8);
        Self { reads: rest - short_waits - long_waits, long_waits, short_waits, listens }
    }

    /// The number of read models that may be updated at the same time.
    pub(super) fn read_models(self) -> usize {
        self.reads.saturating_sub(1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_divided_and_never_exceeded() {
        let divided = |budget| {
            let Connections { reads, long_waits, short_waits, listens } = Connections::divided(budget);
            (reads, long_waits, short_waits, listens)
        };
        assert_eq!(divided(0), divided(3));
        assert_eq!(divided(3), (2, 1, 0, false));
        assert_eq!(divided(4), (2, 1, 0, true));
        assert_eq!(divided(10), (4, 2, 2, true));
        for budget in 3..200 {
            let (reads, long_waits, short_waits, listens) = divided(budget);
            assert!(reads >= 2 && long_waits >= 1, "{budget}");
            let keeper = usize::from(budget > 5);
            assert_eq!(reads + long_waits + short_waits + usize::from(listens) + keeper, budget);
        }
    }
}
