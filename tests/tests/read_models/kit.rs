//! The test kit for read models: a wrong read model must fail its case.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use async_trait::async_trait;
use message_store::store::{ReadModel, SqlTransaction};
use message_store::testing::given_messages;
use message_store::{Message, Source};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Event {
    Added { amount: i64 },
}

/// What is wrong with the read model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Wrong {
    #[default]
    Nothing,
    /// It remembers a sum beside its transaction.
    Remembers,
    /// It removes no table.
    RemovesNothing,
}

#[derive(Default)]
struct Sum(Wrong, Mutex<i64>);

#[async_trait]
impl ReadModel for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        transaction.execute("CREATE TABLE IF NOT EXISTS sum (sum BIGINT NOT NULL)", &[]).await?;
        transaction.execute("INSERT INTO sum SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM sum)", &[]).await.map(drop)
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let Some(Event::Added { amount }) = message.decode_variant()? else { return Ok(()) };
        let (sql, value) = match self.0 {
            Wrong::Remembers => {
                let mut sum = self.1.lock().unwrap();
                *sum += amount;
                ("UPDATE sum SET sum = $1", *sum)
            }
            _ => ("UPDATE sum SET sum = sum + $1", amount),
        };
        transaction.execute(sql, &[value.into()]).await.map(drop)
    }

    async fn remove(&self, transaction: &mut dyn SqlTransaction, _: u32) -> Result<(), Source> {
        if self.0 != Wrong::RemovesNothing {
            transaction.execute("DROP TABLE sum", &[]).await?;
        }
        Ok(())
    }
}

fn case(wrong: Wrong) {
    given_messages()
        .in_stream("account-1", Event::Added { amount: 2 })
        .in_stream("other-1", Event::Added { amount: 3 })
        .when_applied(Sum(wrong, Mutex::default()))
        .then("SELECT sum FROM sum", [vec![5.into()]]);
}

#[test]
fn a_right_read_model_passes() {
    case(Wrong::Nothing);
    given_messages().when_applied(Sum::default()).then("SELECT sum FROM sum", [vec![0.into()]]);
}

#[test]
#[should_panic(expected = "the rows of the read model")]
fn other_rows_than_expected_fail_the_case() {
    given_messages().when_applied(Sum::default()).then("SELECT sum FROM sum", [vec![1.into()]]);
}

#[test]
#[should_panic(expected = "in batches of 2")]
fn a_read_model_that_remembers_beside_its_transaction_fails_the_case() {
    case(Wrong::Remembers);
}

#[test]
#[should_panic(expected = "when the tables are removed (ReadModel::remove), created and filled again")]
fn a_read_model_that_removes_nothing_fails_the_case() {
    case(Wrong::RemovesNothing);
}

/// Version 2 of an event has another form, and the model reads version 1 only.
#[test]
#[should_panic(expected = "the read model fails")]
fn a_read_model_that_does_not_know_a_version_fails_the_case() {
    given_messages()
        .stored_in_stream("account-1", ("Added", 1, r#"{"amount":2}"#))
        .stored_in_stream("account-1", ("Added", 2, r#"{"sum":2}"#))
        .when_applied(Sum::default())
        .then("SELECT sum FROM sum", [vec![4.into()]]);
}
