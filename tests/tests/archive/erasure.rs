//! After an erasure: no data, and still one effect.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{Consumer, DeadLetters, MoveTo, OnFailure, Positions};
use message_store::entity::{EntityStore, Projection};
use message_store::handling::{DelayBuffer, Delayed, Keep};
use message_store::operations::{Erasing, Transfer};
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{
    Category, Error, Json, Key, Message, MessageStore, NewMessage, Outcome, Source, StreamName, connect,
};
use message_store_tests::accounts::{Command, Event, balance, member, messages_of, put, send, send_deposits};
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;

use super::archive;

/// Erases the events, the commands and the reservations of an account.
async fn erase(store: &Arc<dyn MessageStore>, account: &str) -> u64 {
    let mut erased = 0;
    for category in ["account", "account:command", "accountTransaction"] {
        let erasing = Erasing::entity(store, &format!("{category}-{account}")).unwrap();
        erased += erasing.run(|_| {}).await.unwrap().erased;
    }
    erased
}

async fn handle_all(store: &Arc<dyn MessageStore>, last: &Message) {
    let consumer = Consumer::new("account:command", member(store, None)).on_failure(OnFailure::Park);
    let mut running = consumer.start(store).await.unwrap();
    running.wait_for(last.global_position).await.unwrap();
    let _ = running.stop().await.unwrap();
}

fn once(deposit: &str, amount: u64) -> Command {
    Command::DepositOnce { deposit_id: deposit.to_owned(), amount, time: "noon".to_owned() }
}

/// Counts events, and those of them that were erased.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counts {
    events: u64,
    erased: u64,
}

impl Projection for Counts {
    const CATEGORY: &'static str = "account";
    type Event = Event;

    fn apply(&mut self, _: &Event) {
        self.events += 1;
    }

    fn apply_erased(&mut self, message_type: &str) {
        assert_eq!(message_type, "Deposited");
        self.erased += 1;
    }
}

