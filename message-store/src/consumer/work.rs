//! The consumer's loop: read ahead, hand out, note what is done, save the position.

use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::consumer::PlantedBug;
use crate::consumer::consumer_handle::Reports;
use crate::consumer::dead_letters::SetAside;
use crate::consumer::deliver::Deliver;
use crate::consumer::pace::Pace;
use crate::consumer::partitions::Partitions;
use crate::consumer::pause::Pause;
use crate::consumer::position_store::{PositionStore, Progress};
use crate::consumer::process::{Alone, Turn};
use crate::consumer::suspects::Suspects;
use crate::{Batch, Category, Error, Filter, Message, MessageStore, Outcome, Read, Result, WakeUp};

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

    fn find_suspects(&self) -> Option<Suspects> {
        self.set_aside.as_ref().filter(|set_aside| set_aside.is_on())?;
        // Before a save follows, so many messages more may have been handed out.
        let more = self.pace.save_after.0.saturating_add(self.pace.concurrency as u64);
        Suspects::after(self.positions.found(), more)
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

    /// Whether the store has another history than the one that the position is of.
    fn has_another_history(&self) -> bool {
        !self.has(PlantedBug::HistoryIgnored) && self.source.store.history() != self.positions.history()
    }

    /// What was read belongs to a history that the store no longer has: the messages behind the position may be others by now. The
    /// position that stands in the store belongs to the history that it has.
    async fn begin_anew(&mut self) -> Result<()> {
        tracing::warn!(
            consumer = %self.positions.stream(),
            handled_through = %self.partitions.handled_through(),
            "the store has another history than before: the consumer begins anew, from the position that stands there"
        );
        let mut pause = Pause::new(self.pace.retries);
        loop {
            match self.take_over_again().await {
                Err(error) if error.is_transient() && pause.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn take_over_again(&mut self) -> Result<()> {
        let (store, stream) = (&self.source.store, self.positions.stream().clone());
        self.positions = PositionStore::take_over(store, stream, &self.pace).await?;
        self.partitions = Partitions::new(self.positions.saved());
        if let Some(set_aside) = &self.set_aside {
            set_aside.begin_anew(self.positions.saved()).await?;
        }
        // Nothing was broken off: what the record says was under way was this consumer's own.
        (self.suspects, self.alone) = (None, None);
        self.done_since_save = 0;
        self.next_look = self.pace.poll_interval / SOONER;
        self.report();
        Ok(())
    }

    async fn work(&mut self) -> Result<()> {
        let mut timer = interval(self.pace.save_after.1.max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A task of its own: a read that is not polled while the position is saved could keep the connection that the save waits for.
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
            if self.has(PlantedBug::WaitBegunAnew) {
                look_at = after(self.next_look);
            }
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
                () = is_in_the_way(&mut self.alone) => self.give_up_being_alone().await?,
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

    /// Reads the next batch, and what has become of letters. `is_woken`: messages have come, and are waited for.
    fn read(&self, is_woken: bool) -> impl Future<Output = Result<Batch>> + Send + use<D> {
        let (store, category) = (Arc::clone(&self.source.store), self.source.category.clone());
        let read =
            Read::from(self.partitions.read_through().next()).limit(self.pace.batch).filter(self.source.filter.clone());
        let (retries, set_aside) = (self.pace.retries, self.set_aside.clone());
        let handled_through = self.partitions.handled_through();
        let read = async move || {
            let Some(set_aside) = &set_aside else { return store.read_category(&category, read.clone()).await };
            if is_woken {
                // Both at once: what becomes of a letter from here on is told by a wake-up of its own.
                let (batch, refreshed) =
                    tokio::join!(store.read_category(&category, read.clone()), set_aside.refresh(handled_through));
                refreshed?;
                if set_aside.waits_for_messages().await {
                    set_aside.refresh(handled_through).await?;
                }
                return batch;
            }
            let batch = store.read_category(&category, read.clone()).await?;
            if !batch.messages.is_empty() {
                set_aside.refresh(handled_through).await?;
            }
            Ok(batch)
        };
        async move {
            let mut pause = Pause::new(retries);
            loop {
                match read().await {
                    Err(error @ Error::HistoryChanged { .. }) => return Err(error),
                    Err(error) if Error::is_transient(&error) && pause.again(&error).await => {}
                    result => return result,
                }
            }
        }
    }

    fn hand_out_what_is_ready(&mut self) {
        while self.suspects.is_none()
            && self.handling.len() < self.pace.concurrency
            && let Some(message) = self.partitions.next()
        {
            let (delivery, retries) = (Arc::clone(&self.delivery), self.pace.retries);
            // (The message of a letter is counted where it is delivered again.)
            let set_aside = self.set_aside.clone();
            self.handling.spawn(async move {
                let _beside = match &set_aside {
                    Some(set_aside) => Some(set_aside.process.beside_others().await),
                    None => None,
                };
                let outcome = deliver(&*delivery, &message, retries).await;
                (message, outcome)
            });
        }
    }

    /// The turn of the suspect that is next; `None` unless there is one, and the one before is done.
    fn turn_of_next(&self, suspects: &Suspects) -> Option<impl Future<Output = Turn> + Send + use<D>> {
        let together = self.has(PlantedBug::SuspectsTogether);
        if !self.handling.is_empty() && !together {
            return None;
        }
        let process = self.set_aside.as_ref()?.process.clone();
        let given_up = suspects.given_up(self.partitions.lowest_ready()?.id);
        Some(async move {
            if together { Turn::Beside(process.beside_others().await) } else { process.turn(given_up).await }
        })
    }

    /// Hands out the lowest message, and notes that before, or sets it aside when it has ended the process too often.
    async fn hand_out_suspect(&mut self, turn: Result<Turn, JoinError>) -> Result<()> {
        let turn = turn.map_err(|error| Error::backend("waiting for a turn", false, error))?;
        let (Some(suspects), Some(set_aside)) = (&mut self.suspects, self.set_aside.clone()) else { return Ok(()) };
        let Some(message) = self.partitions.next_in_order() else { return Ok(()) };
        let crashes = suspects.crashes(message.id);
        suspects.hand_out(&message, turn.is_alone() || self.pace.planted == Some(PlantedBug::SuspectsTogether));
        let is_to_blame = crashes >= set_aside.deliveries();
        if !is_to_blame {
            self.positions.save(self.progress()).await?;
        }
        let beside;
        (self.alone, beside) = match turn {
            Turn::Alone(alone) => (Some(alone), None),
            Turn::Beside(beside) => (None, Some(beside)),
        };
        let (delivery, retries) = (Arc::clone(&self.delivery), self.pace.retries);
        self.handling.spawn(async move {
            let _beside = beside;
            let outcome = if is_to_blame {
                blame(&set_aside, &message, crashes).await
            } else {
                deliver(&*delivery, &message, retries).await
            };
            (message, outcome)
        });
        Ok(())
    }

    /// Others have waited long enough: from now on the suspect is under way beside them, and that is noted before they begin.
    async fn give_up_being_alone(&mut self) -> Result<()> {
        if let Some(suspects) = &mut self.suspects {
            suspects.is_not_alone();
        }
        self.positions.save(self.progress()).await?;
        self.alone = None;
        Ok(())
    }

    /// What was alone is done. Others begin when that is on record: until then, a crash would be blamed on it.
    async fn end_being_alone(&mut self) -> Result<()> {
        if !self.has(PlantedBug::OthersBeginFirst) {
            self.positions.save(self.progress()).await?;
        }
        self.alone = None;
        Ok(())
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

    async fn save_if_due(&mut self, at_end: bool) -> Result<()> {
        let (messages, time) = self.pace.save_after;
        let since = self.last_save.elapsed();
        let idle = at_end && self.partitions.len() == 0 && since >= self.pace.poll_interval;
        // What is noted of a message that is done would blame it for a crash that comes later.
        let is_noted = self.suspects.as_ref().is_some_and(|suspects| suspects.noted().is_some());
        let is_outdated = self.positions.has_suspect() && !is_noted && !self.partitions.is_ready();
        if !(idle || is_outdated || self.done_since_save >= messages || since >= time) {
            return Ok(());
        }
        if self.positions.is_saved(self.progress()) {
            self.last_save = Instant::now();
            return self.assert_store_is_not_behind().await;
        }
        self.save().await
    }

    /// A store that was restored to an earlier point would give out again what was read, unseen. Asked while nothing else
    /// happens, as often as the position is saved otherwise; a save itself would find that its own stream is not where it was.
    async fn assert_store_is_not_behind(&self) -> Result<()> {
        match self.positions.assert_store_is_not_behind(self.partitions.read_through()).await {
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "whether the store is behind is not known");
                Ok(())
            }
            result => result,
        }
    }

    async fn save(&mut self) -> Result<()> {
        self.done_since_save = 0;
        self.last_save = Instant::now();
        self.positions.save(self.progress()).await
    }

    fn progress(&self) -> Progress {
        let position = self.partitions.handled_through();
        let suspects = self.suspects.as_ref().map_or(position, Suspects::through);
        let highest = self.partitions.handed_out_through().max(suspects);
        let handed_out_through = (highest > position).then_some(highest);
        let suspect = self.suspects.as_ref().and_then(Suspects::noted);
        Progress { handed_out_through, suspect, ..Progress::at(position) }
    }
}

/// An interval that is longer than the clock can say never ends in practice.
fn after(interval: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(interval).unwrap_or(now + Duration::from_hours(24 * 365))
}

async fn is_in_the_way(alone: &mut Option<Alone>) {
    match alone {
        Some(alone) => alone.is_in_the_way().await,
        None => pending().await,
    }
}

async fn blame(set_aside: &SetAside, message: &Message, crashes: u32) -> Result<Outcome> {
    match set_aside.keep_back(message).await? {
        Some(outcome) => Ok(outcome),
        None => set_aside.set_aside(message, crashes, "the process ended during each attempt").await,
    }
}

/// Delivers a message, again when a fault passes.
async fn deliver(delivery: &impl Deliver, message: &Message, retries: u32) -> Result<Outcome> {
    let mut pause = Pause::new(retries);
    loop {
        match delivery.deliver(message).await {
            // What could be tried again was: it names the message.
            Err(error @ Error::Handler { .. }) => return Err(error),
            Err(error) if error.is_transient() && pause.again(&error).await => {}
            result => return result.map_err(|error| Error::handler(message, error.into())),
        }
    }
}
