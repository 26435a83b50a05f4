//! Process managers: each message has one reaction, and all of a reaction is written or nothing.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::entity::Projection;
use message_store::handling::{ProcessHandler, ProcessManager, Reaction};
use message_store::testing::{FaultyStore, PlantedBug};
use message_store::{Append, Error, Json, Message, MessageStore, Metadata, NewMessage, Outcome, StreamName};
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

type Store = Arc<dyn MessageStore>;

/// The messages of an order: its commands, and events of the stock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Received {
    Place {
        item: String,
    },
    /// Adds a line only if there are some.
    AddAfterOthers {
        item: String,
    },
    /// Sends without an event.
    Forget {},
    Arrived {
        order: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Placed { item: String, number: usize },
    Arrived {},
}

#[derive(Serialize)]
enum ToStock {
    Reserve { item: String },
}

#[derive(Clone, Debug, Default)]
struct Order {
    lines: usize,
}

impl Projection for Order {
    const CATEGORY: &'static str = "order";
    type Event = Event;
    fn apply(&mut self, event: &Event) {
        self.lines += usize::from(matches!(event, Event::Placed { .. }));
    }
}

impl ProcessManager for Order {
    type Message = Received;

    fn process_id(message: &Message, received: &Received) -> Option<String> {
        match received {
            Received::Arrived { order } if order.is_empty() => message.correlation_id("order"),
            Received::Arrived { order } => Some(order.clone()),
            _ => message.stream.cardinal_id().map(str::to_owned),
        }
    }

    fn react(&self, received: &Received) -> Reaction<Event> {
        let number = self.lines + 1;
        match received {
            Received::AddAfterOthers { .. } if self.lines == 0 => Reaction::none(),
            Received::Place { item } | Received::AddAfterOthers { item } => {
                let reserve = ToStock::Reserve { item: item.clone() };
                let urgent = Metadata::new().property("urgent", &true).unwrap();
                let mail = NewMessage::new("Confirm", Json::NULL).with_metadata(&urgent).unwrap();
                Reaction::event(Event::Placed { item: item.clone(), number })
                    .send("stock:command", item, &reserve)
                    .send_message(StreamName::new("mail:command-1").unwrap(), mail)
            }
            Received::Forget {} => Reaction::none().send("stock:command", "1", &ToStock::Reserve { item: "1".into() }),
            Received::Arrived { .. } => Reaction::event(Event::Arrived {}),
        }
    }
}

fn orders(store: &Store, bug: Option<PlantedBug>) -> ProcessHandler<Order> {
    let orders = ProcessHandler::new(store);
    match bug {
        Some(bug) => orders.plant(bug),
        None => orders,
    }
}

async fn send(store: &Store, stream: &str, received: &Received) -> Message {
    let message = NewMessage::from_variant(received).unwrap();
    put(store, stream, &message.message_type, message.data.text(), "{}").await
}

async fn place(store: &Store, item: &str) -> Message {
    send(store, "order:command-1", &Received::Place { item: item.to_owned() }).await
}

async fn counts(store: &Store) -> (usize, usize, usize) {
    let mut counts = [0; 3];
    for (count, category) in counts.iter_mut().zip(["order", "stock:command", "mail:command"]) {
        *count = messages_of(store, category).await.len();
    }
    counts.into()
}

/// The same message is delivered to two processes, one after the other.
async fn delivered_twice(store: &Store, bug: Option<PlantedBug>) -> (usize, usize, usize) {
    let message = place(store, "a").await;
    for _ in 0..2 {
        let _ = orders(store, bug).react(&message).await.unwrap();
    }
    counts(store).await
}

/// A message that was sent first arrives after one that was sent later.
async fn arrived_late(store: &Store, bug: Option<PlantedBug>) -> (Outcome, usize) {
    let orders = orders(store, bug);
    let (first, second) = (place(store, "a").await, place(store, "b").await);
    let _ = orders.react(&second).await.unwrap();
    let outcome = orders.react(&first).await.unwrap();
    (outcome, counts(store).await.1)
}

