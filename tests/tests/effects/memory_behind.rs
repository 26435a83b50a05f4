//! Decisions on cached entities: if the cache is out of date, or belongs to another history, no decision on it is
//! final. Each scenario also runs with its protection switched off, and must then fail.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Decider};
use message_store::intents::Intent;
use message_store::testing::FaultyStore;
use message_store::testing::PlantedBug;
use message_store::{
    Append, AppendRequest, Error, ExpectedVersion, Message, MessageStore, MessageStoreExt as _, NewMessage, Outcome,
    StreamName, connect,
};
use message_store_tests::accounts::messages_of;
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

type Store = Arc<dyn MessageStore>;

/// A command to a door. Most commands lead to no event in one of the door's states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Knock,
    Open,
    Close,
    /// Rings once for each visit. A second ring for one visit leads to an event if the door is open.
    Ring {
        visit: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Opened,
    Closed,
    Rung,
    RungAgain,
}

#[derive(Clone, Debug, Default)]
struct Door {
    is_open: bool,
}

impl Projection for Door {
    const CATEGORY: &'static str = "door";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Opened => self.is_open = true,
            Event::Closed => self.is_open = false,
            Event::Rung | Event::RungAgain => {}
        }
    }
}

impl Decider for Door {
    type Command = Command;

    fn decide(&self, command: &Command) -> Vec<Event> {
        match command {
            Command::Open if !self.is_open => vec![Event::Opened],
            Command::Close if self.is_open => vec![Event::Closed],
            Command::Ring { .. } => vec![Event::Rung],
            Command::Open | Command::Close | Command::Knock => vec![],
        }
    }

    fn decide_repeat(&self, _: &Command, _: &Outcome) -> Vec<Event> {
        if self.is_open { vec![Event::RungAgain] } else { vec![] }
    }

    fn intent(command: &Command) -> Option<Intent> {
        match command {
            Command::Ring { visit } => Some(Intent::new("doorVisit", [visit.clone()])),
            _ => None,
        }
    }
}

fn runtime(store: &Store, bug: Option<PlantedBug>) -> CommandHandler<Door> {
    let decide = CommandHandler::new(store);
    match bug {
        Some(bug) => decide.plant(bug),
        None => decide,
    }
}

fn stream() -> StreamName {
    StreamName::new("door-1").unwrap()
}

async fn send(store: &Store, command: &Command) -> Message {
    let message = NewMessage::from_variant(command).unwrap();
    let id = message.id;
    store.append_to(&StreamName::new("door:command-1").unwrap(), ExpectedVersion::Any, vec![message]).await.unwrap();
    store.message(id).await.unwrap().unwrap()
}

async fn events(store: &Store) -> Vec<Event> {
    messages_of(store, "door").await.iter().map(|message| message.decode_variant().unwrap().unwrap()).collect()
}

/// One process has cached a closed door. Another process opens the door, and the first one closes it.
async fn close(store: &Store, bug: Option<PlantedBug>) -> Outcome {
    let (behind, other) = (runtime(store, bug), runtime(store, None));
    let knock = send(store, &Command::Knock).await;
    assert_eq!(behind.carry_out(&knock).await.unwrap(), Outcome::Ignored);
    let open = send(store, &Command::Open).await;
    let _ = other.carry_out(&open).await.unwrap();
    let close = send(store, &Command::Close).await;
    behind.carry_out(&close).await.unwrap()
}

/// The same with a late command.
async fn close_late(store: &Store, bug: Option<PlantedBug>) -> Outcome {
    let (behind, other) = (runtime(store, bug), runtime(store, None));
    let close = send(store, &Command::Close).await;
    for command in [Command::Open, Command::Close] {
        let _ = behind.carry_out(&send(store, &command).await).await.unwrap();
    }
    let _ = other.carry_out(&send(store, &Command::Open).await).await.unwrap();
    behind.carry_out(&close).await.unwrap()
}

/// The same with another command of an intent.
async fn ring_again(store: &Store, bug: Option<PlantedBug>) -> Vec<Event> {
    let (behind, other) = (runtime(store, bug), runtime(store, None));
    let ring = || Command::Ring { visit: "v1".into() };
    let first = send(store, &ring()).await;
    let _ = behind.carry_out(&first).await.unwrap();
    let _ = other.carry_out(&send(store, &Command::Open).await).await.unwrap();
    let again = send(store, &ring()).await;
    assert_eq!(behind.carry_out(&again).await.unwrap(), Outcome::Duplicate { original: first.reference() });
    events(store).await
}

