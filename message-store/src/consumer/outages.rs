//! Outages: while the store does not answer, a consumer waits.
//!
//! Problem: a server that restarts, fails over or has no connection left is away for seconds or hours. A consumer that
//! ends after some retries must be started again by somebody, and all consumers of a service end together. Fix: a call
//! that fails for a passing reason is tried again with growing pauses, for as long as the outage lasts. Why the
//! consumer soon goes on: when one call is answered again, all calls that wait try again at once. Why it can still be
//! stopped: after a request to stop, an outage is waited out only for a short time.
//!
//! A consumer and its letter consumer notice another history one after the other, and each interrupts the calls from before it.
//! The one that noticed it first makes calls again, which belong to the new history: they are not interrupted.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::pace::after;
use crate::handling::Shutdown;
use crate::{History, MessageStore};

/// How long an outage is waited out after a request to stop.
const AFTER_STOP: Duration = Duration::from_secs(5);
/// The time between two log records of one outage.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// A time in which calls of a consumer fail for a reason that passes by itself, and are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outage {
    /// The time of the first failure, by the clock of this process.
    pub since: Timestamp,
    /// The last error.
    pub error: String,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "since {}: {}", self.since, self.error)
    }
}

/// The outages of one consumer. All clones are the same consumer's.
#[derive(Clone, Debug)]
pub(super) struct Outages {
    shared: Arc<Shared>,
    /// The store whose history the calls belong to. `None`: they belong to no history.
    store: Option<Arc<dyn MessageStore>>,
}

#[derive(Debug)]
struct Shared {
    consumer: String,
    /// The longest outage that is waited out. `None`: without a limit.
    limit: Option<Duration>,
    state: Mutex<State>,
    shutdown: Shutdown,
    /// The calls that wait try again.
    try_again: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The number of calls that wait.
    waiting: usize,
    current: Option<Current>,
    /// After a request to stop, no call waits longer than this.
    stop_by: Option<Instant>,
    has_consumer_failed: bool,
    /// The number of interruptions. Calls from before the last one wait no longer.
    interruptions: u64,
    /// The latest history whose beginning has interrupted the calls from before it.
    interrupted_before: Option<History>,
}

#[derive(Debug)]
struct Current {
    outage: Outage,
    began: Instant,
    logged: Instant,
}

impl Outages {
    /// The outages of the consumer with this name.
    pub(super) fn new(consumer: impl Into<String>, limit: Option<Duration>) -> Self {
        let consumer = consumer.into();
        let (state, shutdown, try_again) = (Mutex::default(), Shutdown::new(), Notify::new());
        Self { shared: Arc::new(Shared { consumer, limit, state, shutdown, try_again }), store: None }
    }

    /// The same outages, of calls that belong to the history that this store has when they begin.
    pub(super) fn of_store(self, store: &Arc<dyn MessageStore>) -> Self {
        Self { store: Some(Arc::clone(store)), ..self }
    }

    /// The outage that lasts.
    pub(super) fn current(&self) -> Option<Outage> {
        self.state().current.as_ref().map(|current| current.outage.clone())
    }

    /// The request to stop, for handlers.
    pub(super) fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// From now on, outages are waited out only for a short time.
    pub(super) fn stop(&self) {
        self.state().stop_by.get_or_insert_with(|| after(AFTER_STOP));
        self.shared.shutdown.request();
        self.shared.try_again.notify_waiters();
    }

    /// As [`stop`](Self::stop), because the consumer (or its letter consumer) has failed.
    pub(super) fn stop_after_failure(&self, of_consumer: bool) {
        {
            let mut state = self.state();
            state.has_consumer_failed |= of_consumer && state.stop_by.is_none();
        }
        self.stop();
    }

    /// Whether the consumer has failed, and its letter consumer not before it.
    pub(super) fn has_consumer_failed(&self) -> bool {
        self.state().has_consumer_failed
    }

    /// Waits until a request to stop is so old that no outage is waited out any more.
    pub(super) async fn until_given_up(&self) {
        self.shared.shutdown.requested().await;
        let stop_by = self.state().stop_by;
        if let Some(stop_by) = stop_by {
            sleep_until(stop_by).await;
        }
    }

