//! What became of a message and of an entity, and what a store contains, as an operator asks, on each store.
#![allow(clippy::unwrap_used)]

mod shell;

use std::sync::Arc;

use message_store::consumer::Consumer;
use message_store::{Append, Json, Message, MessageStore, Metadata, NewMessage, StreamName};
use serde_json::{Value, json};
use shell::{Nothing, Shell, on_each_store, on_sql_stores, types};

/// Appends a message that follows from `cause`.
async fn write(store: &Arc<dyn MessageStore>, stream: &str, message_type: &str, cause: Option<&Message>) -> Message {
    let mut metadata = cause.map_or_else(Metadata::default, Metadata::follow);
    if message_type == "Deposit" {
        metadata.correlation_stream_name = Some("case-1".to_owned());
    }
    let message = NewMessage::new(message_type, Json::NULL).with_metadata(&metadata).unwrap();
    let id = message.id;
    store.append(Append::to(StreamName::new(stream).unwrap()).message(message).into()).await.unwrap();
    store.message(id).await.unwrap().unwrap()
}

/// A deposit with its reservation, its event and a mail, beside messages of others. In a case with another command.
async fn deposit(store: &Arc<dyn MessageStore>) -> Vec<Message> {
    let command = write(store, "account:command-1", "Deposit", None).await;
    write(store, "account:command-2", "Open", None).await;
    let reserved = write(store, "accountTransaction-1+deposit+d1", "Reserved", Some(&command)).await;
    let event = write(store, "account-1", "Deposited", Some(&command)).await;
    let mail = write(store, "mail-1", "Sent", Some(&event)).await;
    let other = write(store, "account:command-3", "Deposit", None).await;
    vec![command, reserved, event, mail, other]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_shows_the_causes_and_the_effects_of_a_message() {
    on_each_store(async |shell: &Shell| {
        let store = shell.open().await;
        let messages = deposit(&store).await;
        let (command, mail) = (messages[0].id.to_string(), messages[3].id.to_string());
        let whole = ["Deposit", "Reserved", "Deposited", "Sent"];
        let event = messages[2].global_position.to_string();
        for what in [&[&*command][..], &[&mail], &[&event], &["--intent", "accountTransaction-1+deposit+d1"]] {
            let traced = shell.json(&[&["trace"], what].concat());
            assert_eq!(types(&traced), whole, "{what:?}");
            let depths: Vec<_> = traced.iter().map(|traced| traced["depth"].as_u64().unwrap()).collect();
            assert_eq!(depths, [0, 1, 1, 2]);
            assert_eq!((&traced[0]["cause"], &traced[3]["cause"]), (&Value::Null, &traced[2]["id"]));
        }
        let case = shell.json(&["trace", "--correlation", "case-1"]);
        assert_eq!(types(&case), [&whole[..], &["Deposit"]].concat());

        let tree = shell.succeeds(&["trace", &command]);
        let begins: Vec<_> = tree.lines().map(|line| line.split(" at ").next().unwrap()).collect();
        let expected = [
            "Deposit  account:command-1",
            "├─ Reserved  accountTransaction-1+deposit+d1",
            "└─ Deposited  account-1",
            "   └─ Sent  mail-1",
        ];
        assert_eq!(begins, expected, "{tree}");
        let dot = shell.succeeds(&["trace", &command, "--dot"]);
        assert!(dot.starts_with("digraph") && dot.matches(" -> ").count() == 3, "{dot}");

        // A short look does not find the effects that no index leads to, and says so.
        let output = shell.run(&["trace", &messages[4].id.to_string(), "--look-at", "1"]);
        assert!(output.status.success());
        let unrelated = write(&store, "account:command-4", "Open", None).await;
        let _ = write(&store, "x-1", "X", None).await;
        let _ = write(&store, "account-4", "Opened", Some(&unrelated)).await;
        let output = shell.run(&["trace", &unrelated.id.to_string(), "--look-at", "1", "-o", "ndjson"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains("--look-at looks further"), "{output:?}");

        shell.fails(3, &["trace", "--correlation", "case-2"]);
        shell.fails(3, &["trace", "--intent", "accountTransaction-1+deposit+d2"]);
        shell.fails(2, &["trace"]);
        shell.fails(2, &["trace", &command, "--correlation", "case-1"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_name_each_other_as_causes_are_each_shown_once() {
    on_sql_stores(async |shell: &Shell| {
        let named = |stream: &str, position: u8, global: u8| {
            format!(
                "{{\"correlationStreamName\":\"case-1\",\"causationMessageStreamName\":\"{stream}\",\
                 \"causationMessagePosition\":{position},\"causationMessageGlobalPosition\":{global}}}"
            )
        };
        shell.succeeds(&["write", "a-1", "A", "--metadata", &named("b-1", 0, 2)]);
        shell.succeeds(&["write", "b-1", "B", "--metadata", &named("a-1", 0, 1)]);
        shell.succeeds(&["write", "c-1", "Itself", "--metadata", &named("c-1", 0, 3)]);
        assert_eq!(types(&shell.json(&["trace", "--correlation", "case-1"])), ["Itself", "A", "B"]);
        for (position, count) in [("1", 2), ("2", 2), ("3", 1)] {
            assert_eq!(shell.json(&["trace", position]).len(), count, "{position}");
        }
        assert!(shell.succeeds(&["explain", "1"]).contains("B at b-1"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_shows_what_each_event_changed() {
    on_each_store(async |shell: &Shell| {
        for data in [r#"{"owner":"Ada","limit":5}"#, r#"{"owner":"Ada","limit":9,"note":"a\u0007b"}"#, "7", "{}"] {
            shell.succeeds(&["write", "account-1", "Changed", "--data", data]);
        }
        let told = shell.json(&["history", "account-1"]);
        assert_eq!(
            told[0]["changes"],
            json!({"owner":{"before":null,"after":"Ada"},"limit":{"before":null,"after":5}})
        );
        assert_eq!(told[1]["changes"]["limit"], json!({"before":5,"after":9}));
        assert!(told[1]["changes"].get("owner").is_none(), "{told:?}");
        assert_eq!((&told[2]["changes"], &told[3]["changes"]), (&json!({}), &json!({})));
        let text = shell.succeeds(&["history", "account-1"]);
        assert!(text.contains("limit: 5 → 9") && !text.contains('\u{7}'), "{text}");
        assert_eq!(shell.succeeds(&["history", "account-1", "--dot"]).matches(" -> ").count(), 3);
        let output = shell.run(&["history", "account-1", "--from", "1", "--limit", "2", "-o", "ndjson"]);
        let rows: Vec<Value> =
            String::from_utf8(output.stdout).unwrap().lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        assert_eq!((&rows[0]["position"], &rows[0]["changes"]["limit"]["before"]), (&json!(1), &json!(5)));
        assert!(rows.len() == 2 && String::from_utf8_lossy(&output.stderr).contains("--from 3"));
        shell.fails(3, &["history", "account-9"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_says_what_consumers_have_done_with_a_message() {
    on_each_store(async |shell: &Shell| {
        let store = shell.open().await;
        let messages = deposit(&store).await;
        let command = messages[0].id.to_string();
        assert!(shell.succeeds(&["explain", &command]).contains("no consumer of account:command has ever run"));
        let mut consumer = Consumer::new("account:command", Nothing).start(&store).await.unwrap();
        consumer.wait_for(messages[4].global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let known = |facts: &[Value], about: &str| -> Vec<String> {
            let of = facts.iter().filter(|fact| fact["about"] == about);
            of.map(|fact| fact["known"].as_str().unwrap().to_owned()).collect()
        };
        let facts = shell.json(&["explain", &command]);
        assert_eq!(known(&facts, "effect").len(), 2, "{facts:?}");
        assert!(known(&facts, "consumer")[0].contains("has passed it"), "{facts:?}");
        let late = write(&store, "account:command-9", "Deposit", None).await;
        let facts = shell.json(&["explain", &late.id.to_string()]);
        assert!(known(&facts, "consumer")[0].contains("has not passed it yet"), "{facts:?}");
        assert!(known(&facts, "effect")[0].contains("no message"), "{facts:?}");
        let facts = shell.json(&["explain", &messages[3].id.to_string()]);
        assert!(known(&facts, "cause")[0].contains("Deposited at account-1"), "{facts:?}");
        shell.fails(3, &["explain", "9999"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn categories_types_and_streams_are_listed() {
    on_sql_stores(async |shell: &Shell| {
        assert_eq!(shell.json(&["stats"]).len(), 0);
        let store = shell.open().await;
        let messages = deposit(&store).await;
        let _ = write(&store, "account-1", "Closed", None).await;
        let stats = shell.json(&["stats"]);
        let of = |category: &str| stats.iter().find(|row| row["category"] == category).unwrap().clone();
        assert_eq!((&of("account")["messages"], &of("account:command")["messages"]), (&json!(2), &json!(3)));
        assert_eq!(of("mail")["lastGlobalPosition"], json!(messages[3].global_position.get()));
        assert_eq!(stats.len(), 4);
        let quick = shell.json(&["stats", "--quick"]);
        assert!(quick.len() == 4 && quick.iter().all(|row| row["messages"].is_null() && row["lastTime"].is_string()));

        let listed = shell.json(&["types"]);
        assert_eq!(types(&listed), ["Closed", "Deposited", "Deposit", "Open", "Reserved", "Sent"]);
        assert_eq!(types(&shell.json(&["types", "account"])), ["Closed", "Deposited"]);
        assert_eq!(listed[2]["messages"], 2);
        let streams = |arguments: &[&str]| -> Vec<String> {
            let rows = shell.json(&[&["streams"], arguments].concat());
            rows.iter().map(|row| row["stream"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(streams(&["--limit", "2"]), ["account-1", "account:command-3"]);
        assert_eq!(streams(&["account:command"]), ["account:command-3", "account:command-2", "account:command-1"]);
        assert_eq!(streams(&["--since", "1h"]).len(), 6);
        let output = shell.run(&["streams", "--look-at", "2", "-o", "csv"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("go on with --after 2"), "{said}");
        assert_eq!(streams(&["--after", "2"]).len(), 4, "{messages:?}");
        assert_eq!(streams(&["--all"]).len(), 6);
    })
    .await;
}
