//! Growing pauses between the retries of one call.

use std::time::Duration;

use tokio::time::sleep;

/// The first pause. Each further pause is twice as long.
const FIRST: Duration = Duration::from_millis(50);
/// The upper limit of a pause.
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one call, which is retried a limited number of times.
pub(super) struct Pause {
    next: Duration,
    left: u32,
}

impl Pause {
    pub(super) fn new(retries: u32) -> Self {
        Self { next: FIRST, left: retries }
    }

    /// Waits for the next pause, if a retry is left. Returns whether to try again.
    pub(super) async fn again(&mut self, error: &impl std::fmt::Display) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        tracing::warn!(%error, pause = ?self.next, "trying again");
        sleep(self.next).await;
        self.next = (self.next * 2).min(LONGEST);
        true
    }
}
