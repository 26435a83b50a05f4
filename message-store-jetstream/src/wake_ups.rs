//! Wake-ups: after each commit, the writer publishes the categories outside the log. Each process has one subscription.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use message_store::StreamName;
use message_store::store::WakeUps;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::subjects::Subjects;

/// The longest wait of a writer for its wake-ups to be sent.
const PATIENCE: Duration = Duration::from_millis(100);

/// The wake-ups of one open store.
#[derive(Debug)]
pub(crate) struct Waker {
    wake_ups: Arc<WakeUps>,
    subject: String,
    listener: AbortHandle,
}

impl Waker {
    pub(crate) fn new(subscriber: Subscriber, subjects: &Subjects, wake_ups: Arc<WakeUps>) -> Self {
        let listener = tokio::spawn(listen(subscriber, Arc::clone(&wake_ups))).abort_handle();
        Self { wake_ups, subject: subjects.wake_ups(), listener }
    }

    pub(crate) fn wake_ups(&self) -> &WakeUps {
        &self.wake_ups
    }

    /// Wakes the readers of these streams' categories, here and elsewhere.
    pub(crate) async fn wake(&self, client: &Client, streams: impl Iterator<Item = &StreamName> + Clone) {
        self.wake_ups.wake_for(streams.clone());
        let mut categories: Vec<_> = streams.map(|stream| stream.category().as_str().to_owned()).collect();
        categories.sort_unstable();
        categories.dedup();
        let publish = async {
            for category in categories {
                client.publish(self.subject.clone(), Bytes::from(category)).await?;
            }
            Ok::<_, async_nats::PublishError>(())
        };
        // A wake-up that is lost costs a poll interval.
        if !matches!(timeout(PATIENCE, publish).await, Ok(Ok(()))) {
            tracing::debug!(target: "message_store::jetstream", "a wake-up was not sent");
        }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(mut subscriber: Subscriber, wake_ups: Arc<WakeUps>) {
    while let Some(message) = subscriber.next().await {
        if let Ok(category) = std::str::from_utf8(&message.payload) {
            wake_ups.wake(category);
        }
    }
}
