//! Given, when, then: tests of a decider. Each case also checks repeats, late deliveries and storage.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::handling::{CommandHandler, Decider};
use crate::testing::PlantedBug;
use crate::{
    Category, ExpectedVersion, GlobalPosition, Json, Message, MessageStoreExt as _, NewMessage, Outcome, Sequence,
    StreamRead, connect,
};

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
        // A separate thread, because the test may run inside a runtime.
        let ran = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run.every_way::<D>())
        })
        .join();
        let ran = ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let command = &self.command;
        for (way, written) in ran {
            match way {
                Way::Once => assert_eq!(as_decided::<D>(&written), expected, "what the runtime writes for {command:?}"),
                Way::Twice => {
                    assert_eq!(
                        as_decided::<D>(&written),
                        expected,
                        "delivered twice, {command:?} must take effect once"
                    );
                }
                Way::Late => {
                    assert_eq!(
                        as_decided::<D>(&written),
                        expected_late,
                        "delivered late, {command:?} must not be lost"
                    );
                }
                Way::Behind { missed } => assert_eq!(
                    as_decided::<D>(&written),
                    expected,
                    "on a memory that misses {missed} events, {command:?} must not be lost"
                ),
                Way::LateAndBehind { missed } => assert_eq!(
                    as_decided::<D>(&written),
                    expected_late,
                    "delivered late, on a memory that misses {missed} events, {command:?} must not be lost"
                ),
                Way::AgainOnWhatIsRemembered { read } => assert_eq!(
                    as_decided::<D>(&written),
                    as_decided::<D>(&read),
                    "another {command:?} leads to something else on what is remembered than on what is read"
                ),
            }
        }
    }
}

/// The remembered entity misses all but the first `known` events. Both `known` and the number of missed events are
/// tested up to this number.
const SHORT_PAST: usize = 8;

/// The deliveries of a case's command.
enum Way {
    Once,
    Twice,
    Late,
    Behind {
        missed: usize,
    },
    LateAndBehind {
        missed: usize,
    },
    /// Another command like it followed, on the runtime that remembers the entity. `read` has the events of a runtime
    /// that had to read it.
    AgainOnWhatIsRemembered {
        read: Vec<Message>,
    },
}

/// Decodes events without the fields that the runtime adds to their data.
fn as_decided<D: Decider>(messages: &[Message]) -> Vec<D::Event> {
    let added: Vec<&str> = D::SEQUENCE_FIELD.into_iter().chain(D::PROCESSED_TIME_FIELD).collect();
    let decode = |message: &Message| {
        let mut message = message.clone();
        if let Ok(mut fields) = message.data.decode::<BTreeMap<String, Box<RawValue>>>() {
            fields.retain(|field, _| !added.contains(&field.as_str()));
            message.data = Json::encode(&fields).unwrap();
        }
        message.decode_variant().unwrap().expect("an event of this entity")
    };
    messages.iter().map(decode).collect()
}

struct Run {
    given: Vec<NewMessage>,
    command: NewMessage,
    bug: Option<PlantedBug>,
}

/// One way to deliver the command.
#[derive(Clone, Copy)]
struct Delivery {
    times: u32,
    /// Whether later commands of its origin were handled before.
    is_late: bool,
    /// The number of given events that the runtime remembers. Another writer has written the others. `None`: it has
    /// read nothing.
    knows: Option<usize>,
    /// The entity on which another command like it is decided afterwards. `None`: no other command follows.
    again: Option<Again>,
}

/// Whether the entity for another command is the remembered one or is read.
#[derive(Clone, Copy)]
enum Again {
    Remembered,
    Read,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { times: 1, is_late: false, knows: None, again: None }
    }
}