/// An account like Eventide's: its events show a sequence and a time, and its state contains them.
mod shown {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all_fields = "camelCase")]
    pub(crate) enum Command {
        Deposit {
            amount: u64,
        },
        /// Confirms the last deposit. Without a deposit, it leads to no event.
        Confirm {},
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all_fields = "camelCase")]
    pub(crate) enum Event {
        Deposited {
            amount: u64,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            sequence: Option<i64>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            processed_time: Option<String>,
        },
        Confirmed {
            sequence_of_deposit: i64,
        },
    }

    #[derive(Clone, Debug, Default, PartialEq)]
    pub(crate) struct Account {
        pub(crate) last: Option<i64>,
        pub(crate) time: Option<String>,
    }

    impl Projection for Account {
        const CATEGORY: &'static str = "shown";
        type Event = Event;
        fn apply(&mut self, event: &Event) {
            if let Event::Deposited { sequence, processed_time, .. } = event {
                self.last = *sequence;
                self.time.clone_from(processed_time);
            }
        }
    }

    impl Decider for Account {
        type Command = Command;
        const SEQUENCE_FIELD: Option<&'static str> = Some("sequence");
        const PROCESSED_TIME_FIELD: Option<&'static str> = Some("processedTime");
        fn decide(&self, command: &Command) -> Vec<Event> {
            match (command, self.last) {
                (Command::Deposit { amount }, _) => {
                    vec![Event::Deposited { amount: *amount, sequence: None, processed_time: None }]
                }
                (Command::Confirm {}, Some(sequence_of_deposit)) => vec![Event::Confirmed { sequence_of_deposit }],
                (Command::Confirm {}, None) => vec![],
            }
        }
    }

    pub(crate) async fn send(store: &Store, command: &Command) -> Message {
        let message = NewMessage::from_variant(command).unwrap();
        let id = message.id;
        let stream = StreamName::new("shown:command-1").unwrap();
        store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
        store.message(id).await.unwrap().unwrap()
    }
}

/// The door is cached as closed, at position 1. In the store it is open, at position 0.
async fn after_a_lost_closing(ageing: &AgeingStore) -> (Store, CommandHandler<Door>) {
    let store = connect(&ageing.url()).await.unwrap();
    let decide = runtime(&store, None);
    for command in [Command::Open, Command::Close] {
        let _ = decide.carry_out(&send(&store, &command).await).await.unwrap();
    }
    let lose = "DELETE FROM messages WHERE stream_name = 'door-1' AND position = 1";
    ageing.execute(&lose.replace("messages", "message_store.messages"), lose).await;
    (store, decide)
}

/// The door was opened and closed. A failover loses the last event, and another event gets its position.
async fn after_a_failover(ageing: AgeingStore, is_noticed: bool) -> Vec<Event> {
    let store = connect(&ageing.url()).await.unwrap();
    let faulty = FaultyStore::new(&store);
    let decide = runtime(&(faulty.clone() as Store), None);
    for command in [Command::Open, Command::Close] {
        let _ = decide.carry_out(&send(&store, &command).await).await.unwrap();
    }
    let lose = "DELETE FROM messages WHERE stream_name = 'door-1' AND position = 1";
    ageing.execute(&lose.replace("messages", "message_store.messages"), lose).await;
    let other = NewMessage::from_variant(&Event::Rung).unwrap();
    store.append_to(&stream(), ExpectedVersion::Any, vec![other]).await.unwrap();
    if is_noticed {
        faulty.change_history();
    }
    // In the cache the door is closed, so the command opens it.
    let _ = decide.carry_out(&send(&store, &Command::Open).await).await.unwrap();
    events(&store).await
}