/// Two processes react to messages of one order, and the first does not know what the second has written.
async fn reacted_on_an_old_state(store: &Store, bug: Option<PlantedBug>) -> Result<Vec<usize>, Error> {
    let (ours, theirs) = (orders(store, bug), orders(store, None));
    let _ = ours.react(&place(store, "a").await).await?;
    let _ = theirs.react(&place(store, "b").await).await?;
    let _ = ours.react(&place(store, "c").await).await?;
    let numbers = messages_of(store, "order").await.into_iter().map(|message| {
        let Some(Event::Placed { number, .. }) = message.decode_variant().unwrap() else { panic!("{message:?}") };
        number
    });
    Ok(numbers.collect())
}

/// A reaction to nothing on an old state: the process has lines of which this member does not know.
async fn nothing_on_an_old_state(store: &Store, bug: Option<PlantedBug>) -> usize {
    let (ours, theirs) = (orders(store, bug), orders(store, None));
    let stream = ours.processes().stream("1").unwrap();
    ours.processes().fetch("1").await.unwrap();
    let _ = theirs.react(&place(store, "a").await).await.unwrap();
    let message = send(store, "order:command-1", &Received::AddAfterOthers { item: "b".into() }).await;
    let _ = ours.react(&message).await.unwrap();
    usize::try_from(store.version(&stream).await.unwrap().get() + 1).unwrap()
}

