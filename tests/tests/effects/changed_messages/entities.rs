//! Entities are read from events of every form.

use message_store::entity::{EntityStore, Projection};
use message_store::handling::{CommandHandler, ProcessHandler, ProcessManager, Reaction};
use message_store::operations::Transfer;
use message_store::{
    Category, Filter, Message, MessageStoreExt as _, OutcomeKind, Position, Read, StreamName, Upcaster, Version,
    connect,
};
use message_store_tests::accounts::put;
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

use super::releases::{deposit, past_of_the_first_release, second, send};

fn wallet() -> StreamName {
    StreamName::new("wallet-1").unwrap()
}

fn state(balance: u64, events: u64) -> second::Wallet {
    second::Wallet { balance, is_frozen: false, events }
}

on_both_stores! {
    async fn an_entity_has_the_state_that_events_of_earlier_forms_lead_to(store) {
        past_of_the_first_release(&store).await;
        let entity = EntityStore::<second::Wallet>::new(&store).fetch("1").await.unwrap();
        assert_eq!(entity.state, state(147, 3), "a split event is two, and a dropped one is none");
        assert_eq!((entity.version, entity.ignored), (Version::at(Position::new(2)), 0), "positions are those of what is stored");
        assert_eq!(entity.sequences.marks().len(), 1);
    }

    async fn the_remembered_entity_is_the_one_that_is_read(store) {
        past_of_the_first_release(&store).await;
        let handler = CommandHandler::<second::Wallet>::new(&store);
        for amount in [7, 8] {
            let command = send(&store, &deposit(amount), second::COMMAND_UPCASTERS).await;
            let _ = handler.carry_out(&command).await.unwrap();
        }
        let remembered = handler.entities().fetch("1").await.unwrap();
        let read = EntityStore::<second::Wallet>::new(&store).fetch("1").await.unwrap();
        assert_eq!(remembered, read);
        assert_eq!(read.state, state(162, 5));
    }

    async fn new_events_record_the_version_of_their_type(store) {
        past_of_the_first_release(&store).await;
        let command = send(&store, &deposit(7), second::COMMAND_UPCASTERS).await;
        let _ = CommandHandler::<second::Wallet>::new(&store).carry_out(&command).await.unwrap();
        let frozen = send(&store, &second::Command::Freeze {}, second::COMMAND_UPCASTERS).await;
        let _ = CommandHandler::<second::Wallet>::new(&store).carry_out(&frozen).await.unwrap();
        let stored = store.read_stream(&wallet(), Default::default()).await.unwrap();
        let versions: Vec<(&str, u32)> =
            stored.iter().map(|event| (event.message_type.as_str(), event.type_version())).collect();
        assert_eq!(versions, [("Paid", 1), ("Moved", 1), ("Pinged", 1), ("Deposited", 2), ("Frozen", 1)]);
        assert!(!stored[4].metadata.text().contains("typeVersion"), "version 1 is not recorded");
        assert!(stored.iter().all(|event| event.decode_metadata().follows(&command, store.store_id()) == (event.position.get() == 3)));
    }

    async fn a_version_of_another_shape_counts_as_absent(store) {
        for metadata in [r#"{"messageStore":{"typeVersion":"2"}}"#, r#"{"messageStore":{"typeVersion":0}}"#, r#"{"typeVersion":2}"#] {
            put(&store, "wallet-1", "Deposited", r#"{"amount":1}"#, metadata).await;
        }
        let entity = EntityStore::<second::Wallet>::new(&store).fetch("1").await.unwrap();
        assert_eq!((&entity.state, entity.unread_metadata), (&state(3, 3), 2));
    }

    async fn a_copy_in_another_store_keeps_the_version_of_its_type(store) {
        past_of_the_first_release(&store).await;
        let command = send(&store, &deposit(7), second::COMMAND_UPCASTERS).await;
        let _ = CommandHandler::<second::Wallet>::new(&store).carry_out(&command).await.unwrap();
        let other = connect("sqlite::memory:").await.unwrap();
        for category in ["wallet", "wallet:command"] {
            Transfer::new(&store, &other).copy(&Category::new(category).unwrap(), |_| {}).await.unwrap();
        }
        let entity = EntityStore::<second::Wallet>::new(&other).fetch("1").await.unwrap();
        assert_eq!(entity.state, state(154, 4));
        let copy = other.message(command.id).await.unwrap().unwrap();
        let repeat = CommandHandler::<second::Wallet>::new(&other).carry_out(&copy).await.unwrap();
        assert_eq!(repeat.kind(), OutcomeKind::AlreadyProcessed);
    }

    async fn a_filter_by_type_finds_what_was_written_under_earlier_names(store) {
        past_of_the_first_release(&store).await;
        let command = send(&store, &deposit(7), second::COMMAND_UPCASTERS).await;
        let _ = CommandHandler::<second::Wallet>::new(&store).carry_out(&command).await.unwrap();
        let found = async |filter: Filter| {
            let batch = store.read_category(&Category::new("wallet").unwrap(), Read::default().filter(filter)).await.unwrap();
            batch.messages.into_iter().map(|message| message.message_type).collect::<Vec<_>>()
        };
        let filter = Filter::default().message_types(["Deposited"]);
        assert_eq!(found(filter.clone().widened_by(second::UPCASTERS)).await, ["Paid", "Moved", "Deposited"]);
        // The twin.
        assert_eq!(found(filter).await, ["Deposited"]);
    }

    async fn the_last_message_of_a_type_may_have_an_earlier_name(store) {
        let last = async |message_type: &str| {
            let last = store.last_message_as(&wallet(), message_type, second::UPCASTERS).await.unwrap();
            last.map(|message| message.position.get())
        };
        assert_eq!(last("Deposited").await, None);
        past_of_the_first_release(&store).await;
        assert_eq!((last("Deposited").await, last("Charged").await, last("Frozen").await), (Some(1), Some(1), None));
        put(&store, "wallet-1", "Paid", r#"{"amount":1}"#, "null").await;
        assert_eq!(last("Deposited").await, Some(3));
        put(&store, "wallet-1", "Deposited", r#"{"amount":1,"currency":"CZK"}"#, r#"{"messageStore":{"typeVersion":2}}"#).await;
        assert_eq!(last("Deposited").await, Some(4));
    }

    async fn a_type_whose_versions_lead_to_different_types_is_looked_through(store) {
        const UPCASTERS: &[Upcaster] = &[
            Upcaster::rename(("Note", 1), ("Opened", 1)),
            Upcaster::rename(("Note", 2), ("Closed", 1)),
        ];
        let (first, second) = ("null", r#"{"messageStore":{"typeVersion":2}}"#);
        for metadata in [first, second, first, second, second] {
            put(&store, "wallet-1", "Note", "{}", metadata).await;
        }
        for (message_type, position) in [("Opened", Some(2)), ("Closed", Some(4)), ("Other", None)] {
            let last = store.last_message_as(&wallet(), message_type, UPCASTERS).await.unwrap();
            assert_eq!(last.map(|message| message.position.get()), position, "{message_type}");
        }
    }

    async fn a_process_reacts_to_events_of_earlier_forms(store) {
        past_of_the_first_release(&store).await;
        let handler = ProcessHandler::<Bonus>::new(&store);
        let events = store.read_stream(&wallet(), Default::default()).await.unwrap();
        let mut outcomes = Vec::new();
        for event in &events {
            outcomes.push(handler.react(event).await.unwrap().kind().to_string());
        }
        assert_eq!(outcomes, ["handled", "handled", "unhandled"]);
        assert_eq!(handler.processes().fetch("1").await.unwrap().state.0, 150);
    }
}

/// A process that reacts to the deposits of a wallet. It reads a move, which the wallet splits, as a deposit.
#[derive(Clone, Default)]
struct Bonus(u64);

#[derive(Serialize, Deserialize)]
enum Received {
    Deposited { amount: u64 },
}

#[derive(Serialize, Deserialize)]
enum Granted {
    Granted { amount: u64 },
}

impl Projection for Bonus {
    const CATEGORY: &'static str = "bonus";
    type Event = Granted;
    fn apply(&mut self, Granted::Granted { amount }: &Granted) {
        self.0 += amount;
    }
}

impl ProcessManager for Bonus {
    type Message = Received;
    const MESSAGE_UPCASTERS: &'static [Upcaster] = &[
        Upcaster::rename(("Paid", 1), ("Deposited", 1)),
        Upcaster::rename(("Moved", 1), ("Deposited", 1)),
        Upcaster::upcast(("Deposited", 1), |_| Ok(())),
    ];
    fn process_id(message: &Message, _: &Received) -> Option<String> {
        message.stream.cardinal_id().map(str::to_owned)
    }
    fn react(&self, Received::Deposited { amount }: &Received) -> Reaction<Granted> {
        Reaction::event(Granted::Granted { amount: *amount })
    }
}
