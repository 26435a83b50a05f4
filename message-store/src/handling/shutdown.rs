//! The request to stop, as a handler sees it.

use std::sync::Arc;

use tokio::sync::watch;

/// Shows a handler that its consumer is asked to stop. A handler that works for long can end its work early, and return
/// an error: the message is delivered again after the next start.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether the consumer is asked to stop.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the consumer is asked to stop.
    pub async fn requested(&self) {
        // The sender lives as long as this value, so the wait does not fail.
        let _ = self.0.subscribe().wait_for(|is_requested| *is_requested).await;
    }
}
