//! The commands of the guide's recipes run, and do what the page says, on each store.
#![allow(clippy::unwrap_used)]

mod shell;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use message_store::consumer::{Consumer, OnFailure};
use message_store::handling::{Context, Handler};
use message_store::{Append, Json, Message, MessageStore, Metadata, NewMessage, Outcome, Source, StreamName};
use shell::{Shell, on_each_store};

const PAGE: &str = include_str!("../../docs/guide/src/recipes.md");

/// The commands of a recipe, in their order.
fn commands(recipe: &str) -> String {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(recipe)).unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.collect()
}

/// Runs a recipe as an operator does. Returns what it printed.
fn follow(shell: &Shell, recipe: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_message-store")).parent().unwrap().display();
    let output = Command::new("bash")
        .args(["-c", &format!("set -euo pipefail\n{}", commands(recipe))])
        .current_dir(folder.path())
        .env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()))
        .env("MESSAGE_STORE_URL", &shell.0)
        .env("MESSAGE_STORE_CONTEXTS", folder.path().join("contexts.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{recipe}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A component whose commands fail while `is_down` is set, and otherwise have an event each.
struct Component {
    is_down: bool,
}

#[async_trait]
impl Handler for Component {
    fn name(&self) -> &'static str {
        "Component"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        if self.is_down {
            return Err("connection refused".into());
        }
        let stream = StreamName::new(format!("account-{}", message.stream.cardinal_id().unwrap()))?;
        let event = NewMessage::new("Deposited", message.data.clone()).with_metadata(&Metadata::follow(message))?;
        context.store().append(Append::to(stream).message(event).into()).await?;
        Ok(Outcome::Handled { events: 1, late: false })
    }
}

async fn deposit(store: &Arc<dyn MessageStore>, account: &str, reference: &str) -> Message {
    let stream = StreamName::new(format!("account:command-{account}")).unwrap();
    let data = Json::parse(format!("{{\"amount\":5,\"reference\":\"{reference}\"}}")).unwrap();
    let message = NewMessage::new("Deposit", data);
    let id = message.id;
    store.append(Append::to(stream).message(message).into()).await.unwrap();
    store.message(id).await.unwrap().unwrap()
}

/// Runs the component until it has handled this message.
async fn run(store: &Arc<dyn MessageStore>, is_down: bool, through: &Message) {
    let consumer = Consumer::new("account:command", Component { is_down }).on_failure(OnFailure::Hold).max_attempts(1);
    let mut running = consumer.start(store).await.unwrap();
    running.wait_for(through.global_position).await.unwrap();
    if !is_down {
        // The letters that were retried are delivered beside the other messages.
        while running.counts().retried().map(|(_, count)| count).sum::<u64>() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    let _ = running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_that_stands_still_goes_on() {
    on_each_store(async |shell: &Shell| {
        let store = shell.open().await;
        let first = deposit(&store, "7", "p-1").await;
        run(&store, true, &first).await;
        let said = follow(shell, "Find out why an entity stands still");
        assert!(said.contains("held-entity") && said.contains("connection refused"), "{said}");
        assert!(said.contains("dead letter") && said.contains("a delivery was requested"), "{said}");
        run(&store, false, &first).await;
        assert_eq!(shell.json(&["read", "account-7"]).len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_retried() {
    on_each_store(async |shell: &Shell| {
        let store = shell.open().await;
        let (_, last) = (deposit(&store, "7", "p-1").await, deposit(&store, "8", "p-2").await);
        run(&store, true, &last).await;
        let said = follow(shell, "Retry what failed since noon");
        assert!(said.starts_with("2\n") && said.contains("2 letters are selected"), "{said}");
        assert!(said.contains("2 deliveries were requested"), "{said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_seen_what_became_of_a_payment() {
    on_each_store(async |shell: &Shell| {
        let store = shell.open().await;
        let (_, payment) = (deposit(&store, "7", "p-16").await, deposit(&store, "7", "p-17").await);
        let consumer = Consumer::new("account:command", Component { is_down: false });
        let mut running = consumer.start(&store).await.unwrap();
        running.wait_for(payment.global_position).await.unwrap();
        let _ = running.stop().await.unwrap();
        let said = follow(shell, "See what became of a payment");
        assert!(said.contains("└─ Deposited  account-7 at 1"), "{said}");
        assert!(said.contains("reference: \"p-16\" → \"p-17\""), "{said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_category_is_moved_and_a_backup_is_checked() {
    on_each_store(async |shell: &Shell| {
        for (stream, message_type) in [("account-7", "Opened"), ("account:command-7", "Open"), ("mail-7", "Sent")] {
            shell.succeeds(&["write", stream, message_type]);
        }
        let said = follow(shell, "Move a category");
        assert!(said.contains("account:command"), "{said}");
        let said = follow(shell, "Check a backup");
        let counts: Vec<&str> = said.lines().filter(|line| line.contains("account ")).collect();
        assert_eq!(counts.len(), 2, "{said}");
    })
    .await;
}

#[test]
fn each_recipe_has_a_test() {
    let titles: Vec<&str> = PAGE.split("\n## ").skip(1).map(|section| section.lines().next().unwrap()).collect();
    let tested = include_str!("recipes.rs");
    assert_eq!(titles.len(), 5);
    assert!(titles.iter().all(|title| tested.contains(&format!("\"{title}\""))), "{titles:?}");
}
