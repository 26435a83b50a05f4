//! Growing pauses between the attempts of one call.

use std::time::Duration;

use crate::random::random_up_to;

/// The upper limit of the first pause. The limit doubles with each further pause.
const FIRST: Duration = Duration::from_millis(50);
/// The upper limit of every pause.
const LONGEST: Duration = Duration::from_secs(5);

/// The next pause. Half of it is random, so that calls that failed together do not all try again together.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let limit = self.0;
        self.0 = (limit * 2).min(LONGEST);
        limit / 2 + random_up_to(limit / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        let last = &pauses[20..];
        assert!(last.iter().all(|pause| *pause >= LONGEST / 2));
        assert!(last.iter().any(|pause| *pause != last[0]), "{last:?}");
    }
}
