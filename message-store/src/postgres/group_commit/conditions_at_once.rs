//! How many conditions a batch has.
//!
//! Problem: a condition may have to look at many messages, and the conditions of a batch are looked up in one statement, which has
//! a limit of time. Together they could take longer than it, and all others would wait for them. Fix: a batch has so many conditions
//! that they take about a twentieth of a second, by the time that those before took. Why little is lost: the larger part of such a
//! batch is the look-ups themselves, which a larger batch would not make fewer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The greatest number, and the number in the first batches, about whose conditions nothing is known.
const MOST: usize = 512;
const FIRST: usize = 64;
/// The time that the conditions of a batch should take.
const TARGET: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct ConditionsAtOnce(AtomicUsize);

impl Default for ConditionsAtOnce {
    fn default() -> Self {
        Self(AtomicUsize::new(FIRST))
    }
}

impl ConditionsAtOnce {
    pub(super) fn limit(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A batch with so many conditions took this time.
    pub(super) fn took(&self, conditions: usize, time: Duration) {
        let limit = self.limit();
        if conditions == 0 {
            return;
        }
        if time > TARGET {
            let fitting = (conditions as u128 * TARGET.as_micros() / time.as_micros().max(1)) as usize;
            self.0.store(fitting.clamp(1, limit), Ordering::Relaxed);
        } else if conditions == limit && time < TARGET / 2 {
            self.0.store((limit * 2).min(MOST), Ordering::Relaxed);
        }
    }

    /// A batch with so many conditions took longer than a statement may.
    pub(super) fn took_too_long(&self, conditions: usize) {
        self.0.store((conditions / 8).clamp(1, self.limit()), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_follows_the_time_that_conditions_take() {
        let at_once = ConditionsAtOnce::default();
        at_once.took(10, TARGET / 100);
        assert_eq!(at_once.limit(), FIRST, "the batch was not full");
        for _ in 0..9 {
            at_once.took(at_once.limit(), TARGET / 100);
        }
        assert_eq!(at_once.limit(), MOST);
        at_once.took(MOST, TARGET * 4);
        assert_eq!(at_once.limit(), MOST / 4);
        at_once.took(3, TARGET * 3_000);
        assert_eq!(at_once.limit(), 1);
        at_once.took(1, TARGET / 3);
        assert_eq!(at_once.limit(), 2);
        at_once.took_too_long(1);
        at_once.took(0, TARGET * 100);
        assert_eq!(at_once.limit(), 1);
    }
}
