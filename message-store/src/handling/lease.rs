//! How long a runner has for its call: from the moment that its claim stands, by the database's clock.
//!
//! Problem: a lease that is counted from before its append ends while the append is still under way: a second runner
//! takes the call over, and the first, which hears late that it had it, calls too. And the clocks of two processes
//! differ. Fix: a lease is counted from the time that the database has given the message, and what is left of it is
//! asked of the database: by the first runner after its append was answered, and by the second before it takes over.
//! Why it is right: there is one clock. The first calls only while three quarters of its lease are left, and gives its
//! call half of it; the last quarter is for the way of the database's answer.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The length of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Lease {
    milliseconds: u32,
}

impl Lease {
    /// To the millisecond; at least one, and 49 days at most.
    pub(super) fn new(length: Duration) -> Self {
        Self { milliseconds: u32::try_from(length.as_millis()).unwrap_or(u32::MAX).max(1) }
    }

    /// Whether a lease that began at `since` has ended.
    pub(super) fn has_ended(self, since: Timestamp, now: Timestamp) -> bool {
        self.left(since, now) <= SignedDuration::ZERO
    }

    /// Whether enough is left to begin a call.
    pub(super) fn is_enough(self, since: Timestamp, now: Timestamp) -> bool {
        self.left(since, now) >= SignedDuration::from_millis(i64::from(self.milliseconds) * 3 / 4)
    }

    /// How long a call may take.
    pub(super) fn of_a_call(self) -> Duration {
        Duration::from_millis(u64::from(self.milliseconds)) / 2
    }

    fn left(self, since: Timestamp, now: Timestamp) -> SignedDuration {
        SignedDuration::from_millis(i64::from(self.milliseconds)).saturating_sub(now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_begins_in_the_first_quarter_and_is_over_before_the_last() {
        let (lease, since) = (Lease::new(Duration::from_secs(8)), Timestamp::UNIX_EPOCH);
        let after = |seconds| since + SignedDuration::from_secs(seconds);
        assert!(lease.is_enough(since, after(2)) && !lease.is_enough(since, after(3)));
        assert!(!lease.has_ended(since, after(7)) && lease.has_ended(since, after(8)));
        assert_eq!(lease.of_a_call(), Duration::from_secs(4));
    }
}
