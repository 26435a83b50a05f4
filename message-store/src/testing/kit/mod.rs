//! Given, when, then: tests of a decider. Each case also checks repeats, late deliveries and storage.

mod past;
mod process;
mod read_model;
mod run;
mod storage;
mod way;

use std::fmt::Debug;

use serde::Serialize;

use crate::handling::Decider;
use past::run_apart;
pub use process::{GivenProcess, WhenReceived, given_process};
pub use read_model::{GivenMessages, WhenApplied, given_messages};
use run::Run;
use storage::{message, messages, survives_storage};

/// The events before the command.
#[derive(Debug)]
#[must_use = "say when(command).then(events)"]
pub struct Given<D: Decider> {
    events: Vec<D::Event>,
}

/// The command.
#[derive(Debug)]
#[must_use = "say then(events)"]
pub struct When<D: Decider> {
    given: Vec<D::Event>,
    command: D::Command,
}

/// Begins a case with the events of an entity.
///
/// ```
/// # use message_store::entity::Projection;
/// # use message_store::handling::Decider;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)] enum Command { Close }
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)] enum Event { Opened, Closed }
/// # #[derive(Clone, Default)] struct Account { open: bool }
/// # impl Projection for Account {
/// #     const CATEGORY: &'static str = "account";
/// #     type Event = Event;
/// #     fn apply(&mut self, event: &Event) { self.open = *event == Event::Opened; }
/// # }
/// # impl Decider for Account {
/// #     type Command = Command;
/// #     fn decide(&self, _: &Command) -> Vec<Event> { if self.open { vec![Event::Closed] } else { vec![] } }
/// # }
/// use message_store::testing::given;
///
/// given::<Account>([Event::Opened]).when(Command::Close).then([Event::Closed]);
/// given::<Account>([]).when(Command::Close).then([]);
/// ```
pub fn given<D: Decider>(events: impl IntoIterator<Item = D::Event>) -> Given<D> {
    Given { events: events.into_iter().collect() }
}

impl<D: Decider> Given<D> {
    /// Sets the command.
    pub fn when(self, command: D::Command) -> When<D> {
        When { given: self.events, command }
    }
}

impl<D> When<D>
where
    D: Decider,
    D::Command: Serialize + Debug + PartialEq,
    D::Event: Debug + PartialEq,
{
    /// Checks that the command leads to these events. Every case also checks that:
    ///
    /// - the command and the events can be stored and decoded unchanged;
    /// - the runtime writes exactly these events, also if the entity that it remembers misses any number of events;
    /// - a second delivery of the command writes nothing;
    /// - a late delivery, after other commands of its origin, leads to the events of
    ///   [`decide_late`](Decider::decide_late), also if the remembered entity misses events;
    /// - another command like it leads to the same events, whether the runtime remembers the entity or reads it again.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = D::Event>) {
        let expected: Vec<D::Event> = expected.into_iter().collect();
        let mut state = D::default();
        self.given.iter().for_each(|event| state.apply(event));
        assert_eq!(state.decide(&self.command), expected, "what {:?} leads to", self.command);

        survives_storage(&self.command);
        self.given.iter().chain(&expected).for_each(survives_storage);

        let expected_late = state.decide_late(&self.command);
        let run = Run { given: messages(&self.given), command: message(&self.command), bug: None };
        for (way, written) in run_apart(move || run.every_way::<D>()) {
            way.check::<D>(&self.command, &written, &expected, &expected_late);
        }
    }
}

#[cfg(test)]
mod tests;
