//! Commands that are handled directly: their caller gets the events, and they have one effect beside a consumer.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::Consumer;
use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Decider};
use message_store::intents::Intent;
use message_store::operations::Erasing;
use message_store::testing::FaultyStore;
use message_store::{Error, Json, MessageStore, Metadata, NewMessage, Outcome, Tag};
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

type Store = Arc<dyn MessageStore>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Fill {
        amount: u64,
    },
    Spend {
        purchase: String,
        amount: u64,
    },
    /// Leads to no event.
    Look {},
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Filled { amount: u64 },
    Spent { amount: u64 },
    Emptied {},
    Refused { amount: u64 },
}

#[derive(Clone, Debug, Default)]
struct Purse(u64);

impl Projection for Purse {
    const CATEGORY: &'static str = "purse";
    type Event = Event;
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Filled { amount } => self.0 += amount,
            Event::Spent { amount } => self.0 -= amount,
            Event::Emptied {} | Event::Refused { .. } => {}
        }
    }
}

impl Decider for Purse {
    type Command = Command;

    fn decide(&self, command: &Command) -> Vec<Event> {
        match *command {
            Command::Fill { amount } => vec![Event::Filled { amount }],
            Command::Spend { amount, .. } if amount > self.0 => vec![Event::Refused { amount }],
            Command::Spend { amount, .. } if amount == self.0 => vec![Event::Spent { amount }, Event::Emptied {}],
            Command::Spend { amount, .. } => vec![Event::Spent { amount }],
            Command::Look {} => vec![],
        }
    }

    fn is_refusal(event: &Event) -> bool {
        matches!(event, Event::Refused { .. })
    }

    fn tags(event: &Event) -> Vec<Tag> {
        if matches!(event, Event::Spent { .. }) { vec![Tag::new("spending").unwrap()] } else { vec![] }
    }

    fn intent(command: &Command) -> Option<Intent> {
        match command {
            // One purchase must not be paid from two purses.
            Command::Spend { purchase, .. } => Some(Intent::new("purchase", [purchase]).across_entities()),
            _ => None,
        }
    }
}

fn purses(store: &Store) -> CommandHandler<Purse> {
    CommandHandler::new(store)
}

fn message(command: &Command) -> NewMessage {
    NewMessage::from_variant(command).unwrap()
}

fn spend(purchase: &str, amount: u64) -> NewMessage {
    message(&Command::Spend { purchase: purchase.into(), amount })
}

async fn filled(store: &Store, amount: u64) -> CommandHandler<Purse> {
    let purses = purses(store);
    let filled = purses.execute("1", message(&Command::Fill { amount })).await.unwrap();
    assert_eq!((filled.events, filled.is_refused), (vec![Event::Filled { amount }], false));
    purses
}