impl Run {
    async fn every_way<D: Decider>(self) -> Vec<(Way, Vec<Message>)> {
        let (once, late) = (Delivery::default(), Delivery { is_late: true, ..Delivery::default() });
        let mut ran = vec![
            (Way::Once, self.events::<D>(once).await),
            (Way::Twice, self.events::<D>(Delivery { times: 2, ..once }).await),
            (Way::Late, self.events::<D>(late).await),
        ];
        let length = self.given.len();
        // For many events, only the first and the last numbers.
        let known = (0..length).filter(|known| *known < SHORT_PAST || length - known <= SHORT_PAST);
        for known in known {
            let missed = self.given.len() - known;
            ran.push((Way::Behind { missed }, self.events::<D>(Delivery { knows: Some(known), ..once }).await));
            ran.push((Way::LateAndBehind { missed }, self.events::<D>(Delivery { knows: Some(known), ..late }).await));
        }
        let read = self.events::<D>(Delivery { again: Some(Again::Read), ..once }).await;
        let remembered = self.events::<D>(Delivery { again: Some(Again::Remembered), ..once }).await;
        ran.push((Way::AgainOnWhatIsRemembered { read }, remembered));
        ran
    }

    /// Delivers the command, and returns the events that were written for it.
    async fn events<D: Decider>(&self, delivery: Delivery) -> Vec<Message> {
        let store = connect("sqlite::memory:").await.unwrap();
        let commands = Category::new(format!("{}:command", D::CATEGORY)).unwrap();
        let runtime = || match self.bug {
            None => CommandHandler::<D>::new(&store),
            Some(bug) => CommandHandler::<D>::new(&store).plant(bug),
        };
        let decide = runtime();
        let (stream, command_stream) = (decide.entities().stream("1").unwrap(), commands.stream("1").unwrap());
        let mut given = self.given.clone();
        let unknown = given.split_off(delivery.knows.unwrap_or(given.len()));
        for (part, is_known) in [(given, true), (unknown, false)] {
            if !part.is_empty() {
                store.append_to(&stream, ExpectedVersion::Any, part).await.unwrap();
            }
            if is_known && delivery.knows.is_some() {
                decide.entities().refresh(&stream).await.unwrap();
            }
        }
        store.append_to(&command_stream, ExpectedVersion::Any, vec![self.command.clone()]).await.unwrap();
        let command = store.last_message(&command_stream, None).await.unwrap().unwrap();
        if delivery.is_late {
            // Adds a higher mark to the remembered entity.
            let mut known = decide.entities().recall(&stream).await.unwrap().known;
            let mut entity = (*known.entity).clone();
            let above = GlobalPosition::new(command.global_position.get() + 1_000);
            entity.sequences.record(Some(D::NAME), &Sequence::new(store.store_id(), commands, above));
            known.entity = Arc::new(entity);
            decide.entities().remember(&stream, known);
        }
        for time in 1..=delivery.times {
            let outcome = decide.carry_out(&command).await.unwrap();
            let repeat = matches!(outcome, Outcome::AlreadyProcessed { .. } | Outcome::Ignored);
            assert!(time == 1 || repeat, "delivery {time} was {outcome}");
        }
        if let Some(again) = delivery.again {
            let another = NewMessage::new(self.command.message_type.clone(), self.command.data.clone());
            store.append_to(&command_stream, ExpectedVersion::Any, vec![another]).await.unwrap();
            let command = store.last_message(&command_stream, None).await.unwrap().unwrap();
            let decide = if matches!(again, Again::Read) { runtime() } else { decide };
            let _ = decide.carry_out(&command).await.unwrap();
        }
        store.read_stream(&stream, StreamRead::default()).await.unwrap().split_off(self.given.len())
    }
}

fn message(value: &impl Serialize) -> NewMessage {
    NewMessage::from_variant(value).unwrap()
}

fn messages(values: &[impl Serialize]) -> Vec<NewMessage> {
    values.iter().map(message).collect()
}

