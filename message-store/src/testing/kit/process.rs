//! Given, when, then: tests of a process manager.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;

use super::difference::assert_same;
use super::past::{assert_repeat_is_recognised, make_late, run_apart, send, write_given};
use super::storage::{message, messages, read, survives_storage};
use crate::handling::{ProcessHandler, ProcessManager, Reaction, ReactionParts};
use crate::store::{Due, Timer, TimerChange, TimerQuery};
use crate::testing::PlantedBug;
use crate::{Category, Json, Message, MessageStore, Metadata, NewMessage, Read, StreamName, connect};

/// The events of the process before the message.
#[derive(Debug)]
#[must_use = "say when(message).then(reaction)"]
pub struct GivenProcess<P: ProcessManager> {
    events: Vec<P::Event>,
}

/// The message.
#[derive(Debug)]
#[must_use = "say then(reaction)"]
pub struct WhenReceived<P: ProcessManager> {
    given: Vec<P::Event>,
    message: P::Message,
}

/// Begins a case with the own events of a process.
///
/// ```
/// # use message_store::Message;
/// # use message_store::entity::Projection;
/// # use message_store::handling::{ProcessManager, Reaction};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)] enum Received { Ordered { id: String } }
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)] enum Event { Begun }
/// # #[derive(Serialize)] enum Command { Ship }
/// # #[derive(Clone, Default)] struct Delivery { begun: bool }
/// # impl Projection for Delivery {
/// #     const CATEGORY: &'static str = "delivery";
/// #     type Event = Event;
/// #     fn apply(&mut self, _: &Event) { self.begun = true; }
/// # }
/// # impl ProcessManager for Delivery {
/// #     type Message = Received;
/// #     fn process_id(_: &Message, Received::Ordered { id }: &Received) -> Option<String> { Some(id.clone()) }
/// #     fn react(&self, Received::Ordered { id }: &Received) -> Reaction<Event> {
/// #         if self.begun { return Reaction::none() }
/// #         Reaction::event(Event::Begun).send("parcel:command", id, &Command::Ship)
/// #     }
/// # }
/// use message_store::testing::given_process;
///
/// let ordered = || Received::Ordered { id: "7".into() };
/// given_process::<Delivery>([])
///     .when(ordered())
///     .then(Reaction::event(Event::Begun).send("parcel:command", "7", &Command::Ship));
/// given_process::<Delivery>([Event::Begun]).when(ordered()).then(Reaction::none());
/// ```
pub fn given_process<P: ProcessManager>(events: impl IntoIterator<Item = P::Event>) -> GivenProcess<P> {
    GivenProcess { events: events.into_iter().collect() }
}

impl<P: ProcessManager> GivenProcess<P> {
    /// Sets the message that the process receives.
    pub fn when(self, message: P::Message) -> WhenReceived<P> {
        WhenReceived { given: self.events, message }
    }
}

/// What was written, or must be.
#[derive(Debug, PartialEq)]
struct Written<E> {
    events: Vec<E>,
    /// The stream, type and data of each message for another stream, in the order of the reaction.
    sent: Vec<(String, String, Json)>,
    timers: Vec<WrittenTimer>,
}

/// A change of a timer.
#[derive(Debug, PartialEq)]
struct WrittenTimer {
    name: String,
    change: &'static str,
    due: Option<Due>,
    /// The stream, type and data of the message of a timer that is set.
    message: Option<(String, String, Json)>,
}

impl WrittenTimer {
    fn of(change: TimerChange) -> Self {
        let name = change.key().name.clone();
        match change {
            TimerChange::Set { due, to, message, .. } => {
                let message = Some((to.as_str().to_owned(), message.message_type, message.data));
                Self { name, change: "set", due: Some(due), message }
            }
            TimerChange::Move { due, .. } => Self { name, change: "move", due: Some(due), message: None },
            TimerChange::Redact { .. } => Self { name, change: "redact", due: None, message: None },
            TimerChange::Cancel { .. } => Self { name, change: "cancel", due: None, message: None },
        }
    }
}

impl<E> Written<E> {
    #[track_caller]
    fn of(reaction: Reaction<E>) -> Self {
        let own = StreamName::from_database("");
        let is_none = reaction.is_none();
        let ReactionParts { events, appends, timers } =
            reaction.into_parts(&own).unwrap_or_else(|error| panic!("{error}"));
        assert!(is_none || !events.is_empty(), "a reaction has an event");
        let sent = appends.into_iter().flat_map(|append| {
            let stream = append.stream.as_str().to_owned();
            append.messages.into_iter().map(move |message| (stream.clone(), message.message_type, message.data))
        });
        Self { events, sent: sent.collect(), timers: timers.into_iter().map(WrittenTimer::of).collect() }
    }

    /// What is seen of it in a store in which no timer waited: of the timers, those that are set and not cancelled, by
    /// their names.
    fn seen(mut self) -> Self {
        let mut waiting = BTreeMap::new();
        for timer in self.timers {
            match timer.change {
                "set" => drop(waiting.insert(timer.name.clone(), WrittenTimer { due: None, ..timer })),
                "cancel" => drop(waiting.remove(&timer.name)),
                _ => {}
            }
        }
        self.timers = waiting.into_values().collect();
        self
    }
}