on_both_stores! {
    async fn a_caller_gets_the_events_and_the_refusal_and_gets_them_again(store) {
        let purses = filled(&store, 10).await;
        let (bought, refused) = (spend("a", 10), spend("b", 1));
        for repeat in [false, true, true] {
            let executed = purses.execute("1", bought.clone()).await.unwrap();
            assert_eq!((executed.events, executed.is_refused), (vec![Event::Spent { amount: 10 }, Event::Emptied {}], false));
            assert_eq!(matches!(executed.outcome, Outcome::AlreadyProcessed { .. }), repeat, "{}", executed.outcome);
            let executed = purses.execute("1", refused.clone()).await.unwrap();
            assert_eq!((executed.events, executed.is_refused), (vec![Event::Refused { amount: 1 }], true));
        }
        // Another process, which remembers nothing.
        let executed = self::purses(&store).execute("1", bought.clone()).await.unwrap();
        assert_eq!((executed.command.id, executed.events.len()), (bought.id, 2));
        let looked = purses.execute("1", message(&Command::Look {})).await.unwrap();
        assert_eq!((looked.outcome, looked.events.len(), looked.is_refused), (Outcome::Ignored, 0, false));
        assert_eq!(messages_of(&store, "purse:command").await.len(), 4);
    }

    async fn another_command_with_the_same_intent_gets_the_events_of_the_first(store) {
        let purses = filled(&store, 10).await;
        let first = purses.execute("1", spend("a", 3)).await.unwrap();
        let second = purses.execute("1", spend("a", 3)).await.unwrap();
        assert_eq!(second.outcome, Outcome::Duplicate { original: first.command.clone() });
        assert_eq!((second.events, second.is_refused), (first.events, false));
        let other = purses.execute("1", spend("a", 4)).await.unwrap();
        assert_eq!(other.outcome, Outcome::Conflict { original: first.command });
        assert_eq!(other.events, []);
    }

    /// The intent is shared by all purses.
    async fn a_command_to_another_entity_with_a_shared_intent_is_a_conflict_although_its_data_is_the_same(store) {
        let purses = filled(&store, 10).await;
        let _ = purses.execute("2", message(&Command::Fill { amount: 10 })).await.unwrap();
        let first = purses.execute("1", spend("a", 3)).await.unwrap();
        let again = purses.execute("1", spend("a", 3)).await.unwrap();
        assert_eq!(again.outcome, Outcome::Duplicate { original: first.command.clone() });
        for is_erased in [false, true] {
            let other = purses.execute("2", spend("a", 3)).await.unwrap();
            assert_eq!((other.outcome, other.events.len()), (Outcome::Conflict { original: first.command.clone() }, 0));
            assert_eq!(purses.entities().fetch("2").await.unwrap().state.0, 10);
            if !is_erased {
                let _ = Erasing::stream(&store, "purchase-%ALL+a").unwrap().run(|_| {}).await.unwrap();
            }
        }
    }

    /// Another version of the library has reserved the intent, and has not recorded for which entity.
    async fn twin_of_a_reservation_that_names_no_entity_the_data_alone_is_compared(store) {
        let purses = filled(&store, 10).await;
        put(&store, "purchase-%ALL+a", "Reserved", r#"{"purchase":"a","amount":3}"#, r#"{"messageStore":{"reserves":"Spend"}}"#).await;
        let executed = purses.execute("1", spend("a", 3)).await.unwrap();
        assert!(matches!(executed.outcome, Outcome::Duplicate { .. }), "{}", executed.outcome);
    }

    /// A reservation has the data of its command.
    async fn a_reservation_is_erased_with_the_tags_of_its_command_and_of_its_events(store) {
        let purses = filled(&store, 10).await;
        let metadata = Metadata::new().tag(Tag::new("person:ann").unwrap());
        let _ = purses.execute("1", spend("a", 1).with_metadata(&metadata).unwrap()).await.unwrap();
        let _ = purses.execute("1", spend("b", 1)).await.unwrap();
        let reservation = async |key: &str| messages_of(&store, "purchase").await.into_iter().find(|found| found.stream.as_str().ends_with(key)).unwrap();
        for (tag, key) in [("person:ann", "+a"), ("spending", "+b")] {
            assert!(!reservation(key).await.is_erased());
            let _ = Erasing::tag(&store, tag).unwrap().run(|_| {}).await.unwrap();
            assert!(reservation(key).await.is_erased(), "{tag}");
        }
    }

    async fn clones_of_a_handler_share_its_entities(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let purses = filled(&shared, 10).await;
        let read = faulty.messages_read();
        let executed = purses.clone().execute("1", spend("a", 3)).await.unwrap();
        assert_eq!(executed.events, [Event::Spent { amount: 3 }]);
        assert_eq!(faulty.messages_read(), read, "the clone remembers the entity");
    }

    async fn the_last_position_is_that_of_the_last_event_or_of_the_command(store) {
        let purses = filled(&store, 10).await;
        let command = spend("a", 10);
        for _ in 0..2 {
            let executed = purses.execute("1", command.clone()).await.unwrap();
            let last = messages_of(&store, "purse").await.pop().unwrap();
            assert_eq!((executed.events.len(), executed.last), (2, last.global_position));
        }
        let looked = purses.execute("1", message(&Command::Look {})).await.unwrap();
        assert_eq!(looked.last, looked.command.global_position);
    }

    async fn after_an_erasure_a_caller_gets_the_outcome_and_learns_that_events_were_erased(store) {
        let purses = filled(&store, 10).await;
        let command = spend("a", 10);
        let first = purses.execute("1", command.clone()).await.unwrap();
        assert!(!first.has_erased);
        for stream in ["purse-1", "purse:command-1", "purchase-%ALL+a"] {
            let _ = Erasing::stream(&store, stream).unwrap().run(|_| {}).await.unwrap();
        }
        for purses in [purses, self::purses(&store)] {
            let again = purses.execute("1", command.clone()).await.unwrap();
            assert!(matches!(again.outcome, Outcome::AlreadyProcessed { .. }), "{}", again.outcome);
            assert_eq!((again.events.len(), again.has_erased), (0, true));
            let another = purses.execute("1", spend("a", 10)).await.unwrap();
            assert_eq!(another.outcome, Outcome::Duplicate { original: first.command.clone() });
            assert_eq!((another.events.len(), another.has_erased), (0, true));
        }
        assert_eq!(messages_of(&store, "purse").await.len(), 3);
    }

    async fn of_two_entities_at_once_one_carries_a_shared_intent_out(store) {
        for id in ["1", "2"] {
            let _ = purses(&store).execute(id, message(&Command::Fill { amount: 100 })).await.unwrap();
        }
        for round in 0..20 {
            let execute = |id: &'static str| {
                let purses = purses(&store);
                tokio::spawn(async move { purses.execute(id, spend(&round.to_string(), 1)).await.unwrap() })
            };
            let (first, second) = (execute("1"), execute("2"));
            let outcomes = [first.await.unwrap().outcome, second.await.unwrap().outcome];
            let handled = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Handled { .. })).count();
            let repeats = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Conflict { .. })).count();
            assert_eq!((handled, repeats), (1, 1), "{outcomes:?}");
        }
    }

    async fn a_command_has_one_effect_beside_a_consumer(store) {
        let consumer = Consumer::new("purse:command", purses(&store)).concurrency(4).poll_interval(Duration::from_millis(1));
        let mut consumer = consumer.start(&store).await.unwrap();
        let purses = purses(&store);
        let mut last = None;
        for _ in 0..100 {
            let executed = purses.execute("1", message(&Command::Fill { amount: 1 })).await.unwrap();
            assert_eq!(executed.events, [Event::Filled { amount: 1 }]);
            last = Some(executed.command.global_position);
        }
        consumer.wait_for(last.unwrap()).await.unwrap();
        consumer.stop().await.unwrap();
        assert_eq!(purses.entities().fetch("1").await.unwrap().state.0, 100);
    }

    /// The caller gives up after the command was sent: the consumer carries it out.
    async fn a_command_whose_caller_gave_up_is_carried_out_by_the_consumer(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let command = message(&Command::Fill { amount: 7 });
        faulty.delay_answers(1);
        let purses = purses(&shared);
        let mut executing = Box::pin(purses.execute("1", command.clone()));
        tokio::select! {
            _ = &mut executing => panic!("it has its answer"),
            () = faulty.answer_is_delayed() => {}
        }
        drop(executing);
        let mut consumer = Consumer::new("purse:command", self::purses(&store)).start(&store).await.unwrap();
        let sent = messages_of(&store, "purse:command").await.remove(0);
        consumer.wait_for(sent.global_position).await.unwrap();
        consumer.stop().await.unwrap();
        let again = self::purses(&store).execute("1", command).await.unwrap();
        assert!(matches!(again.outcome, Outcome::AlreadyProcessed { .. }), "{}", again.outcome);
        assert_eq!(again.events, [Event::Filled { amount: 7 }]);
        assert_eq!(messages_of(&store, "purse").await.len(), 1);
    }

    async fn a_caller_gets_the_events_although_answers_are_lost(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let purses = purses(&shared);
        for lost in 1..=2 {
            faulty.lose_answers(lost);
            let executed = purses.execute("1", message(&Command::Fill { amount: 7 })).await;
            let Ok(executed) = executed else {
                // The answers to both sends of the command are lost: the caller executes it again.
                assert!(matches!(executed, Err(Error::CommitUnknown { .. })), "{executed:?}");
                continue;
            };
            assert_eq!(executed.events, [Event::Filled { amount: 7 }]);
        }
        let command = message(&Command::Fill { amount: 7 });
        let _ = purses.execute("1", command.clone()).await.unwrap();
        assert_eq!(purses.execute("1", command).await.unwrap().events, [Event::Filled { amount: 7 }]);
    }

    async fn what_is_no_command_is_not_sent_and_a_foreign_message_under_the_id_is_a_conflict(store) {
        let purses = purses(&store);
        let unknown = purses.execute("1", NewMessage::new("Burn", Json::NULL)).await;
        assert!(matches!(unknown, Err(Error::Invalid { .. })), "{unknown:?}");
        let unfit = purses.execute("1", NewMessage::new("Fill", Json::parse(r#"{"amount":"x"}"#).unwrap())).await;
        assert!(matches!(unfit, Err(Error::Undecodable { .. })), "{unfit:?}");
        let nobodys = purses.execute("", message(&Command::Look {})).await;
        assert!(matches!(nobodys, Err(Error::Invalid { .. })), "{nobodys:?}");
        assert!(messages_of(&store, "purse:command").await.is_empty());
        let theirs = put(&store, "purse:command-1", "Fill", r#"{"amount":9}"#, "{}").await;
        let conflict = purses.execute("1", message(&Command::Fill { amount: 1 }).with_id(theirs.id)).await;
        assert!(matches!(conflict, Err(Error::IdConflict { .. })), "{conflict:?}");
        assert!(messages_of(&store, "purse").await.is_empty());
    }

    async fn the_metadata_that_was_sent_first_is_inherited(store) {
        let purses = purses(&store);
        let with = |property: &str| {
            let metadata = Metadata::new().property("by", &property).unwrap();
            message(&Command::Fill { amount: 1 }).with_metadata(&metadata).unwrap()
        };
        let (first, second) = (with("first"), with("second"));
        // The caller of the first gave up before it was handled.
        let stream = message_store::StreamName::new("purse:command-1").unwrap();
        store.append(message_store::Append::to(stream).message(first.clone()).into()).await.unwrap();
        let _ = purses.execute("1", second.with_id(first.id)).await.unwrap();
        let event = messages_of(&store, "purse").await.remove(0);
        assert_eq!(event.decode_metadata().properties["by"].text(), "\"first\"");
    }
}