on_both_stores! {
    async fn events_and_messages_of_a_reaction_follow_their_cause_and_are_one_append(store) {
        let message = place(&store, "a").await;
        let outcome = orders(&store, None).react(&message).await.unwrap();
        assert_eq!(outcome, Outcome::Handled { events: 1, late: false });
        let mut written = Vec::new();
        for category in ["order", "stock:command", "mail:command"] {
            written.extend(messages_of(&store, category).await);
        }
        let streams: Vec<_> = written.iter().map(|message| message.stream.as_str()).collect();
        assert_eq!(streams, ["order-1", "stock:command-a", "mail:command-1"]);
        for written in &written {
            let metadata = written.decode_metadata();
            assert!(metadata.follows(&message, store.store_id()), "{written:?}");
            assert_eq!(metadata.correlation_stream_name.as_deref(), Some("order-1"));
            assert_eq!(metadata.handler.as_deref(), Some("order"));
        }
        assert_eq!(written[2].decode_metadata().properties["urgent"].text(), "true");
    }

    async fn the_correlation_of_the_case_is_kept_and_names_the_process_otherwise(store) {
        let orders = orders(&store, None);
        let of_case = put(
            &store, "order:command-1", "Place", r#"{"item":"a"}"#, r#"{"correlationStreamName":"case-7"}"#,
        ).await;
        let _ = orders.react(&of_case).await.unwrap();
        assert_eq!(messages_of(&store, "order").await[0].decode_metadata().correlation_stream_name.unwrap(), "case-7");
        let own = send(&store, "order:command-2", &Received::Place { item: "b".into() }).await;
        let _ = orders.react(&own).await.unwrap();
        let sent = messages_of(&store, "stock:command").await.pop().unwrap();
        // The stock writes its event for what was sent.
        let metadata = Metadata::follow(&sent).to_json().unwrap();
        let arrived = put(&store, "stock-b", "Arrived", r#"{"order":""}"#, metadata.text()).await;
        let _ = orders.react(&arrived).await.unwrap();
        assert_eq!(messages_of(&store, "order").await.pop().unwrap().stream.as_str(), "order-2");
    }

    async fn a_message_that_is_delivered_twice_has_one_reaction(store) {
        assert_eq!(delivered_twice(&store, None).await, (1, 1, 1));
    }

    async fn twin_without_sequences_it_has_two(store) {
        assert_eq!(delivered_twice(&store, Some(PlantedBug::NoSequences)).await, (2, 2, 2));
    }

    async fn a_late_message_has_its_reaction(store) {
        let (outcome, sent) = arrived_late(&store, None).await;
        assert_eq!((outcome, sent), (Outcome::Handled { events: 1, late: true }, 2));
    }

    async fn twin_by_its_mark_alone_a_late_message_is_lost(store) {
        assert_eq!(arrived_late(&store, Some(PlantedBug::MarkAlone)).await.1, 1);
    }

    async fn a_reaction_on_an_old_state_is_asked_for_again(store) {
        assert_eq!(reacted_on_an_old_state(&store, None).await.unwrap(), [1, 2, 3]);
    }

    async fn twin_without_a_second_decision_it_fails(store) {
        let failed = reacted_on_an_old_state(&store, Some(PlantedBug::NoSecondDecision)).await;
        assert!(matches!(failed, Err(Error::WrongExpectedVersion { .. })), "{failed:?}");
    }

    async fn no_reaction_on_an_old_state_does_not_count(store) {
        assert_eq!(nothing_on_an_old_state(&store, None).await, 2);
    }

    async fn twin_with_what_is_remembered_the_message_is_lost(store) {
        assert_eq!(nothing_on_an_old_state(&store, Some(PlantedBug::RememberedNothing)).await, 1);
    }

    async fn messages_of_one_process_that_are_handled_at_once_have_all_their_reactions(store) {
        let mut handled = Vec::new();
        for number in 0..16 {
            let (message, orders) = (place(&store, &number.to_string()).await, orders(&store, None));
            handled.push(tokio::spawn(async move { orders.react(&message).await.unwrap() }));
        }
        for handled in handled {
            let outcome = handled.await.unwrap();
            assert!(matches!(outcome, Outcome::Handled { events: 1, .. }), "{outcome}");
        }
        assert_eq!(counts(&store).await, (16, 16, 16));
    }

    async fn a_reaction_whose_answer_was_lost_is_written_once(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let message = place(&store, "a").await;
        faulty.lose_answers(1);
        let outcome = orders(&shared, None).react(&message).await.unwrap();
        assert_eq!((outcome, faulty.answers_to_lose()), (Outcome::Handled { events: 1, late: false }, 0));
        assert_eq!(counts(&store).await, (1, 1, 1));
    }

    async fn a_reaction_that_sends_without_an_event_is_refused_and_writes_nothing(store) {
        let message = send(&store, "order:command-1", &Received::Forget {}).await;
        let refused = orders(&store, None).react(&message).await.unwrap_err();
        assert!(matches!(&refused, Error::Invalid { .. }) && refused.to_string().contains("order-1"), "{refused}");
        assert_eq!(counts(&store).await, (0, 0, 0));
    }

    async fn a_message_of_no_process_and_one_of_an_unknown_type_are_passed_over(store) {
        let orders = orders(&store, None);
        let nobodys = put(&store, "stock-1", "Arrived", r#"{"order":""}"#, "{}").await;
        assert_eq!(orders.react(&nobodys).await.unwrap(), Outcome::Ignored);
        let unknown = put(&store, "stock-1", "Counted", "{}", "{}").await;
        assert_eq!(orders.react(&unknown).await.unwrap(), Outcome::Unhandled);
    }

    /// Marks count for each category: a message of the stock is below the mark of the commands, and new.
    async fn messages_of_another_category_are_not_late(store) {
        let orders = orders(&store, None);
        let arrived = send(&store, "stock-1", &Received::Arrived { order: "1".into() }).await;
        let _ = orders.react(&place(&store, "a").await).await.unwrap();
        assert_eq!(orders.react(&arrived).await.unwrap(), Outcome::Handled { events: 1, late: false });
    }

    /// Another writer has taken the place of a message that the reaction sends.
    async fn a_foreign_message_under_a_derived_id_is_an_error_and_nothing_is_written(store) {
        let message = place(&store, "a").await;
        let stream = StreamName::new("stock:command-a").unwrap();
        let id = message_store::derived_id(message.id, "order", "", &stream, 0);
        let foreign = NewMessage::new("Reserve", Json::parse(r#"{"item":"z"}"#).unwrap()).with_id(id);
        store.append(Append::to(stream).message(foreign).into()).await.unwrap();
        let refused = orders(&store, None).react(&message).await;
        assert!(matches!(refused, Err(Error::IdConflict { .. })), "{refused:?}");
        assert_eq!(counts(&store).await, (0, 1, 0));
    }
}
