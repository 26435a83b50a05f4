//! Wrong upcasters are found at the start, before anything is read.

use std::collections::HashMap;

use async_trait::async_trait;
use message_store::consumer::Consumer;
use message_store::entity::{EntityStore, Projection};
use message_store::handling::{CommandHandler, Context, Decider, Handler};
use message_store::service::Service;
use message_store::{
    ChainFault, Error, Json, Message, MessageId, NewMessage, Outcome, OutcomeKind, Result, Source, Upcaster,
};
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;
use serde::{Deserialize, Serialize};

use super::releases::{first, pay, second, send};

/// The wallet, with a mistake in the target of a rename.
#[derive(Clone, Debug, Default, PartialEq)]
struct Mistaken;

impl Projection for Mistaken {
    const CATEGORY: &'static str = "wallet";
    type Event = second::Event;
    const UPCASTERS: &'static [Upcaster] = second::UPCASTERS;
    fn apply(&mut self, _: &second::Event) {}
}

impl Decider for Mistaken {
    type Command = second::Command;
    const COMMAND_UPCASTERS: &'static [Upcaster] = &[Upcaster::rename(("Pay", 1), ("Deposits", 1))];
    fn decide(&self, _: &second::Command) -> Vec<second::Event> {
        vec![second::Event::Frozen {}]
    }
}

/// A projection whose events have no way to a variant.
#[derive(Clone, Debug, Default, PartialEq)]
struct Unsound;

impl Projection for Unsound {
    const CATEGORY: &'static str = "wallet";
    type Event = first::Event;
    const UPCASTERS: &'static [Upcaster] = &[Upcaster::upcast(("Paid", 2), |_| Ok(()))];
    fn apply(&mut self, _: &first::Event) {}
}

impl Decider for Unsound {
    type Command = first::Command;
    fn decide(&self, _: &first::Command) -> Vec<first::Event> {
        vec![]
    }
}

/// The twin: a handler that is not checked.
struct Unchecked(CommandHandler<Mistaken>);

#[async_trait]
impl Handler for Unchecked {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn message_types(&self) -> Vec<&'static str> {
        self.0.message_types()
    }
    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        self.0.handle(message, context).await
    }
    async fn repeats(&self, messages: &[Message]) -> Result<HashMap<MessageId, Outcome>, Source> {
        self.0.repeats(messages).await
    }
}

/// Writes its event under a name that it does not read.
#[derive(Clone, Debug, Default, PartialEq)]
struct OneWay;

#[derive(Serialize, Deserialize)]
enum OneWayEvent {
    #[serde(rename(serialize = "Written", deserialize = "Read"))]
    Written {},
}

impl Projection for OneWay {
    const CATEGORY: &'static str = "wallet";
    type Event = OneWayEvent;
    fn apply(&mut self, _: &OneWayEvent) {}
}

impl Decider for OneWay {
    type Command = first::Command;
    fn decide(&self, _: &first::Command) -> Vec<OneWayEvent> {
        vec![OneWayEvent::Written {}]
    }
}

on_both_stores! {
    async fn a_consumer_with_wrong_upcasters_of_commands_does_not_start_and_reads_nothing(store) {
        let command = send(&store, &pay(7), &[]).await;
        let before = store.given_out(None).await.unwrap();
        let consumer = Consumer::new("wallet:command", CommandHandler::<Mistaken>::new(&store));
        let refused = consumer.start(&store).await.unwrap_err();
        let Error::Upcasters { of, fault } = &refused else { panic!("{refused}") };
        assert_eq!((*of, fault), ("wallet", &ChainFault::NoVariant(("Deposits", 1))));
        assert!(refused.to_string().contains("version 1 of Deposits"), "{refused}");
        let service = Service::new(&store).consumer(Consumer::new("wallet:command", CommandHandler::<Mistaken>::new(&store)));
        assert!(matches!(service.start().await, Err(Error::Upcasters { .. })));
        assert_eq!(store.given_out(None).await.unwrap(), before, "not even a position was written");

        // The twin: the command is passed over.
        let unchecked = Unchecked(CommandHandler::<Mistaken>::new(&store));
        let mut consumer = Consumer::new("wallet:command", unchecked).start(&store).await.unwrap();
        consumer.wait_for(command.global_position).await.unwrap();
        assert_eq!(consumer.stop().await.unwrap().of(OutcomeKind::Unhandled), 1);
        assert!(messages_of(&store, "wallet").await.is_empty());
    }

    async fn wrong_upcasters_of_events_are_refused_wherever_an_entity_is_read(store) {
        let fault = ChainFault::Hole(("Paid", 1));
        let is_it = |error: Error| matches!(&error, Error::Upcasters { of: "wallet", fault: found } if *found == fault);
        let command = send(&store, &pay(7), &[]).await;
        let handler = CommandHandler::<Unsound>::new(&store);
        assert!(is_it(handler.carry_out(&command).await.unwrap_err()));
        assert!(is_it(Consumer::new("wallet:command", handler).start(&store).await.unwrap_err()));
        assert!(is_it(EntityStore::<Unsound>::new(&store).fetch("1").await.unwrap_err()));
    }

    async fn an_event_that_could_not_be_read_again_is_not_written(store) {
        let command = send(&store, &pay(7), &[]).await;
        let refused = CommandHandler::<OneWay>::new(&store).carry_out(&command).await.unwrap_err().to_string();
        assert!(refused.contains("written as Written"), "{refused}");
        assert!(messages_of(&store, "wallet").await.is_empty());
    }

    async fn a_handler_knows_the_earlier_types_too(store) {
        let handler = CommandHandler::<second::Wallet>::new(&store);
        assert_eq!(handler.message_types(), ["Deposit", "Freeze", "Pay"]);
        let earlier = NewMessage::new("Pay", Json::NULL).versioned(second::COMMAND_UPCASTERS).unwrap();
        assert_eq!(earlier.metadata.text(), "null");
    }
}
