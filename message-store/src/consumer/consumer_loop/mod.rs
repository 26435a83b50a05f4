//! The loop of a consumer: it reads ahead, hands messages out, records those that are handled, and saves the position.

mod draining;
mod handing_out;
mod history_change;
mod one_at_a_time;
mod reading;
mod role;
mod saving;
mod slots;

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::consumer::PlantedBug;
use crate::consumer::consumer_handle::Reports;
use crate::consumer::counted::Counted;
use crate::consumer::dead_letters::SetAside;
use crate::consumer::deliver::Deliver;
use crate::consumer::outages::Outages;
use crate::consumer::pace::{Pace, after};
use crate::consumer::partitions::{HandedOut, Partitions};
use crate::consumer::pauses::Paused;
use crate::consumer::process::Alone;
use crate::consumer::saved_progress::SavedProgress;
use crate::consumer::suspects::Suspects;
use crate::{Error, Message, MessageId, Outcome, Result};
use handing_out::until_due;
use reading::NewMessages;
pub(super) use reading::Subscription;
pub(super) use role::Role;
use saving::not_saved;

/// After new messages, the next poll follows after the poll interval divided by this number. Each further pause is
/// twice as long, up to the poll interval.
const SOONER_BY: u32 = 16;

/// If no delivery ends in this time, the consumer reads further than a batch.
const STALLED: Duration = Duration::from_secs(1);
/// The number of batches that it reads ahead at most.
const FURTHEST: usize = 100;

/// The time in which the store must save the position of a consumer that stops.
const SAVE_WITHIN: Duration = Duration::from_secs(10);

type Done = (HandedOut, Result<Outcome>);

/// One consumer, or the letter consumer that runs with it.
pub(super) struct ConsumerLoop<D> {
    delivery: Arc<D>,
    pace: Pace,
    outages: Outages,
    subscription: Subscription,
    positions: SavedProgress,
    role: Role,
    paused: Paused,
    reports: Reports,
    partitions: Partitions,
    /// The letters of the consumer. `None` in the letter consumer itself.
    set_aside: Option<Arc<SetAside>>,
    /// While there are suspects, messages are handed out in rounds or one at a time.
    suspects: Option<Suspects>,
    /// While the suspect that is handed out is alone in the process.
    alone: Option<Alone>,
    handling: JoinSet<Done>,
    /// The tasks of a member's deliveries, with their slots and epochs.
    aborts: HashMap<MessageId, (u16, i64, AbortHandle)>,
    /// Whether the next batch can have repeats: from a start until a batch has none.
    expects_repeats: bool,
    /// The time until the next poll, if no wake-up arrives.
    next_poll: Duration,
    /// The outcomes in each slot.
    counted: HashMap<u16, Counted>,
    done_since_save: u64,
    /// The last time at which a delivery ended.
    last_done: Instant,
    last_save: Instant,
    /// A save was under way when the consumer gave up waiting for the store.
    is_save_given_up: bool,
}

impl<D: Deliver> ConsumerLoop<D> {
    pub(super) fn new(
        delivery: D,
        pace: Pace,
        subscription: Subscription,
        (positions, partitions): (SavedProgress, Partitions),
        (role, paused): (Role, Paused),
        set_aside: Option<Arc<SetAside>>,
        reports: Reports,
    ) -> Self {
        let mut work = Self {
            delivery: Arc::new(delivery),
            pace,
            outages: reports.outages.clone(),
            subscription,
            positions,
            role,
            paused,
            reports,
            partitions,
            set_aside,
            suspects: None,
            alone: None,
            handling: JoinSet::new(),
            aborts: HashMap::new(),
            expects_repeats: true,
            next_poll: pace.poll_interval / SOONER_BY,
            counted: HashMap::new(),
            done_since_save: 0,
            last_done: Instant::now(),
            last_save: Instant::now(),
            is_save_given_up: false,
        };
        work.suspects = work.find_suspects();
        work.begin_to_count();
        work
    }