on_both_stores! {
    async fn commands_that_were_erased_with_their_events_are_not_carried_out_again(store) {
        let mut commands = send_deposits(&store, "account:command", "1", 5).await;
        commands.push(send(&store, "account:command", "1", &once("d", 7)).await);
        handle_all(&store, &commands[5]).await;
        archive(&store, "account").await;
        // Six events, six commands, one reservation.
        assert_eq!(erase(&store, "1").await, 13);
        assert_eq!(balance(&store, "1").await, 0, "the amounts are gone");
        let counted = EntityStore::<Counts>::new(&store).fetch("1").await.unwrap();
        assert_eq!(counted.state, Counts { events: 0, erased: 6 });
        assert_eq!(counted.version.position().unwrap().get(), 5);
        for command in messages_of(&store, "account:command").await {
            let outcome = member(&store, None).carry_out(&command).await.unwrap();
            assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome:?}");
        }
        // As they were before they were erased, from another process that still has them.
        for command in &commands {
            let outcome = member(&store, None).carry_out(command).await.unwrap();
            assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome:?}");
        }
        let last = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        handle_all(&store, &last).await;
        assert_eq!(balance(&store, "1").await, 1);
    }

    async fn twin_events_that_are_deleted_are_written_again(store) {
        let commands = send_deposits(&store, "account:command", "1", 5).await;
        let first = connect("sqlite::memory:").await.unwrap();
        // A store without the events, as after a deletion.
        Transfer::new(&store, &first).copy(&Category::new("account:command").unwrap(), |_| {}).await.unwrap();
        for command in &commands {
            let _ = member(&store, None).carry_out(command).await.unwrap();
        }
        for command in messages_of(&first, "account:command").await {
            let outcome = member(&first, None).carry_out(&command).await.unwrap();
            assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome:?}");
        }
    }

    async fn a_consumer_that_is_set_back_passes_over_erased_messages(store) {
        let commands = send_deposits(&store, "account:command", "1", 5).await;
        let looked = send(&store, "account:command", "1", &Command::Look).await;
        handle_all(&store, &looked).await;
        erase(&store, "1").await;
        let positions = Positions::of(&store, "account:command").unwrap();
        positions.set(&positions.get(None, None).await.unwrap(), MoveTo::Beginning).await.unwrap();
        handle_all(&store, &looked).await;
        assert_eq!(messages_of(&store, "account").await.len(), commands.len());
        let letters = DeadLetters::of(&store, "account:command", None).unwrap();
        assert!(letters.list().await.unwrap().is_empty());
    }

    async fn an_erased_command_without_events_is_ignored(store) {
        let command = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        erase(&store, "1").await;
        let erased = store.message(command.id).await.unwrap().unwrap();
        assert_eq!(member(&store, None).carry_out(&erased).await.unwrap(), Outcome::Ignored);
        assert!(messages_of(&store, "account").await.is_empty());
    }

    async fn another_message_for_an_erased_intent_is_a_duplicate(store) {
        let first = send(&store, "account:command", "1", &once("d", 7)).await;
        let _ = member(&store, None).carry_out(&first).await.unwrap();
        erase(&store, "1").await;
        for amount in [7, 8] {
            let other = send(&store, "account:command", "1", &once("d", amount)).await;
            let outcome = member(&store, None).carry_out(&other).await.unwrap();
            assert!(matches!(outcome, Outcome::Duplicate { .. }), "{outcome:?}");
        }
        assert_eq!(messages_of(&store, "account").await.len(), 1);
    }

    async fn the_errors_of_dead_letters_are_erased_and_the_letters_stay(store) {
        let (deposit_id, time) = (String::new(), "noon".to_owned());
        let bad = send(&store, "account:command", "1", &Command::DepositOnce { deposit_id, amount: 1, time }).await;
        let bad_of_another = send(&store, "account:command", "2", &once("", 1)).await;
        handle_all(&store, &bad_of_another).await;
        let letters = DeadLetters::of(&store, "account:command", None).unwrap();
        let before = letters.show(bad.id).await.unwrap().unwrap();
        assert!(before.error.contains("intent"), "{before}");
        erase(&store, "1").await;
        let after = letters.show(bad.id).await.unwrap().unwrap();
        assert_eq!((after.error.as_str(), after.state, after.attempts), ("erased", before.state, before.attempts));
        assert!(letters.show(bad_of_another.id).await.unwrap().unwrap().error.contains("intent"));
        // A retry finds that there is nothing to carry out.
        assert!(letters.retry(&letters.show(bad.id).await.unwrap().unwrap()).await.unwrap());
        let consumer = Consumer::new("account:command", member(&store, None)).on_failure(OnFailure::Park);
        let running = consumer.start(&store).await.unwrap();
        while letters.list().await.unwrap().iter().any(|letter| letter.message.id == bad.id) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let _ = running.stop().await.unwrap();
    }

    async fn streams_of_the_toolkit_are_not_erased(store) {
        for name in ["account:command+position", "account:command+deadLetter-1+2", "checkpoint:account:command+deadLetter"] {
            assert!(matches!(Erasing::stream(&store, name), Err(Error::Invalid { .. })), "{name}");
        }
        for name in ["account", "account-", "account-1+2"] {
            assert!(matches!(Erasing::entity(&store, name), Err(Error::Invalid { .. })), "{name}");
        }
    }

    async fn a_request_of_a_delay_buffer_is_erased_after_its_release(store) {
        let buffer = || DelayBuffer::new(&store, "mail", Duration::ZERO, Keep::First).unwrap();
        let key = Key::new("ann").unwrap();
        let (mail, message) = (StreamName::new("mail-1").unwrap(), NewMessage::new("Send", Json::NULL));
        assert_eq!(buffer().put(&key, &mail, &message).await.unwrap(), Delayed::Waiting);
        let place = messages_of(&store, "delay:mail").await.remove(0).stream;
        let erasing = Erasing::stream(&store, place.as_str()).unwrap();
        assert!(matches!(erasing.run(|_| {}).await, Err(Error::Invalid { .. })));
        assert_eq!(buffer().release().await.unwrap(), 1);
        // Only the request: the release has no data of the sender, and is the state of the key.
        assert_eq!(erasing.run(|_| {}).await.unwrap().erased, 1);
        assert_eq!(buffer().release().await.unwrap(), 0);
        assert_eq!(buffer().put(&key, &mail, &message).await.unwrap(), Delayed::Waiting);
    }

    async fn an_erased_event_without_fields_is_not_decoded_as_one(store) {
        #[derive(Debug, serde::Deserialize)]
        enum Unit { Closed }
        let before = put(&store, "account-1", "Closed", "null", "{}").await;
        assert!(matches!(before.decode_variant::<Unit>(), Ok(Some(Unit::Closed))));
        Erasing::stream(&store, "account-1").unwrap().run(|_| {}).await.unwrap();
        let after = store.message(before.id).await.unwrap().unwrap();
        assert!(matches!(after.decode_variant::<Unit>(), Err(Error::Undecodable { .. })));
        assert!(matches!(after.decode_data::<Option<u8>>(), Err(Error::Undecodable { .. })));
    }

    async fn erased_messages_are_copied_to_another_store_again_and_again(store) {
        let other = connect("sqlite::memory:").await.unwrap();
        let (accounts, mut transfer) = (Category::new("account:command").unwrap(), Transfer::new(&store, &other));
        send_deposits(&store, "account:command", "1", 3).await;
        send_deposits(&store, "account:command", "2", 3).await;
        assert_eq!(transfer.copy(&accounts, |_| {}).await.unwrap().written, 6);
        // Erased in the old store after the copy, and in the new one.
        erase(&store, "1").await;
        erase(&other, "2").await;
        let again = transfer.copy(&accounts, |_| {}).await.unwrap();
        assert_eq!((again.written, again.verified), (0, 6));
        assert_eq!(erase(&other, "1").await, 3);
        assert_eq!(transfer.copy(&accounts, |_| {}).await.unwrap().verified, 6);
        let third = connect("sqlite::memory:").await.unwrap();
        Transfer::new(&other, &third).copy(&accounts, |_| {}).await.unwrap();
        assert!(messages_of(&third, "account:command").await.iter().all(Message::is_erased));
    }
}

