//! A read model of several categories: messages in the order of their global positions, none missed.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use message_store::postgres::PostgresStore;
use message_store::store::{Advanced, ReadModel, SqlTransaction, Update};
use message_store::{Append, Category, GlobalPosition, Json, Message, MessageStore, NewMessage, Source, StreamName};
use message_store_tests::message_db;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::sums::{deposit_to, read_models};

type Store = Arc<dyn MessageStore>;

/// Remembers the messages that were applied.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<GlobalPosition>>>);

#[async_trait]
impl ReadModel for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        self.0.lock().unwrap().push(message.global_position);
        Ok(())
    }
}

fn category(name: &str) -> Category {
    Category::new(name).unwrap()
}

async fn applied(store: &Store, order: &Order, update: &Update) -> Vec<GlobalPosition> {
    let model: Arc<dyn ReadModel> = Arc::new(order.clone());
    while read_models(store).advance(&model, update).await.unwrap() != Advanced::AtEnd {}
    order.0.lock().unwrap().clone()
}

on_both_stores! {
    async fn messages_of_two_categories_are_applied_in_their_global_order(store) {
        let mut expected = Vec::new();
        for number in 0..20 {
            let stream = ["account-1", "other-1", "transfer-1"][number % 3];
            let position = deposit_to(&store, stream, [1]).await;
            if stream != "other-1" {
                expected.push(position);
            }
        }
        let update = Update::of(&category("account")).and(&category("transfer")).limit(3);
        let order = Order::default();
        assert_eq!(applied(&store, &order, &update).await, expected);
        read_models(&store).wait_for("order", *expected.last().unwrap(), Duration::ZERO).await.unwrap();
    }
}

/// A writer of one category has drawn a position, and has not committed. Another writes to the other category. The update runs
/// before and after the commit. Returns the applied messages, and those that were written.
async fn applied_beside_an_open_transaction(updates: &[Update]) -> (Vec<GlobalPosition>, Vec<GlobalPosition>) {
    let database = TestDatabase::create().await;
    let postgres = PostgresStore::open(database.url()).await.unwrap();
    let mut client = message_db::connect(database.url(), None).await;
    let transaction = client.transaction().await.unwrap();
    let message = NewMessage::new("Deposited", Json::encode(&1).unwrap());
    let low =
        postgres.append_within(&transaction, Append::to(StreamName::new("account-1").unwrap()).message(message)).await;
    let low = low.unwrap().written[0].global_position;
    let store: Store = Arc::new(postgres);
    let high = deposit_to(&store, "transfer-1", [1]).await;
    let order = Order::default();
    for update in updates {
        applied(&store, &order, update).await;
    }
    transaction.commit().await.unwrap();
    for update in updates {
        applied(&store, &order, update).await;
    }
    let applied = order.0.lock().unwrap().clone();
    (applied, vec![low, high])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_position_that_is_committed_later_is_not_passed() {
    let both = Update::of(&category("account")).and(&category("transfer"));
    let (applied, written) = applied_beside_an_open_transaction(&[both]).await;
    assert_eq!(applied, written);
}

/// Each category is read by itself, and one position is saved for both.
#[tokio::test(flavor = "multi_thread")]
async fn twin_when_categories_are_read_apart_a_message_is_missed() {
    let apart = ["account", "transfer"].map(|name| Update::of(&category(name)));
    let (applied, written) = applied_beside_an_open_transaction(&apart).await;
    assert_eq!(applied, written[1..]);
}
