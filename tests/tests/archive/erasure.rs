//! After an erasure: no data, and still one effect.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{Consumer, DeadLetters, MoveTo, OnFailure, Positions};
use message_store::entity::{EntityStore, Projection};
use message_store::handling::{DelayBuffer, Delayed, Keep};
use message_store::operations::{Erasing, Transfer};
use message_store::store::{Due, QueryItem, ReadModel, Snapshot, SnapshotKey, SqlTransaction, TimerChange, TimerKey};
use message_store::testing::fire_timers;
use message_store::{
    Append, Category, Error, Json, Key, Message, MessageStore, Metadata, NewMessage, Outcome, Position, Source,
    StreamName, Tag, connect,
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

    async fn a_timer_that_waits_is_erased_and_fires_without_its_data(store) {
        let buffer = DelayBuffer::new(&store, "mail", Duration::ZERO, Keep::First).unwrap();
        let message = NewMessage::new("Send", Json::parse(r#"{"name":"Ann"}"#).unwrap());
        let other = NewMessage::new("Send", Json::parse(r#"{"name":"Bob"}"#).unwrap());
        for (key, stream, message) in [("ann", "mail-1", &message), ("bob", "mail-2", &other)] {
            let stream = StreamName::new(stream).unwrap();
            let put = buffer.put(&Key::new(key).unwrap(), &stream, message).await.unwrap();
            assert_eq!(put, Delayed::Requested);
        }
        Erasing::stream(&store, "mail-1").unwrap().run(|_| {}).await.unwrap();
        assert_eq!(fire_timers(&*store).await, 2);
        let sent = messages_of(&store, "mail").await;
        let texts: Vec<_> = sent.iter().map(|message| (message.is_erased(), message.data.text().to_owned())).collect();
        assert_eq!(sent.len(), 2);
        assert!(!texts.iter().any(|(_, text)| text.contains("Ann")) && texts.iter().any(|(_, text)| text.contains("Bob")), "{texts:?}");
        assert!(sent.iter().any(|sent| sent.id == message.id && sent.is_erased()));
    }

    async fn a_timer_whose_message_has_no_data_loses_the_values_of_its_metadata(store) {
        let timers = store.timers().unwrap();
        let metadata = Metadata::new().property("name", &"Ann").unwrap();
        let message = NewMessage::new("Remind", Json::NULL).with_metadata(&metadata).unwrap();
        let to = StreamName::new("mail-1").unwrap();
        let key = TimerKey::new(to.clone(), "reminder");
        timers.change(vec![TimerChange::set(key, Due::After(Duration::ZERO), to, message)]).await.unwrap();
        Erasing::stream(&store, "mail-1").unwrap().run(|_| {}).await.unwrap();
        assert_eq!(fire_timers(&*store).await, 1);
        let sent = messages_of(&store, "mail").await.remove(0);
        assert!(sent.is_erased() && !sent.metadata.text().contains("Ann"), "{}", sent.metadata.text());
    }

    async fn messages_with_a_tag_are_erased_in_all_streams_and_in_the_archive(store) {
        let tag = Tag::new("person:ann").unwrap();
        let tagged = |text: &str| {
            let message = NewMessage::new("Noted", Json::encode(text).unwrap());
            message.with_metadata(&Metadata::new().tag(tag.clone())).unwrap()
        };
        for (stream, message) in [
            ("note-1", tagged("Ann moved")),
            ("note-1", NewMessage::new("Noted", Json::encode("Bob moved").unwrap())),
            ("order-2", tagged("Ann ordered")),
        ] {
            store.append(Append::to(StreamName::new(stream).unwrap()).message(message).into()).await.unwrap();
        }
        archive(&store, "note").await;
        let query = || QueryItem::of(Category::new("note").unwrap()).tag(tag.clone());
        let matches = async || store.conditions().unwrap().all_matches(&query().into()).await.unwrap().messages.len();
        assert_eq!(matches().await, 1, "an archived message is found by its tag");
        let run = Erasing::tag(&store, "person:ann").unwrap().run(|_| {}).await.unwrap();
        assert_eq!(run.erased, 2);
        let mut texts = Vec::new();
        for category in ["note", "order"] {
            texts.extend(messages_of(&store, category).await.iter().map(|message| message.data.text().to_owned()));
        }
        assert_eq!(texts, ["null", r#""Bob moved""#, "null"]);
        assert_eq!(matches().await, 0);
        assert_eq!(Erasing::tag(&store, "person:ann").unwrap().run(|_| {}).await.unwrap().erased, 0);
    }

    async fn the_snapshots_of_an_erased_entity_are_removed(store) {
        let stream = StreamName::new("account-1").unwrap();
        put(&store, "account-1", "Opened", r#"{"name":"Ann"}"#, "{}").await;
        let snapshots = store.snapshots().unwrap();
        let key = SnapshotKey { stream: stream.clone(), projection: "account".into(), fingerprint: "1".into() };
        let snapshot = Snapshot { position: Position::FIRST, content: "Ann".into() };
        snapshots.save(&key, &snapshot, store.history()).await.unwrap();
        Erasing::stream(&store, "account-1").unwrap().run(|_| {}).await.unwrap();
        assert_eq!(snapshots.load(&key).await.unwrap(), None);
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