    /// The calls that wait now end with their errors.
    pub(super) fn interrupt(&self) {
        self.state().interruptions += 1;
        self.shared.try_again.notify_waiters();
    }

    /// The calls that wait now and began before this history end with their errors.
    pub(super) fn interrupt_before(&self, history: History) {
        self.state().interrupted_before = Some(history);
        self.shared.try_again.notify_waiters();
    }

    /// A call that may have to wait.
    pub(super) fn call(&self) -> Call<'_> {
        let history = self.store.as_ref().map(|store| store.history());
        let interruptions = Some(self.state().interruptions);
        Call {
            outages: self,
            state: CallState { began: None, interruptions, history },
            backoff: Backoff::new(),
            is_answered: false,
        }
    }

    /// A call that waits on when others are interrupted. The consumer and its letter consumer share their outages, and each
    /// of them restarts in another history and interrupts the calls from before.
    pub(super) fn call_of_restart(&self) -> Call<'_> {
        Call {
            outages: self,
            state: CallState { began: None, interruptions: None, history: None },
            backoff: Backoff::new(),
            is_answered: false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a failure of a call. Returns the time at which the wait must end, if there is one.
    fn failed(&self, call: &mut CallState, error: String) -> Option<Instant> {
        let mut state = self.state();
        let now = Instant::now();
        state.waiting += usize::from(call.began.is_none());
        let began = *call.began.get_or_insert(now);
        let current = state.current.get_or_insert_with(|| Current {
            outage: Outage { since: Timestamp::now(), error: String::new() },
            began: now,
            logged: now - LOG_INTERVAL,
        });
        if now.duration_since(current.logged) >= LOG_INTERVAL {
            current.logged = now;
            tracing::warn!(target: "message_store::consumer", consumer = self.shared.consumer, error, since = %current.outage.since, "an outage: trying again until it ends");
        }
        current.outage.error = error;
        let limit = self.shared.limit.and_then(|limit| began.checked_add(limit));
        let interrupted = (!call.goes_on(&state)).then_some(now);
        limit.into_iter().chain(state.stop_by).chain(interrupted).min()
    }

    /// A call waits no longer, because it was answered or given up.
    fn ended(&self, is_answered: bool) {
        let mut state = self.state();
        state.waiting -= 1;
        if state.waiting == 0
            && let Some(Current { outage, began, .. }) = state.current.take()
        {
            let (consumer, since, lasted) = (&self.shared.consumer, outage.since, began.elapsed());
            if is_answered {
                tracing::info!(target: "message_store::consumer", consumer, %since, ?lasted, error = outage.error, "an outage has ended");
            } else {
                tracing::info!(target: "message_store::consumer", consumer, %since, ?lasted, error = outage.error, "an outage is no longer waited out");
            }
        }
    }
}

/// A call to the store that is tried again after failures that pass by themselves.
#[derive(Debug)]
pub(super) struct Call<'a> {
    outages: &'a Outages,
    state: CallState,
    backoff: Backoff,
    is_answered: bool,
}

#[derive(Debug)]
struct CallState {
    /// The time of the first failure.
    began: Option<Instant>,
    /// The number of interruptions before the call. `None`: it is not interrupted.
    interruptions: Option<u64>,
    /// The history that the store had when the call began. `None`: it belongs to no history.
    history: Option<History>,
}

impl CallState {
    /// Whether the call may go on after the interruptions so far.
    fn goes_on(&self, state: &State) -> bool {
        let is_of_before = self.history.zip(state.interrupted_before).is_some_and(|(of, before)| of.0 < before.0);
        self.interruptions.is_none_or(|before| before == state.interruptions) && !is_of_before
    }
}

