//! The consumer's loop: read ahead, hand out, note what is done, save the position.

mod handing_out;
mod new_beginning;
mod one_at_a_time;
mod reading;
mod saving;

use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::consumer::PlantedBug;
use crate::consumer::consumer_handle::Reports;
use crate::consumer::dead_letters::SetAside;
use crate::consumer::deliver::Deliver;
use crate::consumer::pace::{Pace, after};
use crate::consumer::partitions::Partitions;
use crate::consumer::position_store::{PositionStore, Progress};
use crate::consumer::process::Alone;
use crate::consumer::suspects::Suspects;
use crate::{Batch, Error, Message, Outcome, Result};
pub(super) use reading::Source;

/// After messages have come, the next look without a wake-up follows so much sooner; then each pause is twice as long.
const SOONER: u32 = 16;

type Done = (Message, Result<Outcome>);

pub(super) struct Work<D> {
    delivery: Arc<D>,
    pace: Pace,
    source: Source,
    positions: PositionStore,
    reports: Reports,
    partitions: Partitions,
    /// What is known of letters; `None` when the messages are those of letters themselves.
    set_aside: Option<Arc<SetAside>>,
    /// Until they are through, one message is handed out at a time.
    suspects: Option<Suspects>,
    /// The suspect that is handed out is alone in the process.
    alone: Option<Alone>,
    handling: JoinSet<Done>,
    /// How long to wait before looking again, without a wake-up.
    next_look: Duration,
    done_since_save: u64,
    last_save: Instant,
}

impl<D: Deliver> Work<D> {
    pub(super) fn new(
        delivery: D,
        pace: Pace,
        source: Source,
        positions: PositionStore,
        set_aside: Option<Arc<SetAside>>,
        reports: Reports,
    ) -> Self {
        let partitions = Partitions::new(positions.saved());
        let mut work = Self {
            delivery: Arc::new(delivery),
            pace,
            source,
            positions,
            reports,
            partitions,
            set_aside,
            suspects: None,
            alone: None,
            handling: JoinSet::new(),
            next_look: pace.poll_interval / SOONER,
            done_since_save: 0,
            last_save: Instant::now(),
        };
        work.suspects = work.find_suspects();
        work
    }

    /// Works until it is asked to stop or fails; then finishes what is under way and saves the position.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let worked = self.work().await;
            let mut first_error = worked.err();
            while let Some(done) = self.handling.join_next().await {
                if let Err(error) = self.note(done) {
                    first_error.get_or_insert(error);
                }
            }
            self.report();
            if self.has_another_history() {
                if *self.reports.stop.borrow() {
                    // What is saved is of the history that the store has.
                    return Ok(());
                }
                self.begin_anew().await?;
                continue;
            }
            // Nothing is under way any more, whatever ended the work.
            let saved = self.positions.save(Progress { stopped: true, ..self.progress() }).await;
            return match first_error {
                Some(error) => Err(error),
                None => saved,
            };
        }
    }

    async fn work(&mut self) -> Result<()> {
        let mut timer = interval(self.pace.save_after.1.max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A task of its own: a read that is not polled while the position is saved could keep the connection that the
        // save waits for.
        let mut reading = JoinSet::new();
        let mut turns = JoinSet::new();
        let (mut at_end, mut is_woken) = (false, false);
        let mut stop = self.reports.stop.clone();
        // A deadline, which nothing that happens meanwhile postpones.
        let mut look_at = Instant::now();
        loop {
            self.hand_out_what_is_ready();
            if turns.is_empty()
                && let Some(suspects) = &self.suspects
                && let Some(turn) = self.turn_of_next(suspects)
            {
                turns.spawn(turn);
            }
            if reading.is_empty() && !at_end && self.partitions.len() < self.pace.batch {
                reading.spawn(self.read(std::mem::take(&mut is_woken)));
            }
            if at_end && self.has(PlantedBug::WaitBegunAnew) {
                look_at = after(self.next_look);
            }
            let in_the_way = OptionFuture::from(self.alone.as_mut().map(Alone::is_in_the_way));
            tokio::select! {
                Some(done) = self.handling.join_next() => {
                    self.note(done)?;
                    if self.alone.is_some() {
                        self.end_being_alone().await?;
                    }
                    self.hand_out_what_is_ready();
                    while let Some(done) = self.handling.try_join_next() {
                        self.note(done)?;
                        self.hand_out_what_is_ready();
                    }
                    self.report();
                }
                Some(batch) = reading.join_next() => {
                    let batch = batch.map_err(|error| Error::backend("a reading task", false, error))??;
                    if self.has_another_history() {
                        return Ok(());
                    }
                    at_end = self.take_in(batch);
                    look_at = after(self.next_look);
                }
                Some(turn) = turns.join_next() => self.hand_out_suspect(turn).await?,
                Some(()) = in_the_way => self.give_up_being_alone().await?,
                () = self.source.wake_up.wait_until(look_at), if at_end => {
                    at_end = false;
                    is_woken = Instant::now() < look_at;
                }
                _ = timer.tick() => {}
                // (Its handle is gone: the task is about to be broken off. That is no stop in good order.)
                () = async { if stop.wait_for(|stop| *stop).await.is_err() { pending().await } } => return Ok(()),
            }
            self.save_if_due(at_end).await?;
        }
    }

    /// Takes in what was read. Whether there was nothing left to read.
    fn take_in(&mut self, batch: Batch) -> bool {
        let at_end = batch.looked_through <= self.partitions.read_through();
        let longer = (self.next_look * 2).min(self.pace.poll_interval);
        // Where something has just come, more may follow.
        self.next_look = if at_end { longer } else { self.pace.poll_interval / SOONER };
        self.partitions.add(batch.messages, batch.looked_through);
        if at_end && self.partitions.len() == 0 {
            // What comes from now on was not under way.
            self.suspects = None;
        }
        self.report();
        at_end
    }

    fn has(&self, bug: PlantedBug) -> bool {
        self.pace.planted == Some(bug)
    }

    fn note(&mut self, done: Result<Done, JoinError>) -> Result<()> {
        let (message, outcome) = done.map_err(|error| Error::backend("a handling task", false, error))?;
        let outcome = outcome?;
        self.reports.counts.lock().unwrap_or_else(PoisonError::into_inner).count(&outcome);
        self.partitions.done(&message);
        self.suspects = self.suspects.take().and_then(|mut suspects| suspects.done().then_some(suspects));
        self.done_since_save += 1;
        Ok(())
    }

    /// Tells those that wait for it how far all is handled.
    fn report(&self) {
        self.reports.handled_through.send_replace(self.partitions.handled_through());
    }
}
