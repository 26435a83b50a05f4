//! Draining: the messages under way end before the consumer does, but not for ever.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, sleep_until, timeout};

use super::ConsumerLoop;
use crate::Error;
use crate::consumer::deliver::Deliver;
use crate::consumer::pace::after;

/// The time for the messages under way after the consumer has failed, as for those of a service that stops.
const AFTER_FAILURE: Duration = Duration::from_secs(25);
/// The time in which the store must answer while a consumer stops.
const PROBE_WITHIN: Duration = Duration::from_secs(1);

impl<D: Deliver> ConsumerLoop<D> {
    /// Waits for the messages under way, up to the deadline of a request to stop. Returns whether none is left.
    pub(super) async fn drain(&mut self, first_error: &mut Option<Error>) -> bool {
        let mut stop = self.reports.stop.clone();
        // A consumer that has failed does not wait for ever for a handler that never returns.
        let after_failure = first_error.is_some().then(|| after(AFTER_FAILURE));
        // A request to stop may come, or come again, while messages are under way.
        let mut deadline = std::pin::pin!(async move {
            let requested = async {
                let stop = stop.wait_for(|stop| stop.drain_until.is_some()).await;
                match stop.ok().and_then(|stop| stop.drain_until) {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            match after_failure {
                None => requested.await,
                Some(until) => tokio::select! { () = requested => {}, () = sleep_until(until) => {} },
            }
        });
        // Handlers may wait for a store that is silent.
        let (outages, store) = (self.outages.clone(), Arc::clone(&self.subscription.store));
        let mut silent = std::pin::pin!(async move {
            outages.until_given_up().await;
            while matches!(timeout(PROBE_WITHIN, store.now()).await, Ok(Ok(_))) {
                sleep(PROBE_WITHIN).await;
            }
        });
        loop {
            // A member of a group releases each slot as soon as it can.
            if !self.has_another_history()
                && let Err(error) = self.release_drained().await
            {
                first_error.get_or_insert(error);
            }
            if self.handling.is_empty() && self.role.owned().is_none_or(|owned| owned.is_all_quiet()) {
                return true;
            }
            tokio::select! {
                biased;
                Some(done) = self.handling.join_next() => if let Err(error) = self.record_delivery(done) {
                    first_error.get_or_insert(error);
                },
                () = &mut deadline => {
                    self.leave_behind("they were under way at the deadline");
                    return false;
                }
                () = &mut silent => {
                    self.leave_behind("the store does not answer");
                    return false;
                }
                news = self.role.news() => self.learn_at_the_end(news),
            }
        }
    }

    /// Drops the messages under way.
    fn leave_behind(&mut self, reason: &str) {
        let (left, stream) = (self.handling.len(), &self.subscription.positions);
        tracing::warn!(target: "message_store::consumer", left, consumer = %stream, reason, "messages are dropped; they are delivered again after the next start");
        self.handling.abort_all();
    }
}
