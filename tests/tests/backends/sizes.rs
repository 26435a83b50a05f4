//! The size of a message is the size that PostgreSQL returns, on every store: a message of the greatest size is decided
//! on, reserved, answered and moved.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::handling::{Context, Handler};
use message_store::{
    Append, Error, ExpectedVersion, Json, Message, MessageStore, MessageStoreExt as _, NewMessage, Outcome, Source,
    StreamName,
};
use message_store_tests::accounts::{balance, member, messages_of, postgres, sqlite};
use message_store_tests::moving::copy;
use message_store_tests::on_both_stores;

const CATEGORIES: [&str; 3] = ["account", "accountTransaction", "account:command"];

/// Answers with the data of the message.
struct Answers;

#[async_trait::async_trait]
impl Handler for Answers {
    fn name(&self) -> &'static str {
        "answers"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["DepositOnce"]
    }

    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        let answer = NewMessage::new("Answered", message.data.clone());
        Ok(context.write("", Append::to(StreamName::new("answer-1").unwrap()).message(answer)).await?)
    }
}

fn deposit(data: &str, metadata: &str) -> NewMessage {
    NewMessage::new("DepositOnce", Json::parse(data).unwrap()).with_metadata_json(Json::parse(metadata).unwrap())
}

async fn try_send(store: &Arc<dyn MessageStore>, message: NewMessage) -> message_store::Result<Message> {
    let id = message.id;
    let stream = StreamName::new("account:command-1").unwrap();
    store.append_to(&stream, ExpectedVersion::Any, vec![message]).await?;
    Ok(store.message(id).await?.unwrap())
}

/// The longest message of this form that both stores take. `of` makes one with so many items.
async fn longest(store: &Arc<dyn MessageStore>, of: impl Fn(usize) -> NewMessage) -> Message {
    let (one, two) = (of(1).stored_size(), of(2).stored_size());
    let count = 1 + (store.limits().message_bytes - one) / (two - one);
    let error = try_send(store, of(count + 1)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    try_send(store, of(count)).await.unwrap()
}

/// Decides on the message, reserves its intent, answers it, and moves it there and back.
async fn is_carried(store: &Arc<dyn MessageStore>, message: &Message) {
    let outcome = member(store, None).carry_out(message).await.unwrap();
    assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
    let _ = Answers.handle(message, &Context::new(store, "answers", message)).await.unwrap();
    let (there, back) = (sqlite().await, sqlite().await);
    copy(store, &there, &CATEGORIES).await;
    copy(&there, &back, &CATEGORIES).await;
    let copied = messages_of(&back, "account:command").await.remove(0);
    let outcome = member(&back, None).carry_out(&copied).await.unwrap();
    assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
    assert_eq!(balance(&back, "1").await, 1);
}

fn list(item: &str, count: usize) -> String {
    format!("[{}]", vec![item; count].join(","))
}

fn with_data(item: &str, count: usize) -> NewMessage {
    deposit(&format!(r#"{{"deposit_id":"d","amount":1,"time":"t","more":{}}}"#, list(item, count)), "null")
}

fn with_metadata(item: &str, count: usize) -> NewMessage {
    let data = r#"{"deposit_id":"d","amount":1,"time":"t"}"#;
    deposit(data, &format!(r#"{{"properties":{{"more":{}}}}}"#, list(item, count)))
}

on_both_stores! {
    async fn the_largest_data_with_many_commas_is_carried(store) {
        let message = longest(&store, |count| with_data("1", count)).await;
        is_carried(&store, &message).await;
    }

    async fn the_largest_data_with_large_numbers_is_carried(store) {
        let message = longest(&store, |count| with_data("1e500", count)).await;
        is_carried(&store, &message).await;
    }

    async fn the_largest_metadata_with_many_commas_is_carried(store) {
        let message = longest(&store, |count| with_metadata(r#"{"a":1}"#, count)).await;
        is_carried(&store, &message).await;
    }

    async fn the_largest_metadata_with_large_numbers_is_carried(store) {
        let message = longest(&store, |count| with_metadata("-2.5E-1000", count)).await;
        is_carried(&store, &message).await;
    }

    async fn short_metadata_with_the_largest_numbers_is_refused_at_once(store) {
        let error = try_send(&store, with_metadata("1e131071", 10)).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { actual: 1_310_000.., .. }), "{error}");
        assert!(error.to_string().contains("as PostgreSQL returns it"), "{error}");
        assert!(messages_of(&store, "account:command").await.is_empty());
    }

    async fn white_space_does_not_count(store) {
        let data = with_data("1", 10).data.text().replace(',', &format!(",{}", " ".repeat(store.limits().message_bytes / 5)));
        let message = try_send(&store, deposit(&data, "null")).await.unwrap();
        is_carried(&store, &message).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_size_of_a_message_is_what_postgres_returns() {
    let store = postgres().await;
    for text in [
        r#"{"a":[1,2,{},[]],"b":"x,y: z","c":{"d":null,"e":[true,false]}}"#,
        "{ \"a\" :\n\t[ 1 ,2 ] }",
        r#"["\"1e9\\",1e9,"é\n\\",-0.0,0.000]"#,
        "[1.50e1,1.5e-3,-12.5E+2,123e-2,0.0012e2,0.001e5,0e5,0e-5,1e-16383,1e131071,100.00e-2]",
        "5",
        "\"text\"",
    ] {
        let message = deposit(text, text);
        let stored_size = message.stored_size();
        let read = try_send(&store, message).await.unwrap();
        assert_eq!(NewMessage::again(&read).size(), stored_size, "{text}");
        assert_eq!(NewMessage::again(&read).stored_size(), stored_size, "{text}");
    }
}
