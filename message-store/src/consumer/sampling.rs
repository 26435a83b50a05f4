//! Samples of what changes without a message: lag, outages, letters, slots.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ConsumerStatus;
use super::consumer_metrics::ConsumerMetrics;
use super::dead_letters::SetAside;
use crate::{MessageStore, Timestamp};

/// A sample follows after this number of poll intervals.
const POLLS: u32 = 100;
/// The pause after a sample is at least this many times as long as the sample took.
const REST: u32 = 20;

/// Records samples until it is dropped.
pub(super) async fn sample(
    store: Arc<dyn MessageStore>,
    status: ConsumerStatus,
    set_aside: Arc<SetAside>,
    metrics: ConsumerMetrics,
) {
    let pause = set_aside.poll_interval() * POLLS;
    loop {
        let begun = Instant::now();
        let since = status.outage().map(|outage| outage.since);
        metrics.outage(since.and_then(|since| Duration::try_from(Timestamp::now().duration_since(since)).ok()));
        match set_aside.open_letters().await {
            Ok(count) => metrics.open_letters(count),
            Err(error) => {
                tracing::debug!(target: "message_store::consumer", %error, "the letters could not be counted");
            }
        }
        if let Some((owned, unowned, time)) = status.slot_counts() {
            metrics.slots(owned, unowned, time);
        }
        let category = &status.startup_report().category;
        let lag = async {
            let backlog = store.backlog(category, status.handled_through()).await?;
            Ok::<_, crate::Error>((backlog, store.now().await?))
        };
        match lag.await {
            Ok((backlog, now)) => metrics.lag(&backlog, now),
            Err(error) => tracing::debug!(target: "message_store::consumer", %error, "the lag could not be measured"),
        }
        sleep(pause.max(begun.elapsed() * REST)).await;
    }
}
