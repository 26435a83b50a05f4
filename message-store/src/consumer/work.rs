//! The consumer's loop: read ahead, hand out, note what is done, save the position.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use std::future::pending;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::command::Handler;
use crate::consumer::attempt::attempt;
use crate::consumer::partitions::Partitions;
use crate::consumer::position_store::PositionStore;
use crate::consumer::running::Reports;
use crate::consumer::settings::Pace;
use crate::idempotence::Outcome;
use crate::{Batch, Category, Error, Filter, Message, MessageStore, Read, Result, WakeUp};

/// The first pause before a message is tried again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
        let saved = self.save().await;
        match first_error {
            Some(error) => Err(error),
            None => saved.and(self.positions.say_stopped().await),
        }
    }

    async fn work(&mut self) -> Result<()> {
        let mut timer = interval(self.pace.save_after.1.max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reading: Option<BoxFuture<'static, Result<Batch>>> = None;
        let mut at_end = false;
        let mut stop = self.reports.stop.clone();
        loop {
            while self.handling.len() < self.pace.concurrency
                && let Some(message) = self.partitions.next()
            {
                self.hand_out(message);
            }
            if reading.is_none() && !at_end && self.partitions.len() < self.pace.batch {
                reading = Some(self.read());
            }
            tokio::select! {
                Some(done) = self.handling.join_next() => self.note(done)?,
                batch = async { match &mut reading { Some(reading) => reading.await, None => pending().await } } => {
                    reading = None;
                    let batch = batch?;
                    at_end = batch.looked_through <= self.partitions.read_through();
                    // Where something has just come, more may follow.
                    self.next_look = if at_end { (self.next_look * 2).min(self.pace.poll_interval) } else { self.pace.poll_interval / SOONER };
                    self.partitions.add(batch.messages, batch.looked_through);
                    self.reports.handled_through.send_replace(self.partitions.handled_through());
                }
                () = self.source.wake_up.wait(self.next_look), if at_end => at_end = false,
                _ = timer.tick() => {}
                () = async { drop(stop.wait_for(|stop| *stop).await) } => return Ok(()),
            }
            self.save_if_due(at_end).await?;
        }
    }

    fn read(&self) -> BoxFuture<'static, Result<Batch>> {
        let (store, category) = (Arc::clone(&self.source.store), self.source.category.clone());
        let read =
            Read::from(self.partitions.read_through().next()).limit(self.pace.batch).filter(self.source.filter.clone());
        let retries = self.pace.retries;
        Box::pin(async move {
            let mut pause = Pause::new(retries);
            loop {
                match store.read_category(&category, read.clone()).await {
                    Err(error) if error.is_transient() && pause.again(&error).await => {}
                    result => return result,
                }
            }
        })
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
        let mut pause = Pause::new(self.pace.retries);
        loop {
            match self.positions.save(self.partitions.handled_through()).await {
                Err(error) if error.is_transient() && pause.again(&error).await => {}
                result => return result,
            }
        }
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

/// Growing pauses between attempts.
struct Pause {
    next: Duration,
    left: u32,
}

impl Pause {
    fn new(retries: u32) -> Self {
        Self { next: FIRST_PAUSE, left: retries }
    }

    /// Waits, unless all attempts are used up.
    async fn again(&mut self, error: &impl std::fmt::Display) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        tracing::warn!(%error, pause = ?self.next, "trying again");
        sleep(self.next).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}
