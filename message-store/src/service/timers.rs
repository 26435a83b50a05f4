//! The task that fires the timers of the store.
//!
//! Problem: a timer whose message cannot be written must not keep others from firing. Fix: timers that are due are fired
//! together; if that fails, each is fired alone, and the task goes on behind those that failed. They are tried again in the
//! next pass. Why several processes may do this at once: a timer fires once, whichever process fires it.
//!
//! Problem: an open transaction may have locked the category of a timer's message, for as long as it likes. Fix: the timers
//! of each category are fired by a call of their own. One that has no answer soon waits on beside the passes, which leave
//! its category out meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::firing::Firing;

use crate::consumer::Backoff;
use crate::handling::Shutdown;
use crate::store::{Timer, TimerQuery, Timers};
use crate::telemetry::metric::{TIMER_LATENESS, TIMERS_FIRED};
use crate::telemetry::{Counter, Gauge};
use crate::{Error, MessageStore, Result};

/// The greatest number of timers that are listed together.
const TOGETHER: usize = 100;

/// The shortest interval between two passes.
const SHORTEST_POLL: Duration = Duration::from_millis(10);

/// The task, as the health of its service sees it. All clones are the same task's.
#[derive(Clone, Debug, Default)]
pub(super) struct FiredTimers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The first and the last failure since the last pass.
    outage: Option<(Timestamp, String)>,
    /// Those of the last pass.
    stuck: Option<Stuck>,
}

/// Timers that could not be fired in a pass: their number, and the error of one of them.
type Stuck = (usize, String);

struct TimerMetrics {
    fired: Counter,
    lateness: Gauge,
}

impl FiredTimers {
    /// Why timers do not fire.
    pub(super) fn problems(&self) -> Vec<String> {
        let State { outage, stuck } = &*self.state();
        let outage = outage.as_ref().map(|(since, error)| format!("no timer has fired since {since}: {error}"));
        let stuck = stuck.as_ref().map(|(count, error)| format!("{count} timers cannot fire: {error}"));
        outage.into_iter().chain(stuck).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fires the timers of a store until a stop is requested. A call that is under way then is dropped: it has fired its
    /// timers or none of them.
    pub(super) async fn run(self, store: Arc<dyn MessageStore>, poll_interval: Duration, stop: Shutdown) {
        let poll_interval = poll_interval.max(SHORTEST_POLL);
        let run = async {
            let metrics =
                TimerMetrics { fired: Counter::of(&TIMERS_FIRED, &[]), lateness: Gauge::of(&TIMER_LATENESS, &[]) };
            let mut backoff = Backoff::new();
            let mut limit = TOGETHER;
            let Some(timers) = store.timers() else { return };
            let mut firing = Firing::of(timers);
            loop {
                let pause = match self.pass(timers, &mut firing, &metrics, limit, poll_interval).await {
                    Ok(next) => {
                        (backoff, limit) = (Backoff::new(), TOGETHER);
                        next.unwrap_or(poll_interval).min(poll_interval)
                    }
                    Err(error) => {
                        // It may have been too much for one transaction.
                        limit = (limit / 2).max(1);
                        self.failed(&error);
                        backoff.next()
                    }
                };
                tokio::select! {
                    () = sleep(pause) => {}
                    answer = firing.answer() => match answer {
                        Ok(count) => metrics.fired.add(count as u64),
                        Err(error) => tracing::warn!(target: "message_store::service", %error, "timers do not fire: another transaction holds the category of their messages. They are tried again"),
                    },
                }
            }
        };
        tokio::select! {
            () = run => {}
            () = stop.requested() => {}
        }
    }

    /// Fires all timers that are due. Returns the time until the next one is, if it is soon.
    ///
    /// # Errors
    /// An error that concerns all timers, and passes by itself.
    async fn pass(
        &self,
        timers: &dyn Timers,
        firing: &mut Firing<'_>,
        metrics: &TimerMetrics,
        limit: usize,
        poll_interval: Duration,
    ) -> Result<Option<Duration>> {
        let mut stuck = None;
        let mut query = TimerQuery::new().due_within(poll_interval).limit(limit);
        loop {
            let listed = timers.list(query.clone()).await?;
            if query.after.is_none() {
                let late = listed.first().map(|first| Duration::try_from(-first.due_in).unwrap_or_default());
                metrics.lateness.set_time(late.unwrap_or_default());
            }
            let waits = listed.iter().find(|timer| !timer.is_due());
            let next = waits.and_then(|timer| Duration::try_from(timer.due_in).ok());
            let due: Vec<Timer> = listed.into_iter().filter(Timer::is_due).collect();
            let Some(last) = due.last() else {
                self.passed(stuck);
                return Ok(next);
            };
            query = query.after(last);
            for due in firing.by_category(due) {
                match firing.fire(due.clone()).await {
                    Ok(count) => metrics.fired.add(count as u64),
                    Err(error) if error.is_transient() => return Err(error),
                    Err(_) => fire_alone(timers, &due, &metrics.fired, &mut stuck).await?,
                }
            }
        }
    }

    fn passed(&self, stuck: Option<Stuck>) {
        let mut state = self.state();
        if let Some((since, _)) = state.outage.take() {
            tracing::info!(target: "message_store::service", %since, "timers fire again");
        }
        if let Some((count, error)) = stuck.as_ref().filter(|stuck| state.stuck.as_ref() != Some(*stuck)) {
            tracing::error!(target: "message_store::service", count, error, "timers cannot fire: their messages cannot be written. They are tried again");
        }
        state.stuck = stuck;
    }

    fn failed(&self, error: &Error) {
        let mut state = self.state();
        let text = error.to_string();
        if let Some((_, last)) = &mut state.outage {
            *last = text;
            return;
        }
        tracing::warn!(target: "message_store::service", %error, "timers do not fire: the store does not answer. They are tried again");
        state.outage = Some((Timestamp::now(), text));
    }
}

/// Fires each of these timers alone. Adds those that cannot be fired to `stuck`.
async fn fire_alone(timers: &dyn Timers, due: &[Timer], fired: &Counter, stuck: &mut Option<Stuck>) -> Result<()> {
    for timer in due {
        match timers.fire(std::slice::from_ref(timer)).await {
            Ok(count) => fired.add(count as u64),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                let before = stuck.as_ref().map_or(0, |(count, _)| *count);
                *stuck = Some((before + 1, describe(timer, &error)));
            }
        }
    }
    Ok(())
}

fn describe(timer: &Timer, error: &Error) -> String {
    format!("the timer {:?} of {}, whose message is for {}: {error}", timer.key.name, timer.key.stream, timer.to)
}