fn survives_storage<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: &T) {
    let stored = message(value);
    let read: Option<T> = crate::variant::decode(&stored.message_type, &stored.data)
        .unwrap_or_else(|error| panic!("{value:?}, stored as {stored:?}, cannot be read back: {error}"));
    assert_eq!(read.as_ref(), Some(value), "{stored:?} is read back as something else");
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::entity::Projection;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Command {
        Add {
            amount: u64,
        },
        /// Writes no event if the sum is zero.
        Double,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Event {
        Added {
            amount: u64,
            // Not stored: a mistake that the kit must find.
            #[serde(skip)]
            note: u64,
        },
    }

    #[derive(Clone, Default)]
    struct Sum(u64);

    impl Projection for Sum {
        const CATEGORY: &'static str = "sum";
        type Event = Event;
        fn apply(&mut self, Event::Added { amount, .. }: &Event) {
            self.0 += amount;
        }
    }

    impl Decider for Sum {
        type Command = Command;
        fn decide(&self, command: &Command) -> Vec<Event> {
            match command {
                Command::Add { amount } => vec![Event::Added { amount: *amount, note: u64::from(*amount > 100) }],
                Command::Double if self.0 == 0 => vec![],
                Command::Double => vec![Event::Added { amount: self.0, note: 0 }],
            }
        }
    }

    #[test]
    fn a_case_that_holds_passes() {
        let added = Event::Added { amount: 1, note: 0 };
        given::<Sum>([added.clone()]).when(Command::Add { amount: 1 }).then([added.clone()]);
        given::<Sum>([added.clone()]).when(Command::Double).then([added]);
        given::<Sum>([]).when(Command::Double).then([]);
    }

    /// Refuses late commands, and reads the field that the runtime adds to its events.
    #[derive(Clone, Default)]
    struct Setting {
        set_by: Option<i64>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum SettingEvent {
        Set { sequence: Option<i64> },
        Refused {},
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum SettingCommand {
        Set {},
    }

    impl Projection for Setting {
        const CATEGORY: &'static str = "setting";
        type Event = SettingEvent;
        fn apply(&mut self, event: &SettingEvent) {
            if let SettingEvent::Set { sequence } = event {
                self.set_by = *sequence;
            }
        }
    }

    impl Decider for Setting {
        type Command = SettingCommand;
        const SEQUENCE_FIELD: Option<&'static str> = Some("sequence");
        fn decide(&self, _: &SettingCommand) -> Vec<SettingEvent> {
            if self.set_by.is_some() { vec![] } else { vec![SettingEvent::Set { sequence: None }] }
        }
        fn decide_late(&self, _: &SettingCommand) -> Vec<SettingEvent> {
            vec![SettingEvent::Refused {}]
        }
    }

    #[test]
    fn a_decider_that_refuses_what_is_late_and_reads_its_sequence_passes() {
        given::<Setting>([]).when(SettingCommand::Set {}).then([SettingEvent::Set { sequence: None }]);
        given::<Setting>([SettingEvent::Set { sequence: Some(1) }]).when(SettingCommand::Set {}).then([]);
    }

    #[test]
    #[should_panic(expected = "what Add")]
    fn other_events_than_expected_fail_the_case() {
        given::<Sum>([]).when(Command::Add { amount: 1 }).then([]);
    }

    #[test]
    #[should_panic(expected = "is read back as something else")]
    fn an_event_that_does_not_survive_storage_fails_the_case() {
        given::<Sum>([]).when(Command::Add { amount: 101 }).then([Event::Added { amount: 101, note: 1 }]);
    }

    async fn run(delivery: Delivery, given: &[Event], command: &Command, bug: PlantedBug) -> usize {
        Run { given: messages(given), command: message(command), bug: Some(bug) }.events::<Sum>(delivery).await.len()
    }

    #[tokio::test]
    #[should_panic(expected = "delivery 2")]
    async fn twin_without_sequences_the_second_delivery_is_noticed() {
        run(Delivery { times: 2, ..Delivery::default() }, &[], &Command::Add { amount: 1 }, PlantedBug::NoSequences)
            .await;
    }

    #[tokio::test]
    async fn twin_with_the_mark_alone_the_late_delivery_writes_nothing_and_the_case_fails_on_it() {
        let late = Delivery { is_late: true, ..Delivery::default() };
        assert_eq!(run(late, &[], &Command::Add { amount: 1 }, PlantedBug::MarkAlone).await, 0);
    }

    #[tokio::test]
    async fn twin_with_a_decision_on_what_is_remembered_the_command_is_lost_and_the_case_fails_on_it() {
        let behind = Delivery { knows: Some(0), ..Delivery::default() };
        let given = [Event::Added { amount: 1, note: 0 }];
        assert_eq!(run(behind, &given, &Command::Double, PlantedBug::RememberedNothing).await, 0);
        assert_eq!(run(behind, &given, &Command::Double, PlantedBug::MarkAlone).await, 1, "which is the one to blame");
    }
}
