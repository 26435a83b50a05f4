//! The metrics of a consumer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::store::Backlog;
use crate::telemetry::metric::{
    CONSUMED, LAG_MESSAGES, LAG_TIME, LATE, LETTERS_OPEN, LETTERS_RETRIED, OUTAGE, PROCESS_DURATION, SLOTS_OWNED,
    SLOTS_UNOWNED, UNOWNED_TIME,
};
use crate::telemetry::{Counter, Gauge, Histogram, Metric};
use crate::{Category, OutcomeKind, Timestamp};

/// The handles of the metrics of one consumer. All clones are the same consumer's.
#[derive(Clone, Debug)]
pub(super) struct ConsumerMetrics(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    /// The category, and the name of the consumer.
    labels: [String; 2],
    #[cfg_attr(not(feature = "metrics"), allow(clippy::zero_sized_map_values))]
    outcomes: Mutex<HashMap<(&'static str, OutcomeKind), Counter>>,
    late: Counter,
    attempt: Histogram,
    letters: Gauge,
    lag: Gauge,
    lag_time: Gauge,
    outage: Gauge,
    owned: Gauge,
    unowned: Gauge,
    unowned_time: Gauge,
}

impl ConsumerMetrics {
    pub(super) fn of(category: &Category, identifier: Option<&str>) -> Self {
        let labels = [category.as_str().to_owned(), identifier.unwrap_or_default().to_owned()];
        let values: Vec<&str> = labels.iter().map(String::as_str).collect();
        let gauge = |metric| Gauge::of(metric, &values);
        Self(Arc::new(Handles {
            outcomes: Mutex::default(),
            late: Counter::of(&LATE, &values),
            attempt: Histogram::of(&PROCESS_DURATION, &values),
            letters: gauge(&LETTERS_OPEN),
            lag: gauge(&LAG_MESSAGES),
            lag_time: gauge(&LAG_TIME),
            outage: gauge(&OUTAGE),
            owned: gauge(&SLOTS_OWNED),
            unowned: gauge(&SLOTS_UNOWNED),
            unowned_time: gauge(&UNOWNED_TIME),
            labels,
        }))
    }

    /// A message was handled, with this outcome.
    pub(super) fn consumed(&self, kind: OutcomeKind) {
        self.count(&CONSUMED, kind);
        if kind == OutcomeKind::HandledLate {
            self.0.late.add(1);
        }
    }

    /// The message of a letter was delivered again, with this outcome.
    pub(super) fn retried(&self, kind: OutcomeKind) {
        self.count(&LETTERS_RETRIED, kind);
    }

    fn count(&self, metric: &'static Metric, kind: OutcomeKind) {
        if !crate::telemetry::is_on() {
            return;
        }
        let mut outcomes = self.0.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let [category, consumer] = &self.0.labels;
            Counter::of(metric, &[category, consumer, &kind.to_string()])
        };
        outcomes.entry((metric.name, kind)).or_insert_with(make).add(1);
    }

    /// An attempt of the handler has taken this time.
    pub(super) fn attempted(&self, time: Duration) {
        self.0.attempt.record_time(time);
    }

    pub(super) fn lag(&self, backlog: &Backlog, now: Timestamp) {
        self.0.lag.set(backlog.messages);
        let age = backlog.oldest.and_then(|oldest| Duration::try_from(now.duration_since(oldest)).ok());
        self.0.lag_time.set_time(age.unwrap_or_default());
    }

    /// `time` is how long the outage has lasted.
    pub(super) fn outage(&self, time: Option<Duration>) {
        self.0.outage.set_time(time.unwrap_or_default());
    }

    pub(super) fn open_letters(&self, count: usize) {
        self.0.letters.set(count as u64);
    }

    pub(super) fn slots(&self, owned: usize, unowned: usize, time: Option<Duration>) {
        self.0.owned.set(owned as u64);
        self.0.unowned.set(unowned as u64);
        self.0.unowned_time.set_time(time.unwrap_or_default());
    }
}
