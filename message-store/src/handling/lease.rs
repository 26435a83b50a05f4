//! Leases: the time that a runner has for its call. A lease begins when the claim is written, by the database's clock.
//!
//! Problem: if a lease begins before its append, it can end while the append is under way. A second runner then takes
//! the call over. The first learns late that its append succeeded, and calls too. Also, the clocks of two processes
//! differ. Fix: a lease begins at the time that the database gave the message, and each runner asks the database for
//! the time now. The first runner asks after the answer to its append, the second before it takes over. Why it is
//! right: there is only one clock. The first runner calls only while three quarters of its lease are left, and its call
//! may take half of the lease. The last quarter covers the time that the database's answer needs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The length of a lease. It is part of the claim, so every runner knows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Lease {
    milliseconds: u32,
}

impl Lease {
    /// Lengths are in whole milliseconds, from 1 ms to 49 days.
    pub(super) fn new(length: Duration) -> Self {
        Self { milliseconds: u32::try_from(length.as_millis()).unwrap_or(u32::MAX).max(1) }
    }

    /// The time that is left at `now` of a lease that began at `since`. `None` if it has ended.
    pub(super) fn left(self, since: Timestamp, now: Timestamp) -> Option<Duration> {
        Duration::try_from(self.remaining(since, now)).ok().filter(|left| !left.is_zero())
    }

    pub(super) fn length(self) -> Duration {
        Duration::from_millis(u64::from(self.milliseconds))
    }

    /// Whether three quarters are left. With less, a runner must not begin its call.
    pub(super) fn is_enough_for_call(self, since: Timestamp, now: Timestamp) -> bool {
        self.remaining(since, now) >= SignedDuration::from_millis(i64::from(self.milliseconds) * 3 / 4)
    }

    /// The longest duration of a call: half of the lease.
    pub(super) fn call_time_out(self) -> Duration {
        self.length() / 2
    }

    fn remaining(self, since: Timestamp, now: Timestamp) -> SignedDuration {
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
        assert!(lease.is_enough_for_call(since, after(2)) && !lease.is_enough_for_call(since, after(3)));
        assert_eq!((lease.left(since, after(7)), lease.left(since, after(8))), (Some(Duration::from_secs(1)), None));
        assert_eq!(lease.call_time_out(), Duration::from_secs(4));
    }
}
