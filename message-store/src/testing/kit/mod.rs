//! Given, when, then: tests of a decider. Each case also checks repeats, late deliveries and storage.

mod difference;
mod handler;
mod past;
mod process;
mod read_model;
mod repeat;
mod run;
mod snapshots;
mod storage;
mod stored;
mod way;

use std::fmt::Debug;

use serde::Serialize;

use crate::NewMessage;
use crate::handling::Decider;
use difference::assert_same;
pub use handler::{WhenHandled, WrittenTo, written_to};
use past::run_apart;
pub use process::{GivenProcess, WhenReceived, given_process};
pub use read_model::{GivenMessages, WhenApplied, given_messages};
use run::Run;
pub use snapshots::assert_snapshots;
pub use storage::message_in;
use storage::{event_messages, matching, message, survives_storage};
pub use stored::{GivenStored, given_stored};

/// The events before the command.
#[derive(Debug)]
#[must_use = "say when(command).then(events)"]
pub struct Given<D: Decider> {
    events: Vec<D::Event>,
    others: Vec<(String, Vec<D::Event>)>,
}

/// The command.
#[derive(Debug)]
#[must_use = "say then(events)"]
pub struct When<D: Decider> {
    given: Vec<NewMessage>,
    /// The given messages, as they are read.
    events: Vec<D::Event>,
    others: Vec<(String, Vec<D::Event>)>,
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
    Given { events: events.into_iter().collect(), others: Vec::new() }
}

impl<D: Decider> Given<D> {
    /// Adds the events of another entity of the category, which has this id. They count for the query of the command
    /// ([`Decider::unless`]). The entity of the command has the id `1`.
    pub fn and_of(mut self, id: &str, events: impl IntoIterator<Item = D::Event>) -> Self {
        self.others.push((id.to_owned(), events.into_iter().collect()));
        self
    }

    /// Sets the command.
    pub fn when(self, command: D::Command) -> When<D> {
        let given = event_messages::<D>(&self.events);
        When { given, events: self.events, others: self.others, command }
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
    ///   [`decide_late`](Decider::decide_late), or of [`decide_matched`](Decider::decide_matched) if messages match the
    ///   command's query, also if the remembered entity misses events;
    /// - another command like it leads to the same events, whether the runtime remembers the entity or reads it again.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = D::Event>) {
        self.check(Some(expected.into_iter().collect()), None);
    }

    /// Checks that a late delivery of the command, after other commands of its origin, leads to these events. Every case
    /// also checks the rest of what [`then`](Self::then) checks, with the events of [`decide`](Decider::decide) for a
    /// delivery that is not late.
    #[track_caller]
    pub fn then_late(self, expected: impl IntoIterator<Item = D::Event>) {
        self.check(None, Some(expected.into_iter().collect()));
    }

    /// What is not expected by the case follows from the decider.
    #[track_caller]
    fn check(self, expected: Option<Vec<D::Event>>, expected_late: Option<Vec<D::Event>>) {
        let mut state = D::default();
        self.events.iter().for_each(|event| state.apply(event));
        for (id, events) in &self.others {
            assert_ne!(id, "1", "the command's own entity has this id; give its events first");
            for event in events {
                survives_storage(event, D::UPCASTERS);
            }
        }
        let run = self.run();
        let query = state.unless(&self.command).map(|query| query.widened_by(D::CATEGORY, D::UPCASTERS));
        let found = query.map(|query| matching::<D>(&query, &run.given, &run.others)).unwrap_or_default();
        let decide = || match &found[..] {
            [] => state.decide(&self.command),
            found => state.decide_matched(&self.command, found),
        };
        let decide_late = || if found.is_empty() { state.decide_late(&self.command) } else { decide() };
        let (expected, expected_late) = (expected.unwrap_or_else(decide), expected_late.unwrap_or_else(decide_late));
        assert_same(&decide(), &expected, format!("what {:?} leads to", self.command));
        assert_same(&decide_late(), &expected_late, format!("what {:?}, delivered late, leads to", self.command));

        survives_storage(&self.command, D::COMMAND_UPCASTERS);
        let events = self.events.iter().chain(&expected).chain(&expected_late);
        events.for_each(|event| survives_storage(event, D::UPCASTERS));

        for (way, written) in run_apart(move || run.every_way::<D>()) {
            way.check::<D>(&self.command, &written, &expected, &expected_late);
        }
    }

    /// The case for the runtime.
    fn run(&self) -> Run {
        let others = self.others.iter().map(|(id, events)| (id.clone(), event_messages::<D>(events)));
        let command = message(&self.command, D::COMMAND_UPCASTERS);
        Run { given: self.given.clone(), others: others.collect(), command, bug: None }
    }
}

#[cfg(test)]
mod tests;
