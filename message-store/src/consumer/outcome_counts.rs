//! The number of outcomes of each kind.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::{Message, MessageRef, Outcome, OutcomeKind, Timestamp};

/// Outcomes, counted by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    outcomes: BTreeMap<OutcomeKind, u64>,
    events: u64,
    retried: BTreeMap<OutcomeKind, u64>,
    repeats: VecDeque<Repeat>,
}

/// A message that was a repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repeat {
    #[allow(missing_docs)]
    pub message: MessageRef,
    /// How it was recognised.
    pub kind: OutcomeKind,
    /// The message that came first.
    pub original: MessageRef,
    /// The time at which it was recognised, by this process's clock.
    pub at: Timestamp,
}

/// The number of repeats that are remembered.
const REPEATS: usize = 20;

impl OutcomeCounts {
    /// Counts the outcome of a letter's message that was delivered again.
    pub(super) fn count_retried(&mut self, kind: OutcomeKind) {
        *self.retried.entry(kind).or_default() += 1;
    }

    /// The outcomes of letters' messages that were delivered again, with their counts. [`OutcomeKind::Parked`] and
    /// [`OutcomeKind::Delayed`] mean that the delivery failed again.
    pub fn retried(&self) -> impl Iterator<Item = (OutcomeKind, u64)> + '_ {
        self.retried.iter().map(|(kind, count)| (*kind, *count))
    }

    pub(super) fn count(&mut self, message: &Message, outcome: &Outcome) {
        if let Some(original) = outcome.original() {
            self.repeats.truncate(REPEATS - 1);
            let (message, original, at) = (message.reference(), original.clone(), Timestamp::now());
            self.repeats.push_front(Repeat { message, kind: outcome.kind(), original, at });
        }
        *self.outcomes.entry(outcome.kind()).or_default() += 1;
        if let Outcome::Handled { events, .. } = outcome {
            self.events += *events as u64;
        }
    }

    /// The number of outcomes of this kind.
    pub fn of(&self, kind: OutcomeKind) -> u64 {
        self.outcomes.get(&kind).copied().unwrap_or_default()
    }

    /// The kinds that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (OutcomeKind, u64)> + '_ {
        self.outcomes.iter().map(|(kind, count)| (*kind, *count))
    }

    /// The number of messages, with any outcome. It includes messages that the handler did not receive, because their
    /// letters are open or discarded. It excludes redeliveries of letters ([`retried`](Self::retried)).
    pub fn messages(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// The last 20 messages that were repeats, the latest first.
    pub fn repeats(&self) -> impl Iterator<Item = &Repeat> {
        self.repeats.iter()
    }

    /// The number of events that were written.
    pub fn events(&self) -> u64 {
        self.events
    }
}

impl fmt::Display for OutcomeCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retried = self.retried().map(|(kind, count)| format!("retried and {kind} {count}"));
        let counts: Vec<String> = self.iter().map(|(kind, count)| format!("{kind} {count}")).chain(retried).collect();
        f.write_str(&counts.join(", "))
    }
}
