//! Everything that uses connections: consumers, an elastic group, read models and `Once`, whose code asks the store.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use message_store::consumer::{Consumer, ElasticGroup, OnFailure, Process};
use message_store::intents::Once;
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{Append, Category, Error, Json, Key, Message, MessageStore, NewMessage, Source, StreamName};
use message_store_tests::accounts::{balance, messages_of, send_deposits};
use message_store_tests::marked::Marked;
use message_store_tests::postgres::TestDatabase;
use tokio::time::sleep;

pub type Store = Arc<dyn MessageStore>;

/// Counts the commands of each account. Its code asks the store.
struct Asks {
    name: String,
    store: Store,
}

#[async_trait]
impl ReadModel for Asks {
    fn name(&self) -> &str {
        &self.name
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        // So that all read models have their connections before the first asks.
        sleep(Duration::from_millis(20)).await;
        let found = self.store.message(message.id).await?;
        assert!(found.is_some());
        transaction
            .execute(
                "INSERT INTO seen (model, id) VALUES ($1, $2)",
                &[self.name.as_str().into(), message.id.to_string().into()],
            )
            .await?;
        Ok(())
    }
}

/// Updates these many read models at once.
pub async fn update_read_models(store: &Store, count: usize) {
    let updates = (0..count).map(|number| {
        let store = Arc::clone(store);
        async move {
            let model: Arc<dyn ReadModel> =
                Arc::new(Asks { name: format!("model{number}"), store: Arc::clone(&store) });
            let category = Category::new("account:command").unwrap();
            store.read_models().unwrap().update(&model, &category).await.unwrap();
        }
    });
    join_all(updates).await;
}

/// Pays once for each of these keys. The work asks the store.
async fn pay(store: &Store, count: usize) {
    let once = Once::new(store, "payments").unwrap();
    let calls = (0..count).map(|number| {
        let (once, store) = (&once, Arc::clone(store));
        async move {
            let stream = StreamName::new(format!("payment-{number}")).unwrap();
            let work = async || {
                assert!(store.last_message(&stream, None).await?.is_none());
                Ok::<_, Error>((vec![Append::to(stream.clone()).message(NewMessage::new("Paid", Json::NULL))], number))
            };
            let _ = once.run(&Key::new(number.to_string()).unwrap(), &Json::NULL, work).await.unwrap();
        }
    });
    join_all(calls).await;
}

/// Everything that uses connections, at once.
pub async fn use_all(store: &Store) {
    let handler = Marked::new(store, None);
    let consumer = |identifier: &str| {
        let consumer = Consumer::new("account:command", handler.clone()).identifier(identifier).concurrency(16);
        consumer.on_failure(OnFailure::Park).in_process(&Process::default())
    };
    let mut member = consumer("g").elastic_group(ElasticGroup::new()).start(store).await.unwrap();
    let sending = (0..40).map(|account| {
        let store = Arc::clone(store);
        tokio::spawn(async move { send_deposits(&store, "account:command", &account.to_string(), 5).await })
    });
    let sending = sending.collect::<Vec<_>>();
    pay(store, 40).await;
    for sent in sending {
        sent.await.unwrap();
    }
    update_read_models(store, 4).await;
    let last = messages_of(store, "account:command").await.last().unwrap().global_position;
    member.wait_for(last).await.unwrap();
    let _ = member.stop().await.unwrap();
    for account in 0..40 {
        assert_eq!(balance(store, &account.to_string()).await, 5);
    }
    assert_eq!(messages_of(store, "payment").await.len(), 40);
}

pub async fn database() -> TestDatabase {
    let database = TestDatabase::create().await;
    database.execute("CREATE TABLE seen (model text, id text)").await;
    database
}
