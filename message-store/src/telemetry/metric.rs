//! The metrics: their names, units and labels.

/// A metric of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// With dots. Prometheus shows `_` in their place.
    pub name: &'static str,
    #[allow(missing_docs)]
    pub kind: MetricKind,
    /// The unit in UCUM: `s`, or `{message}` for counts.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    #[allow(missing_docs)]
    pub description: &'static str,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// The category of a message.
pub(super) const CATEGORY: &str = "messaging.destination.name";
/// The name of a consumer's position.
const CONSUMER: &str = "messaging.consumer.group.name";
/// How a call ended: `ok`, `refused` or `failed`; or what was done with a snapshot.
const RESULT: &str = "result";
const OUTCOME: &str = "outcome";
const POOL: &str = "pool";

macro_rules! metrics {
    ($($name:ident = $kind:ident $text:literal in $unit:literal by [$($label:ident),*]: $description:literal;)*) => {
        $(
            #[doc = $description]
            pub(crate) const $name: Metric = Metric {
                name: $text,
                kind: MetricKind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                description: $description,
            };
        )*

        /// All metrics of the library.
        pub const METRICS: &[Metric] = &[$($name),*];
    };
}

metrics! {
    SENT = Counter "messaging.client.sent.messages" in "{message}" by [CATEGORY]:
        "Messages that were appended.";
    APPEND_DURATION = Histogram "messaging.client.operation.duration" in "s" by [RESULT]:
        "The time of an append, as its caller sees it.";
    APPEND_CONFLICTS = Counter "message_store.append.conflicts" in "{append}" by [CATEGORY]:
        "Appends that were refused, because another writer was first.";
    APPEND_BATCH = Histogram "message_store.append.batch.size" in "{append}" by []:
        "The appends that shared a commit.";
    LOCK_WAIT = Histogram "message_store.append.lock_wait.duration" in "s" by []:
        "The time of a batch that waited for the lock of a category.";
    POOL_WAIT = Histogram "message_store.pool.wait.duration" in "s" by [POOL]:
        "The time that a call waited for a connection.";
    HORIZON_AGE = Gauge "message_store.horizon.age" in "s" by []:
        "How long readers of all messages have waited for the same open transaction.";
    TIMERS_FIRED = Counter "message_store.timers.fired" in "{timer}" by []:
        "Timers whose messages were written.";
    TIMER_LATENESS = Gauge "message_store.timers.lateness" in "s" by []:
        "How long the first timer that waits has been due. 0: none is due.";
    CONSUMED = Counter "messaging.client.consumed.messages" in "{message}" by [CATEGORY, CONSUMER, OUTCOME]:
        "Messages that a consumer has handled, by outcome.";
    PROCESS_DURATION = Histogram "messaging.process.duration" in "s" by [CATEGORY, CONSUMER]:
        "The time of one attempt of a handler.";
    LATE = Counter "message_store.consumer.late.messages" in "{message}" by [CATEGORY, CONSUMER]:
        "Late commands: a store that remembers only the highest position would have dropped them.";
    LETTERS_RETRIED = Counter "message_store.consumer.retried.messages" in "{message}" by [CATEGORY, CONSUMER, OUTCOME]:
        "Messages of dead letters that were delivered again, by outcome.";
    LETTERS_OPEN = Gauge "message_store.consumer.open.letters" in "{message}" by [CATEGORY, CONSUMER]:
        "The dead letters of the consumer's own messages that are open.";
    LAG_MESSAGES = Gauge "message_store.consumer.lag.messages" in "{message}" by [CATEGORY, CONSUMER]:
        "The messages of the category that the consumer has not handled.";
    LAG_TIME = Gauge "message_store.consumer.lag.duration" in "s" by [CATEGORY, CONSUMER]:
        "The age of the oldest of them.";
    OUTAGE = Gauge "message_store.consumer.outage.duration" in "s" by [CATEGORY, CONSUMER]:
        "How long the consumer has waited out an outage. 0: there is none.";
    SNAPSHOTS = Counter "message_store.entity.snapshots" in "{snapshot}" by [CATEGORY, RESULT]:
        "Snapshots of entities: `used`, `saved`, `discarded`, `failed`, or `left out`.";
    SLOTS_OWNED = Gauge "message_store.group.owned.slots" in "{slot}" by [CATEGORY, CONSUMER]:
        "The slots of an elastic group that this member owns.";
    SLOTS_UNOWNED = Gauge "message_store.group.unowned.slots" in "{slot}" by [CATEGORY, CONSUMER]:
        "The slots of an elastic group without an owner.";
    UNOWNED_TIME = Gauge "message_store.group.unowned.duration" in "s" by [CATEGORY, CONSUMER]:
        "The longest time for which a slot has had no owner.";
}

#[cfg(feature = "metrics")]
impl Metric {
    pub(super) fn describe(&self) {
        let unit = if self.unit == "s" { metrics::Unit::Seconds } else { metrics::Unit::Count };
        match self.kind {
            MetricKind::Counter => metrics::describe_counter!(self.name, unit, self.description),
            MetricKind::Gauge => metrics::describe_gauge!(self.name, unit, self.description),
            MetricKind::Histogram => metrics::describe_histogram!(self.name, unit, self.description),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_metric_has_a_name_of_its_own_and_labels_are_bounded() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        let labels: BTreeSet<&str> = METRICS.iter().flat_map(|metric| metric.labels).copied().collect();
        assert_eq!(labels, BTreeSet::from([CATEGORY, CONSUMER, RESULT, OUTCOME, POOL]));
    }
}