impl Call<'_> {
    /// Waits after a failure. Returns whether to try again.
    pub(super) async fn again(&mut self, error: &impl fmt::Display) -> bool {
        // Made before the state is read, so that no request to stop is missed.
        let outages = self.outages;
        let try_again = outages.shared.try_again.notified();
        let end = outages.failed(&mut self.state, error.to_string());
        let now = Instant::now();
        if end.is_some_and(|end| end <= now) {
            return false;
        }
        let next = now + self.backoff.next();
        tokio::select! {
            () = sleep_until(end.map_or(next, |end| next.min(end))) => {}
            () = try_again => {}
        }
        let state = self.outages.state();
        self.state.goes_on(&state)
    }

    /// The call was answered. If it had waited, all others that wait try again at once.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
        if self.state.began.is_some() {
            self.outages.shared.try_again.notify_waiters();
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.state.began.is_some() {
            self.outages.ended(self.is_answered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_lasts_from_the_first_failure_until_no_call_waits() {
        let outages = Outages::new("c", None);
        let (mut first, mut second) = (outages.call(), outages.call());
        assert_eq!(outages.current(), None);
        assert!(first.again(&"refused").await);
        let since = outages.current().unwrap().since;
        assert!(second.again(&"reset").await);
        assert_eq!(outages.current(), Some(Outage { since, error: "reset".into() }));
        first.answered();
        assert_eq!(outages.current().unwrap().since, since);
        drop(second);
        assert_eq!(outages.current(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_waited_out_for_as_long_as_it_lasts_or_up_to_the_limit() {
        let limit = Duration::from_mins(1);
        for (limit, lasts) in [(None, Duration::from_hours(100)), (Some(limit), limit)] {
            let (outages, begin) = (Outages::new("c", limit), Instant::now());
            let mut call = outages.call();
            while begin.elapsed() < lasts {
                assert!(call.again(&"refused").await);
            }
            assert_eq!(call.again(&"refused").await, limit.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_try_again_when_another_is_answered() {
        let outages = Outages::new("c", None);
        let mut waiting = outages.call();
        for _ in 0..10 {
            assert!(waiting.again(&"refused").await);
        }
        let (begin, mut other) = (Instant::now(), outages.call());
        assert!(other.again(&"refused").await);
        let waited = begin.elapsed();
        tokio::join!(waiting.again(&"refused"), async { other.answered() });
        assert_eq!(begin.elapsed(), waited);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interruption_ends_the_calls_that_wait_and_no_later_one() {
        let outages = Outages::new("c", None);
        let mut waiting = outages.call();
        let (goes_on, ()) = tokio::join!(waiting.again(&"refused"), async { outages.interrupt() });
        assert!(!goes_on && !waiting.again(&"refused").await);
        assert!(outages.call().again(&"refused").await);
    }

    /// The consumer and its letter consumer notice another history one after the other.
    #[tokio::test(start_paused = true)]
    async fn a_new_history_interrupts_the_calls_from_before_it_and_none_of_its_own() {
        let outages = Outages::new("c", None);
        let of = |history| {
            let mut call = outages.call();
            call.state.history = Some(History(history));
            call
        };
        let (mut before, mut own) = (of(1), of(2));
        for _ in 0..2 {
            outages.interrupt_before(History(2));
            assert!(!before.again(&"refused").await);
            assert!(own.again(&"refused").await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_counts_for_each_call() {
        let outages = Outages::new("c", Some(Duration::from_secs(2)));
        let mut first = outages.call();
        assert!(first.again(&"refused").await);
        // Its next attempt takes long.
        sleep_until(after(Duration::from_secs(9))).await;
        assert!(outages.call().again(&"refused").await);
        assert!(!first.again(&"refused").await);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_request_to_stop_an_outage_is_waited_out_only_for_a_short_time() {
        let (outages, begin) = (Outages::new("c", None), Instant::now());
        let mut call = outages.call();
        tokio::join!(call.again(&"refused"), async { outages.stop() });
        while call.again(&"refused").await {}
        assert_eq!(begin.elapsed(), AFTER_STOP);
    }

    #[tokio::test(start_paused = true)]
    async fn the_call_of_a_restart_waits_on_when_others_are_interrupted() {
        let outages = Outages::new("c", None);
        let (mut restart, mut other) = (outages.call_of_restart(), outages.call());
        outages.interrupt();
        assert!(!other.again(&"refused").await);
        assert!(restart.again(&"refused").await);
        outages.stop();
        tokio::time::advance(AFTER_STOP).await;
        assert!(!restart.again(&"refused").await);
    }
}
