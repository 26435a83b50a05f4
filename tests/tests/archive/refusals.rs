//! What prevents messages from being archived, and is named.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{Consumer, DeadLetters, OnFailure};
use message_store::operations::{Archiving, Behind};
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{Category, Error, Message, MessageStore, Source, connect};
use message_store_tests::accounts::{Command, member, send, send_deposits};
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;

use super::{age, archive, now};

async fn archiving(store: &Arc<dyn MessageStore>) -> Archiving {
    Archiving::of(store, "account:command", now(store).await).unwrap()
}

/// Handles all commands up to this one, and stops.
async fn handle_through(store: &Arc<dyn MessageStore>, last: &Message) {
    let consumer = Consumer::new("account:command", member(store, None)).on_failure(OnFailure::Park);
    let mut running = consumer.start(store).await.unwrap();
    running.wait_for(last.global_position).await.unwrap();
    let _ = running.stop().await.unwrap();
}

struct Model;

#[async_trait]
impl ReadModel for Model {
    fn name(&self) -> &'static str {
        "balances"
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        Ok(())
    }
}

on_both_stores! {
    async fn a_consumer_that_is_behind_is_named_and_nothing_moves(store) {
        let commands = send_deposits(&store, "account:command", "1", 5).await;
        handle_through(&store, &commands[4]).await;
        let last = send_deposits(&store, "account:command", "1", 5).await.pop().unwrap();
        let plan = archiving(&store).await.plan().await.unwrap();
        let Behind::Consumer { stream, .. } = &plan.behind[0] else { panic!("{plan:?}") };
        assert_eq!((stream.as_str(), plan.behind.len()), ("account:command+position", 1));
        let refused = archiving(&store).await.run(|_| {}).await.unwrap_err().to_string();
        assert!(refused.contains("the consumer of account:command+position is at"), "{refused}");
        assert!(store.archive().unwrap().runs().await.unwrap().is_empty());
        handle_through(&store, &last).await;
        assert_eq!(archive(&store, "account:command").await, 9);
    }

    async fn a_consumer_that_no_longer_exists_is_left_out_by_name(store) {
        let commands = send_deposits(&store, "account:command", "1", 5).await;
        handle_through(&store, &commands[4]).await;
        send_deposits(&store, "account:command", "1", 5).await;
        let left_out = archiving(&store).await.leave_out("account:command+position");
        assert_eq!(left_out.run(|_| {}).await.unwrap(), 9);
        let misspelt = archiving(&store).await.leave_out("account:command+postion").run(|_| {}).await;
        assert!(matches!(misspelt, Err(Error::Invalid { .. })), "{misspelt:?}");
    }

    async fn a_message_that_is_set_aside_is_named_until_it_is_discarded(store) {
        let (deposit_id, time) = (String::new(), "noon".to_owned());
        send_deposits(&store, "account:command", "1", 3).await;
        let bad = send(&store, "account:command", "1", &Command::DepositOnce { deposit_id, amount: 1, time }).await;
        let last = send_deposits(&store, "account:command", "1", 3).await.pop().unwrap();
        handle_through(&store, &last).await;
        let plan = archiving(&store).await.plan().await.unwrap();
        let [Behind::Letters { open, first, .. }] = &plan.behind[..] else { panic!("{plan:?}") };
        assert_eq!((*open, first.id), (1, bad.id));
        let letters = DeadLetters::of(&store, "account:command", None).unwrap();
        letters.discard(&letters.list().await.unwrap()[0], "no").await.unwrap();
        assert_eq!(archive(&store, "account:command").await, 6);
        assert!(letters.show(bad.id).await.unwrap().is_some());
    }

    async fn a_read_model_that_is_behind_is_named(store) {
        send_deposits(&store, "account:command", "1", 3).await;
        let (models, model) = (store.read_models().unwrap(), Arc::new(Model) as Arc<dyn ReadModel>);
        models.update(&model, &Category::new("account:command").unwrap()).await.unwrap();
        send_deposits(&store, "account:command", "1", 3).await;
        let refused = archiving(&store).await.run(|_| {}).await.unwrap_err().to_string();
        assert!(refused.contains("the read model balances is at"), "{refused}");
        assert_eq!(archiving(&store).await.leave_out("balances").run(|_| {}).await.unwrap(), 5);
    }

    async fn a_time_in_the_future_is_refused(store) {
        let future = store.now().await.unwrap() + Duration::from_hours(1);
        let refused = Archiving::of(&store, "account", future).unwrap().plan().await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
}

/// Messages of an hour ago are archived, and later ones are not.
async fn only_old_messages_move(ageing: AgeingStore) {
    let store = connect(&ageing.url()).await.unwrap();
    send_deposits(&store, "account:command", "1", 5).await;
    age(&ageing).await;
    send_deposits(&store, "account:command", "1", 5).await;
    let before = now(&store).await - Duration::from_mins(30);
    assert_eq!(Archiving::of(&store, "account:command", before).unwrap().run(|_| {}).await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres_only_messages_older_than_the_time_move() {
    only_old_messages_move(AgeingStore::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite_only_messages_older_than_the_time_move() {
    only_old_messages_move(AgeingStore::sqlite()).await;
}
