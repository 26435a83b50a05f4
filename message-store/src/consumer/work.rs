//! The consumer's loop: read ahead, hand out, note what is done, save the position.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::command::Handler;
use crate::consumer::PlantedBug;
use crate::consumer::attempt::attempt;
use crate::consumer::partitions::Partitions;
use crate::consumer::pause::Pause;
use crate::consumer::position_store::{PositionStore, Progress};
use crate::consumer::running::Reports;
use crate::consumer::settings::Pace;
use crate::idempotence::Outcome;
use crate::{Batch, Category, Error, Filter, Message, MessageStore, Read, Result, WakeUp};

/// After messages have come, the next look without a wake-up follows so much sooner; then each pause is twice as long.
const SOONER: u32 = 16;

type Done = (Message, Result<Outcome>);

/// What is read.
pub(super) struct Source {
    pub(super) store: Arc<dyn MessageStore>,
    pub(super) category: Category,
    pub(super) filter: Filter,
    pub(super) wake_up: WakeUp,
}

pub(super) struct Work<H> {
    handler: Arc<H>,
    pace: Pace,
    source: Source,
    positions: PositionStore,
    reports: Reports,
    partitions: Partitions,
    handling: JoinSet<Done>,
    /// How long to wait before looking again, without a wake-up.
    next_look: Duration,
    done_since_save: u64,
    last_save: Instant,
}

impl<H: Handler> Work<H> {
    pub(super) fn new(handler: H, pace: Pace, source: Source, positions: PositionStore, reports: Reports) -> Self {
        let partitions = Partitions::new(positions.saved());
        Self {
            handler: Arc::new(handler),
            pace,
            source,
            positions,
            reports,
            partitions,
            handling: JoinSet::new(),
            next_look: pace.poll_interval / SOONER,
            done_since_save: 0,
            last_save: Instant::now(),
        }
    }

    /// Works until it is asked to stop or fails; then finishes what is under way and saves the position.
    pub(super) async fn run(mut self) -> Result<()> {
        let worked = self.work().await;
        let mut first_error = worked.err();
        while let Some(done) = self.handling.join_next().await {
            if let Err(error) = self.note(done) {
                first_error.get_or_insert(error);
            }
        }
        // Nothing is under way any more, whatever ended the work.
        let saved = self.positions.save(Progress { stopped: true, ..self.progress() }).await;
        match first_error {
            Some(error) => Err(error),
            None => saved,
        }
    }

    async fn work(&mut self) -> Result<()> {
        let mut timer = interval(self.pace.save_after.1.max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A task of its own: a read that nobody polls while the position is saved could keep the connection that the save waits for.
        let mut reading = JoinSet::new();
        let mut at_end = false;
        let mut stop = self.reports.stop.clone();
        // A deadline, which nothing that happens meanwhile postpones.
        let mut look_at = Instant::now();
        loop {
            while self.handling.len() < self.pace.concurrency
                && let Some(message) = self.partitions.next()
            {
                self.hand_out(message);
            }
            if reading.is_empty() && !at_end && self.partitions.len() < self.pace.batch {
                reading.spawn(self.read());
            }
            if self.has(PlantedBug::WaitBegunAnew) {
                look_at = Instant::now() + self.next_look;
            }
            tokio::select! {
                Some(done) = self.handling.join_next() => self.note(done)?,
                Some(batch) = reading.join_next() => {
                    let batch = batch.map_err(|error| Error::backend("a reading task", false, error))??;
                    at_end = batch.looked_through <= self.partitions.read_through();
                    // Where something has just come, more may follow.
                    self.next_look = if at_end { (self.next_look * 2).min(self.pace.poll_interval) } else { self.pace.poll_interval / SOONER };
                    self.partitions.add(batch.messages, batch.looked_through);
                    self.reports.handled_through.send_replace(self.partitions.handled_through());
                    look_at = Instant::now() + self.next_look;
                }
                () = self.source.wake_up.wait_until(look_at), if at_end => at_end = false,
                _ = timer.tick() => {}
                () = async { drop(stop.wait_for(|stop| *stop).await) } => return Ok(()),
            }
            self.save_if_due(at_end).await?;
        }
    }

    fn has(&self, bug: PlantedBug) -> bool {
        self.pace.planted == Some(bug)
    }

    fn read(&self) -> impl Future<Output = Result<Batch>> + Send + use<H> {
        let (store, category) = (Arc::clone(&self.source.store), self.source.category.clone());
        let read =
            Read::from(self.partitions.read_through().next()).limit(self.pace.batch).filter(self.source.filter.clone());
        let retries = self.pace.retries;
        async move {
            let mut pause = Pause::new(retries);
            loop {
                match store.read_category(&category, read.clone()).await {
                    Err(error) if error.is_transient() && pause.again(&error).await => {}
                    result => return result,
                }
            }
        }
    }

    fn hand_out(&mut self, message: Message) {
        let (handler, store, retries) = (Arc::clone(&self.handler), Arc::clone(&self.source.store), self.pace.retries);
        self.handling.spawn(async move {
            let outcome = handle(&*handler, &store, &message, retries).await;
            (message, outcome)
        });
    }

    fn note(&mut self, done: Result<Done, JoinError>) -> Result<()> {
        let (message, outcome) = done.map_err(|error| Error::backend("a handling task", false, error))?;
        let outcome = outcome?;
        self.reports.tally.lock().unwrap_or_else(PoisonError::into_inner).count(&outcome);
        self.partitions.done(&message);
        self.done_since_save += 1;
        self.reports.handled_through.send_replace(self.partitions.handled_through());
        Ok(())
    }

    async fn save_if_due(&mut self, at_end: bool) -> Result<()> {
        let (messages, time) = self.pace.save_after;
        let since = self.last_save.elapsed();
        let idle = at_end && self.partitions.len() == 0 && since >= self.pace.poll_interval;
        if idle || self.done_since_save >= messages || since >= time {
            self.save().await?;
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<()> {
        self.done_since_save = 0;
        self.last_save = Instant::now();
        self.positions.save(self.progress()).await
    }

    fn progress(&self) -> Progress {
        let (position, highest) = (self.partitions.handled_through(), self.partitions.handed_out_through());
        let handed_out_through = (highest > position).then_some(highest);
        Progress { handed_out_through, ..Progress::at(position) }
    }
}

async fn handle<H: Handler>(
    handler: &H,
    store: &Arc<dyn MessageStore>,
    message: &Message,
    retries: u32,
) -> Result<Outcome> {
    let mut pause = Pause::new(retries);
    loop {
        let error = match attempt(handler, store, message).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        let passing = error.downcast_ref::<Error>().is_some_and(Error::is_transient);
        if !passing || !pause.again(&error).await {
            return Err(Error::handler(message, error));
        }
    }
}
