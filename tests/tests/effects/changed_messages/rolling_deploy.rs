//! Two releases run at the same time: the earlier one decides nothing on what it cannot read.

use message_store::consumer::Consumer;
use message_store::entity::{EntityStore, Projection};
use message_store::handling::{CommandHandler, Decider};
use message_store::{Error, NewMessage, OutcomeKind};
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;

use super::releases::{deposit, first, pay, second, send};

/// The first release, as it would be if it passed over what it does not know.
#[derive(Clone, Debug, Default, PartialEq)]
struct Careless(first::Wallet);

impl Projection for Careless {
    const CATEGORY: &'static str = "wallet";
    type Event = first::Event;
    fn ignores(message_type: &str) -> bool {
        ["Frozen", "Deposited"].contains(&message_type)
    }
    fn apply(&mut self, event: &first::Event) {
        self.0.apply(event);
    }
}

impl Decider for Careless {
    type Command = first::Command;
    fn decide(&self, command: &first::Command) -> Vec<first::Event> {
        self.0.decide(command)
    }
}

on_both_stores! {
    async fn an_event_of_a_later_release_stops_the_earlier_one_before_it_decides_wrongly(store) {
        let freeze = send(&store, &second::Command::Freeze {}, second::COMMAND_UPCASTERS).await;
        let _ = CommandHandler::<second::Wallet>::new(&store).carry_out(&freeze).await.unwrap();
        let command = send(&store, &pay(7), &[]).await;
        let refused = CommandHandler::<first::Wallet>::new(&store).carry_out(&command).await.unwrap_err();
        let Error::UnknownEvent { event, message_type, projection } = &refused else { panic!("{refused}") };
        assert_eq!((event.stream.as_str(), message_type.as_str(), *projection), ("wallet-1", "Frozen", "wallet"));
        let text = refused.to_string();
        for part in [event.id.to_string().as_str(), "wallet-1/0", "Frozen", "ignores", "upcaster", "newer release"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
        assert!(!refused.is_transient(), "it is final");
        assert_eq!(messages_of(&store, "wallet").await.len(), 1);
        // The twin: a payment to a frozen wallet.
        let paid = CommandHandler::<Careless>::new(&store).carry_out(&command).await.unwrap();
        assert_eq!((paid.kind(), messages_of(&store, "wallet").await.len()), (OutcomeKind::Handled, 2));
    }

    async fn a_remembered_entity_does_not_hide_an_event_of_a_later_release(store) {
        let earlier = CommandHandler::<first::Wallet>::new(&store);
        let first = send(&store, &pay(1), &[]).await;
        let _ = earlier.carry_out(&first).await.unwrap();
        let freeze = send(&store, &second::Command::Freeze {}, second::COMMAND_UPCASTERS).await;
        let _ = CommandHandler::<second::Wallet>::new(&store).carry_out(&freeze).await.unwrap();
        let command = send(&store, &pay(2), &[]).await;
        assert!(matches!(earlier.carry_out(&command).await, Err(Error::UnknownEvent { .. })));
        assert_eq!(messages_of(&store, "wallet").await.len(), 2);
    }

    async fn a_command_of_a_later_version_stops_the_earlier_release_and_is_carried_out_by_the_later(store) {
        let command = NewMessage::from_variant(&pay(7)).unwrap();
        let command = put(&store, "wallet:command-1", "Pay", command.data.text(), r#"{"messageStore":{"typeVersion":3}}"#).await;
        let mut consumer =
            Consumer::new("wallet:command", CommandHandler::<first::Wallet>::new(&store)).start(&store).await.unwrap();
        let stopped = consumer.ended().await.unwrap_err();
        let Error::Handler { cause, .. } = &stopped else { panic!("{stopped}") };
        let Some(Error::NewerVersion { message, version, known, .. }) = cause.downcast_ref() else { panic!("{stopped}") };
        assert_eq!((message.id, *version, *known), (command.id, 3, 1));
        assert!(stopped.to_string().contains("has version 3, and this program knows version 1"), "{stopped}");
        assert!(messages_of(&store, "wallet").await.is_empty());
        // The twin: without the record, it is read as if it had the earlier form.
        let unrecorded = send(&store, &pay(8), &[]).await;
        let read = CommandHandler::<first::Wallet>::new(&store).carry_out(&unrecorded).await.unwrap();
        assert_eq!(read.kind(), OutcomeKind::Handled);
    }

    async fn an_event_of_a_later_version_is_never_read_as_an_earlier_one(store) {
        let event = r#"{"amount":700}"#;
        put(&store, "wallet-1", "Paid", event, r#"{"messageStore":{"typeVersion":2}}"#).await;
        for _ in 0..2 {
            let read = EntityStore::<first::Wallet>::new(&store).fetch("1").await;
            assert!(matches!(read, Err(Error::NewerVersion { version: 2, known: 1, .. })), "{read:?}");
        }
        put(&store, "wallet-2", "Paid", event, r#"{"messageStore":{"typeVersion":1}}"#).await;
        assert_eq!(EntityStore::<first::Wallet>::new(&store).fetch("2").await.unwrap().state.balance, 700);
    }

    async fn the_later_release_reads_what_the_earlier_one_goes_on_to_write(store) {
        let (earlier, later) =
            (CommandHandler::<first::Wallet>::new(&store), CommandHandler::<second::Wallet>::new(&store));
        let command = send(&store, &pay(1), &[]).await;
        let _ = earlier.carry_out(&command).await.unwrap();
        // A release that knows the new events and does not write them comes first.
        assert_eq!(later.entities().fetch("1").await.unwrap().state.balance, 1);
        let command = send(&store, &pay(2), &[]).await;
        let _ = earlier.carry_out(&command).await.unwrap();
        let command = send(&store, &deposit(3), second::COMMAND_UPCASTERS).await;
        let _ = later.carry_out(&command).await.unwrap();
        assert_eq!(later.entities().fetch("1").await.unwrap().state.balance, 6);
    }
}