impl<P> WhenReceived<P>
where
    P: ProcessManager,
    P::Message: Serialize + Debug + PartialEq,
    P::Event: Debug + PartialEq,
{
    /// Checks that the message leads to this reaction. Every case also checks that:
    ///
    /// - the message and the events can be stored and decoded unchanged;
    /// - the runtime writes exactly this reaction, also if the process that it remembers misses any number of events;
    /// - a second delivery of the message writes nothing;
    /// - a late delivery leads to the reaction of [`react_late`](ProcessManager::react_late).
    ///
    /// The message is in the stream `{category}:command-1`, and is correlated with `{category}-1`. Which process it belongs
    /// to does not matter to a case: test [`process_id`](ProcessManager::process_id) with
    /// [`message_in`](crate::testing::message_in).
    #[track_caller]
    pub fn then(self, expected: Reaction<P::Event>) {
        let Self { given, message: received } = self;
        let mut state = P::default();
        for event in &given {
            state.apply(event);
        }
        let expected = Written::of(expected);
        assert_same(&Written::of(state.react(&received)), &expected, format!("the reaction to {received:?}"));
        survives_storage(&received, P::MESSAGE_UPCASTERS);
        given.iter().chain(&expected.events).for_each(|event| survives_storage(event, P::UPCASTERS));
        let expected_late = Written::of(state.react_late(&received)).seen();
        let expected = expected.seen();

        let message = message(&received, P::MESSAGE_UPCASTERS);
        let case = Case { given: messages(&given, P::UPCASTERS), message, bug: None };
        for (way, is_late, written) in run_apart(move || case.every_way::<P>()) {
            let expected = if is_late { &expected_late } else { &expected };
            let what = format!("{way}, the reaction that is written for {received:?}");
            assert_same(&decoded::<P>(&written), expected, what);
        }
    }
}

/// The messages of a case, and a protection that a test switches off.
pub(super) struct Case {
    pub(super) given: Vec<NewMessage>,
    pub(super) message: NewMessage,
    pub(super) bug: Option<PlantedBug>,
}

/// The own events, the messages for other streams, and the timers.
pub(super) type Messages = (Vec<Message>, Vec<Message>, Vec<Timer>);

fn decoded<P: ProcessManager>((events, sent, timers): &Messages) -> Written<P::Event> {
    let decode = |event: &Message| read(event, P::UPCASTERS);
    let place =
        |message: &Message| (message.stream.as_str().to_owned(), message.message_type.clone(), message.data.clone());
    let timer = |timer: &Timer| {
        let message = &timer.message;
        let message = (timer.to.as_str().to_owned(), message.message_type.clone(), message.data.clone());
        WrittenTimer { name: timer.key.name.clone(), change: "set", due: None, message: Some(message) }
    };
    let mut timers: Vec<_> = timers.iter().map(timer).collect();
    timers.sort_by(|one, other| one.name.cmp(&other.name));
    Written { events: events.iter().flat_map(decode).collect(), sent: sent.iter().map(place).collect(), timers }
}

impl Case {
    async fn every_way<P: ProcessManager>(self) -> Vec<(String, bool, Messages)> {
        let mut ran = Vec::new();
        for (way, times, is_late) in
            [("delivered once", 1, false), ("delivered twice", 2, false), ("delivered late", 1, true)]
        {
            ran.push((way.to_owned(), is_late, self.run::<P>(times, is_late, None).await));
        }
        for known in 0..self.given.len() {
            let way = format!("on a remembered process that misses {} events", self.given.len() - known);
            ran.push((way, false, self.run::<P>(1, false, Some(known)).await));
        }
        ran
    }

    /// Delivers the message, and returns what is written for it. The runtime remembers `known` of the given events.
    pub(super) async fn run<P: ProcessManager>(&self, times: u32, is_late: bool, known: Option<usize>) -> Messages {
        let store = connect("sqlite::memory:").await.unwrap();
        let process = match self.bug {
            None => ProcessHandler::<P>::new(&store),
            Some(bug) => ProcessHandler::<P>::new(&store).plant(bug),
        };
        let commands = Category::new(format!("{}:command", P::CATEGORY)).unwrap();
        let received = self.received::<P>(&store, &commands).await;
        let content: P::Message =
            read(&received, P::MESSAGE_UPCASTERS).pop().expect("a message to which the process reacts");
        let id = P::process_id(&received, &content).unwrap_or_else(|| {
            panic!(
                "process_id says that {} in {} belongs to no process; test process_id itself, with `message_in`",
                received.message_type, received.stream
            )
        });
        let stream = process.processes().stream(&id).unwrap();
        write_given(process.processes(), &stream, &self.given, known).await;
        if is_late {
            make_late(process.processes(), &stream, P::NAME, &received).await;
        }
        for time in 1..=times {
            assert_repeat_is_recognised(time, &process.react(&received).await.unwrap());
        }
        let mut all = store.read_all(Read::default()).await.unwrap().messages;
        // The reservation of its intent is no part of the reaction.
        let is_written =
            |metadata: Metadata| metadata.reserves.is_none() && metadata.follows(&received, store.store_id());
        all.retain(|message| is_written(message.decode_metadata()));
        let (events, sent) = all.into_iter().partition(|message| message.stream == stream);
        let timers = store.timers().expect("a store in memory has timers");
        (events, sent, timers.list(TimerQuery::new().limit(usize::MAX)).await.unwrap())
    }

    async fn received<P: ProcessManager>(&self, store: &Arc<dyn MessageStore>, commands: &Category) -> Message {
        let correlation = Metadata::new().correlation(&Category::new(P::CATEGORY).unwrap().stream("1").unwrap());
        let message = self.message.clone().with_metadata(&correlation).unwrap();
        let message = message.versioned(P::MESSAGE_UPCASTERS).unwrap();
        send(&**store, &commands.stream("1").unwrap(), message).await
    }
}
