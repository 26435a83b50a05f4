//! A component moves to another store by an export, and loses and repeats nothing.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::operations::{Export, Exported, Import, Imported};
use message_store::store::{Due, TimerChange, TimerKey, TimerQuery};
use message_store::{Category, Error, GlobalPosition, Json, MessageStore, NewMessage, StreamName, connect};
use message_store_tests::accounts::{balance, member, messages_of, postgres, send_deposits, sqlite};
use message_store_tests::expire::AgeingStore;

type Store = Arc<dyn MessageStore>;

/// The lines of an export, in pages of three messages.
async fn export(store: &Store, category: Option<&str>) -> Vec<String> {
    let (export, category) = (Export::of(store), category.map(|name| Category::new(name).unwrap()));
    let (mut lines, mut after) = (Vec::new(), GlobalPosition::ZERO);
    loop {
        let page = export.messages(category.as_ref(), after, 3).await.unwrap();
        if page.is_end {
            break;
        }
        after = page.looked_through;
        lines.extend(page.messages);
    }
    lines.extend(export.timers(category.as_ref()).await.unwrap());
    lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect()
}

async fn import(store: &Store, lines: &[String]) -> Imported {
    let part: Vec<Exported> = lines.iter().map(|line| line.parse().unwrap()).collect();
    Import::to(store).write(part).await.unwrap()
}

/// Carries out all commands of a store in which the first three of six were carried out, and a timer waits.
async fn half_done(store: &Store) {
    send_deposits(store, "padding", "1", 20).await;
    let deposits = send_deposits(store, "account:command", "1", 6).await;
    for deposit in &deposits[..3] {
        let _ = member(store, None).carry_out(deposit).await.unwrap();
    }
    let key = TimerKey::new(StreamName::new("account-1").unwrap(), "remind");
    let to = StreamName::new("account:command-1").unwrap();
    let set = TimerChange::set(key, Due::After(Duration::from_hours(1)), to, NewMessage::new("Remind", Json::NULL));
    store.timers().unwrap().change(vec![set]).await.unwrap();
}

async fn moved(from: &Store, to: &Store) {
    half_done(from).await;
    let lines = export(from, None).await;
    assert_eq!(lines.len(), 20 + 6 + 3 + 1);
    // The first import is broken off.
    let first = import(to, &lines[..25]).await;
    let second = import(to, &lines).await;
    assert_eq!((first.written, second.written, second.timers), (25, 4, 1));
    assert_eq!(import(to, &lines).await, Imported::default(), "it is all there");
    let (ours, theirs) = (messages_of(from, "account:command").await, messages_of(to, "account:command").await);
    assert!(ours.iter().zip(&theirs).all(|(our, their)| our.id == their.id), "{theirs:?}");
    for command in theirs {
        let _ = member(to, None).carry_out(&command).await.unwrap();
    }
    assert_eq!(balance(to, "1").await, 6);
    let timers = to.timers().unwrap().list(TimerQuery::new()).await.unwrap();
    assert_eq!((timers.len(), timers[0].key.name.as_str()), (1, "remind"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_goes_on_after_an_import_from_sqlite_into_postgres() {
    moved(&sqlite().await, &postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_goes_on_after_an_import_from_postgres_into_sqlite() {
    moved(&postgres().await, &sqlite().await).await;
}

/// Twin: without the origins, the commands that were carried out are carried out again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_an_import_of_messages_without_their_origin_is_refused() {
    let (from, to) = (sqlite().await, sqlite().await);
    send_deposits(&from, "account:command", "1", 1).await;
    let line = export(&from, None).await.remove(0);
    let mut message: serde_json::Value = serde_json::from_str(&line).unwrap();
    message["metadata"] = serde_json::json!({});
    let refused = Import::to(&to).write(vec![message.to_string().parse().unwrap()]).await;
    assert!(matches!(&refused, Err(Error::Invalid { .. })), "{refused:?}");
    let refused = Import::to(&from).write(vec![line.parse().unwrap()]).await;
    assert!(matches!(&refused, Err(Error::Invalid { .. })), "{refused:?}");
    for line in ["", "{}", "7", r#"{"timer":{}}"#, &line[..line.len() - 1]] {
        assert!(matches!(line.parse::<Exported>(), Err(Error::Invalid { .. })), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_by_category_has_its_messages_and_its_timers_and_no_positions() {
    for ageing in [AgeingStore::sqlite(), AgeingStore::postgres().await] {
        let store = connect(&ageing.url()).await.unwrap();
        half_done(&store).await;
        send_deposits(&store, "account:command+position", "1", 1).await;
        assert_eq!(export(&store, Some("account")).await.len(), 3 + 1);
        assert_eq!(export(&store, Some("account:command")).await.len(), 6);
        assert_eq!(export(&store, None).await.len(), 30);
        let positions = Category::new("account:command+position").unwrap();
        let refused = Export::of(&store).messages(Some(&positions), GlobalPosition::ZERO, 10).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
}
