//! Consumers and read models that begin below the archived messages.

use std::sync::Arc;

use async_trait::async_trait;
use message_store::consumer::{Consumer, MoveTo, Positions};
use message_store::postgres::{PlantedBug, PostgresOptions};
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{Category, Message, MessageStore, Outcome, Source, connect};
use message_store_tests::accounts::{balance, member, send_deposits};
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::work::Work;

use super::archive;

/// Handles all commands, and stops.
async fn handle_all(store: &Arc<dyn MessageStore>, last: &Message) {
    let mut running = Consumer::new("account:command", member(store, None)).start(store).await.unwrap();
    running.wait_for(last.global_position).await.unwrap();
    let _ = running.stop().await.unwrap();
}

/// The number of commands that a new consumer receives after most of them were archived. The last stays.
async fn received_by_a_new_consumer(store: &Arc<dyn MessageStore>) -> usize {
    let commands = send_deposits(store, "account:command", "1", 10).await;
    handle_all(store, &commands[9]).await;
    assert_eq!(archive(store, "account:command").await, 9);
    let work = Work::default();
    let mut running = work.consumer().start(store).await.unwrap();
    running.wait_for(commands[9].global_position).await.unwrap();
    let _ = running.stop().await.unwrap();
    work.handled()
}

on_both_stores! {
    async fn a_new_consumer_receives_archived_messages(store) {
        assert_eq!(received_by_a_new_consumer(&store).await, 10);
    }

    async fn a_consumer_that_is_set_back_receives_archived_commands_and_writes_nothing_again(store) {
        let commands = send_deposits(&store, "account:command", "1", 10).await;
        handle_all(&store, &commands[9]).await;
        assert_eq!(archive(&store, "account:command").await, 9);
        assert_eq!(archive(&store, "account").await, 9);
        let positions = Positions::of(&store, "account:command").unwrap();
        let saved = positions.get(None, None).await.unwrap();
        positions.set(&saved, MoveTo::Beginning).await.unwrap();
        assert_eq!(positions.backlog(&positions.get(None, None).await.unwrap()).await.unwrap().messages, 10);
        handle_all(&store, &commands[9]).await;
        // With an empty memory, and after the positions were archived too.
        let moved = archive(&store, "account:command+position").await;
        assert!(moved > 0);
        assert_eq!(positions.list().await.unwrap().len(), 1);
        for command in &commands {
            let outcome = member(&store, None).carry_out(command).await.unwrap();
            assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome:?}");
        }
        assert_eq!(balance(&store, "1").await, 10);
    }

    async fn a_position_is_found_by_a_time_among_archived_messages(store) {
        let commands = send_deposits(&store, "account:command", "1", 10).await;
        handle_all(&store, &commands[9]).await;
        archive(&store, "account:command").await;
        let positions = Positions::of(&store, "account:command").unwrap();
        let found = positions.resolve(MoveTo::Time(commands[4].time)).await.unwrap();
        assert!(found < commands[4].global_position, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_a_new_consumer_whose_reads_leave_out_the_archive_misses_messages() {
    let database = TestDatabase::create().await;
    let options = PostgresOptions::from_url(database.url()).unwrap().plant(PlantedBug::ArchiveNotRead);
    let store: Arc<dyn MessageStore> = Arc::new(options.open().await.unwrap());
    assert_eq!(received_by_a_new_consumer(&store).await, 1);
}

struct Sum;

#[async_trait]
impl ReadModel for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        transaction.execute("UPDATE sum SET messages = messages + 1", &[]).await?;
        Ok(())
    }
}

/// A read model is applied to some messages, which are archived, and rebuilt.
async fn a_read_model_is_rebuilt(ageing: AgeingStore) {
    let store = connect(&ageing.url()).await.unwrap();
    let create = "CREATE TABLE sum (messages bigint, other bigint); INSERT INTO sum VALUES (0, 0)";
    ageing.execute(create, create).await;
    send_deposits(&store, "account:command", "1", 10).await;
    let (models, model) = (store.read_models().unwrap(), Arc::new(Sum) as Arc<dyn ReadModel>);
    let commands = Category::new("account:command").unwrap();
    assert_eq!(models.update(&model, &commands).await.unwrap(), 10);
    assert_eq!(archive(&store, "account:command").await, 9);
    send_deposits(&store, "account:command", "1", 2).await;
    assert_eq!(models.update(&model, &commands).await.unwrap(), 2);
    models.set_position("sum", message_store::GlobalPosition::ZERO).await.unwrap();
    assert_eq!(models.update(&model, &commands).await.unwrap(), 12);
    assert_eq!(ageing.row("SELECT messages, other FROM sum").await, Some((24, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres_a_read_model_is_rebuilt_from_archived_messages() {
    a_read_model_is_rebuilt(AgeingStore::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite_a_read_model_is_rebuilt_from_archived_messages() {
    a_read_model_is_rebuilt(AgeingStore::sqlite()).await;
}