struct Sum;

#[async_trait]
impl ReadModel for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let Some(Command::Deposit { .. }) = message.decode_variant()? else { return Err("another command".into()) };
        transaction.execute("UPDATE sum SET messages = messages + 1", &[]).await?;
        Ok(())
    }

    async fn apply_erased(&self, transaction: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        transaction.execute("UPDATE sum SET erased = erased + 1", &[]).await?;
        Ok(())
    }
}

async fn a_read_model_sees_erased_messages(ageing: AgeingStore) {
    let store = connect(&ageing.url()).await.unwrap();
    let create = "CREATE TABLE sum (messages bigint, erased bigint); INSERT INTO sum VALUES (0, 0)";
    ageing.execute(create, create).await;
    send_deposits(&store, "account:command", "1", 3).await;
    send_deposits(&store, "account:command", "2", 2).await;
    Erasing::entity(&store, "account:command-1").unwrap().run(|_| {}).await.unwrap();
    let (models, model) = (store.read_models().unwrap(), Arc::new(Sum) as Arc<dyn ReadModel>);
    assert_eq!(models.update(&model, &Category::new("account:command").unwrap()).await.unwrap(), 5);
    assert_eq!(ageing.row("SELECT messages, erased FROM sum").await, Some((2, 3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres_a_read_model_sees_which_messages_were_erased() {
    a_read_model_sees_erased_messages(AgeingStore::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite_a_read_model_sees_which_messages_were_erased() {
    a_read_model_sees_erased_messages(AgeingStore::sqlite()).await;
}