    /// Runs until the handle asks it to stop, or it fails. Then it finishes the messages under way and saves the
    /// position.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let ended = self.run_until_stopped().await;
            let mut first_error = ended.err();
            if self.has_another_history() {
                // The messages under way belong to the earlier history.
                self.outages.interrupt_before(self.subscription.store.history());
            } else if let Some(error) = &first_error {
                self.outages.stop_after_failure(self.set_aside.is_some());
                if matches!(error, Error::PositionTaken { .. }) {
                    self.outages.interrupt();
                }
            }
            if !self.has_another_history() {
                self.begin_to_leave();
            }
            let is_drained = self.drain(&mut first_error).await;
            self.publish_progress();
            if self.has_another_history() {
                if self.reports.stop.borrow().is_requested {
                    // The saved position belongs to the store's present history. The messages handled since then belong
                    // to the earlier one, so they must not be saved.
                    self.leave().await;
                    return Ok(());
                }
                self.restart_in_new_history().await?;
                continue;
            }
            let saved = if self.is_save_given_up {
                Err(not_saved())
            } else {
                timeout(SAVE_WITHIN, self.save_at_the_end(is_drained)).await.unwrap_or_else(|_| Err(not_saved()))
            };
            self.leave().await;
            return match first_error {
                Some(error) => Err(error),
                None => saved,
            };
        }
    }

    async fn run_until_stopped(&mut self) -> Result<()> {
        let mut timer = interval(self.pace.save_after.1.max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The read is a task, because the loop does not poll it while it saves the position. It could then keep the
        // connection that the save waits for.
        let mut reading = JoinSet::new();
        let mut turns = JoinSet::new();
        let mut requests = JoinSet::new();
        let set_aside = self.set_aside.clone();
        let (mut at_end, mut is_woken) = (false, false);
        // Whether a wake-up ended the last wait for messages, until the next read.
        let mut waited = None;
        let mut stop = self.reports.stop.clone();
        // The time of the next poll. It is a fixed time, so other events in the loop do not delay it.
        let mut poll_at = Instant::now();
        let restarts_wait = self.pace.planted.is(PlantedBug::WaitRestarted);
        loop {
            self.release_drained().await?;
            self.hand_out_ready();
            if !turns.is_empty() && self.next_suspect().is_none() {
                // The slot of the suspect is lost.
                turns = JoinSet::new();
            }
            if turns.is_empty() {
                self.hand_out_round().await?;
            }
            if turns.is_empty()
                && let Some(turn) = self.next_turn()
            {
                turns.spawn(turn);
            }
            if reading.is_empty()
                && !at_end
                && self.may_read_ahead()
                && let Some(cursor) = self.partitions.next_read()
            {
                reading.spawn(self.read(cursor, std::mem::take(&mut is_woken))?);
            }
            if at_end && restarts_wait {
                poll_at = after(self.next_poll);
            }
            let waits_for_time = !at_end && reading.is_empty() && self.may_be_stalled();
            let in_the_way = OptionFuture::from(self.alone.as_mut().map(Alone::is_in_the_way));
            tokio::select! {
                Some(done) = self.handling.join_next() => {
                    self.record_delivery(done)?;
                    if self.alone.is_some() {
                        self.let_others_begin_after_suspect().await?;
                    }
                    self.hand_out_ready();
                    while let Some(done) = self.handling.try_join_next() {
                        self.record_delivery(done)?;
                        self.hand_out_ready();
                    }
                    self.publish_progress();
                }
                Some(batch) = reading.join_next() => {
                    let batch = batch.map_err(|error| Error::backend("the task of a read", false, error))??;
                    if self.has_another_history() {
                        return Ok(());
                    }
                    if let Some(was_woken) = waited.take().filter(|_| !batch.batch.messages.is_empty()) {
                        self.reports.waits.count(was_woken);
                    }
                    at_end = self.add_batch(batch);
                    poll_at = after(self.next_poll);
                }
                news = self.role.news() => {
                    if self.learn(news).await? {
                        at_end = false;
                    }
                }
                Some(turn) = turns.join_next() => self.hand_out_suspect(turn).await?,
                () = self.paused.changed() => {
                    if self.paused.is_paused() {
                        // A suspect that waits for its turn waits for the end of the pause.
                        turns = JoinSet::new();
                    }
                }
                Some(()) = until_due(set_aside.as_deref()), if requests.is_empty() => {
                    requests.spawn(self.request_due());
                }
                Some(requested) = requests.join_next() => {
                    requested.map_err(|error| Error::backend("the task of a retry", false, error))??;
                }
                Some(()) = in_the_way => self.let_others_begin_beside_suspect().await?,
                () = sleep_until(self.last_done + STALLED), if waits_for_time => {}
                () = self.subscription.wake_up.wait_until(poll_at), if at_end => {
                    at_end = false;
                    is_woken = Instant::now() < poll_at;
                    waited = Some(is_woken);
                }
                _ = timer.tick() => {}
                // If the handle was dropped, this task is about to be aborted. That is no normal stop.
                () = async { if stop.wait_for(|stop| stop.is_requested).await.is_err() { pending().await } } => return Ok(()),
            }
            self.save_if_due(at_end).await?;
        }
    }

    /// Whether to read further messages. While all that were read wait behind messages that take long, others may be found
    /// further on.
    fn may_read_ahead(&self) -> bool {
        let (batch, len) = (self.pace.batch, self.partitions.len());
        len < batch
            || (!self.has(PlantedBug::NotReadFurther)
                && !self.partitions.is_ready()
                && len < batch.saturating_mul(FURTHEST)
                && self.last_done.elapsed() >= STALLED)
    }

    /// Whether it depends on time alone that nothing further is read.
    fn may_be_stalled(&self) -> bool {
        !self.partitions.is_ready() && self.last_done.elapsed() < STALLED && self.partitions.len() >= self.pace.batch
    }

    /// Adds the messages of a read, except the repeats. Returns whether the read reached the end of the category.
    fn add_batch(&mut self, NewMessages { mut batch, cursor, repeats }: NewMessages) -> bool {
        if let Some(repeats) = repeats {
            self.expects_repeats = !repeats.is_empty();
            batch.messages.retain(|message| match repeats.get(&message.id) {
                Some(outcome) => {
                    self.count(self.partitions.slot_of(message), message, outcome);
                    false
                }
                None => true,
            });
        }
        // Slots that were claimed during the read may be behind it.
        let is_behind = self.partitions.next_read().is_some_and(|next| next.after < cursor.after);
        let at_end = batch.looked_through <= cursor.after && !is_behind;
        let longer = (self.next_poll * 2).min(self.pace.poll_interval);
        // After new messages, more may follow soon.
        self.next_poll = if at_end { longer } else { self.pace.poll_interval / SOONER_BY };
        self.partitions.add(batch.messages, batch.looked_through, &cursor);
        if at_end && self.partitions.len() == 0 {
            // All messages that may have been under way during the crash are handled.
            self.suspects = None;
        }
        self.publish_progress();
        at_end
    }

    fn has(&self, bug: PlantedBug) -> bool {
        self.pace.planted.is(bug)
    }

    /// Records the outcome of a delivery, or returns its error.
    fn record_delivery(&mut self, done: Result<Done, JoinError>) -> Result<()> {
        let (HandedOut { slot, epoch, message, .. }, outcome) = match done {
            Ok(done) => done,
            // A delivery of a slot that was lost.
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(Error::backend("the task of a delivery", false, error)),
        };
        self.aborts.remove(&message.id);
        self.last_done = Instant::now();
        match outcome {
            Ok(outcome) => {
                if self.partitions.done(slot, epoch, &message) {
                    self.count(slot, &message, &outcome);
                }
            }
            Err(Error::SlotLost { slot: lost, epoch: lost_epoch, .. }) => match &self.role {
                // The loop of the consumer gives the slot up, and the next owner resumes the letter.
                Role::Letters(owned) => {
                    owned.report_lost(lost, lost_epoch);
                    self.partitions.done(slot, epoch, &message);
                }
                Role::Alone | Role::Member { .. } => self.lose(slot, epoch),
            },
            Err(error) => {
                self.partitions.not_handled(slot, epoch);
                return Err(error);
            }
        }
        let handled = |mut suspects: Suspects| suspects.handled(message.id).then_some(suspects);
        self.suspects = self.suspects.take().and_then(handled);
        Ok(())
    }

    /// Goes on with the counts that were saved with the position.
    fn begin_to_count(&mut self) {
        if let SavedProgress::Stream(positions) = &self.positions {
            self.counted = HashMap::from([(0, positions.previous().counted.clone())]);
        }
    }

    /// Counts the outcome of a message.
    fn count(&mut self, slot: u16, message: &Message, outcome: &Outcome) {
        self.counted.entry(slot).or_default().count(outcome.kind());
        self.reports.counts.lock().unwrap_or_else(PoisonError::into_inner).count(message, outcome);
        if let Some(set_aside) = &self.set_aside {
            set_aside.metrics.consumed(outcome.kind());
        }
        self.done_since_save += 1;
    }

    /// Publishes the position up to which all messages are handled to the consumer's handle.
    fn publish_progress(&self) {
        self.reports.handled_through.publish(self.partitions.handled_through());
    }
}