on_both_stores! {
    async fn a_command_without_events_on_a_stale_entity_is_decided_again(store) {
        assert!(matches!(close(&store, None).await, Outcome::Handled { .. }));
        assert_eq!(events(&store).await, [Event::Opened, Event::Closed]);
    }

    async fn twin_with_a_decision_on_what_is_remembered_the_command_is_lost(store) {
        assert_eq!(close(&store, Some(PlantedBug::RememberedNothing)).await, Outcome::Ignored);
        assert_eq!(events(&store).await, [Event::Opened]);
    }

    async fn a_late_command_without_events_on_a_stale_entity_is_decided_again(store) {
        assert!(matches!(close_late(&store, None).await, Outcome::Handled { late: true, .. }));
        assert_eq!(events(&store).await.last(), Some(&Event::Closed));
    }

    async fn twin_with_a_decision_on_what_is_remembered_the_late_command_is_lost(store) {
        assert_eq!(close_late(&store, Some(PlantedBug::RememberedNothing)).await, Outcome::Ignored);
    }

    async fn a_repeat_of_an_intent_is_decided_on_the_entity_as_it_is(store) {
        assert_eq!(ring_again(&store, None).await, [Event::Rung, Event::Opened, Event::RungAgain]);
    }

    async fn a_command_without_events_on_the_current_entity_is_ignored(store) {
        let (behind, other) = (runtime(&store, None), runtime(&store, None));
        let _ = behind.carry_out(&send(&store, &Command::Open).await).await.unwrap();
        let _ = other.carry_out(&send(&store, &Command::Ring { visit: "v".into() }).await).await.unwrap();
        assert_eq!(behind.carry_out(&send(&store, &Command::Open).await).await.unwrap(), Outcome::Ignored);
    }

    async fn a_command_that_another_process_has_carried_out_is_processed_and_not_ignored(store) {
        let (behind, other) = (runtime(&store, None), runtime(&store, None));
        let _ = behind.carry_out(&send(&store, &Command::Open).await).await.unwrap();
        let close = send(&store, &Command::Close).await;
        let _ = other.carry_out(&close).await.unwrap();
        // The cached door is out of date: it is open, and would be closed again.
        assert!(matches!(behind.carry_out(&close).await.unwrap(), Outcome::AlreadyProcessed { .. }));
        assert!(matches!(behind.carry_out(&close).await.unwrap(), Outcome::AlreadyProcessed { .. }));
    }

    async fn what_a_process_remembers_of_its_own_events_has_the_fields_that_the_runtime_adds(store) {
        let decide = CommandHandler::<shown::Account>::new(&store);
        let deposit = shown::send(&store, &shown::Command::Deposit { amount: 1 }).await;
        let _ = decide.carry_out(&deposit).await.unwrap();
        let elsewhere = CommandHandler::<shown::Account>::new(&store).entities().fetch("1").await.unwrap();
        assert_eq!(decide.entities().fetch("1").await.unwrap().state, elsewhere.state);
        let confirm = shown::send(&store, &shown::Command::Confirm {}).await;
        let outcome = decide.carry_out(&confirm).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
    }

    async fn an_append_of_what_was_remembered_under_another_history_is_refused(store) {
        let faulty = FaultyStore::new(&store);
        let before = faulty.history();
        faulty.change_history();
        let append = Append::to(stream()).message(NewMessage::from_variant(&Event::Rung).unwrap());
        let refused = faulty.append(AppendRequest::from(append).in_history(before)).await;
        assert!(matches!(&refused, Err(error @ Error::HistoryChanged { .. }) if error.is_transient()), "{refused:?}");
        assert!(events(&store).await.is_empty());
    }
}

macro_rules! on_both_ageing_stores {
    ($(async fn $name:ident($ageing:ident) $body:block)*) => {
        $(async fn $name($ageing: AgeingStore) $body)*
        mod ageing_on_postgres { use super::AgeingStore; $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() { super::$name(AgeingStore::postgres().await).await; }
        )* }
        mod ageing_on_sqlite { use super::AgeingStore; $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() { super::$name(AgeingStore::sqlite()).await; }
        )* }
    };
}

on_both_ageing_stores! {
    async fn after_a_failover_that_lost_messages_nothing_is_decided_on_what_is_gone(ageing) {
        assert_eq!(after_a_failover(ageing, true).await, [Event::Opened, Event::Rung], "the door is open");
    }

    async fn twin_where_a_failover_is_not_noticed_an_open_door_is_opened(ageing) {
        assert_eq!(after_a_failover(ageing, false).await, [Event::Opened, Event::Rung, Event::Opened]);
    }

    async fn a_command_without_events_on_an_entity_ahead_of_its_stream_is_decided_again(ageing) {
        let (store, decide) = after_a_lost_closing(&ageing).await;
        let outcome = decide.carry_out(&send(&store, &Command::Close).await).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
    }

    async fn a_new_identity_is_a_new_history(ageing) {
        let store = connect(&ageing.url()).await.unwrap();
        let before = store.history();
        store.rotate_store_id().await.unwrap();
        assert_ne!(store.history(), before);
    }

    async fn an_entity_whose_stream_is_shorter_than_the_cached_entity_is_read_again(ageing) {
        let (store, decide) = after_a_lost_closing(&ageing).await;
        let ring = send(&store, &Command::Ring { visit: "v".into() }).await;
        assert!(matches!(decide.carry_out(&ring).await.unwrap(), Outcome::Handled { .. }));
        assert!(matches!(decide.carry_out(&send(&store, &Command::Close).await).await.unwrap(), Outcome::Handled { .. }));
        assert_eq!(events(&store).await, [Event::Opened, Event::Rung, Event::Closed]);
    }
}
