//! Groups, timers, keys and transfers, as an operator sees and changes them, on each store.
#![allow(clippy::unwrap_used)]

mod shell;

use std::time::Duration;

use message_store::consumer::{Consumer, ElasticGroup};
use message_store::intents::Once;
use message_store::store::{Due, TimerChange, TimerKey, Window};
use message_store::{Error, Json, Key, NewMessage, StreamName};
use shell::{Nothing, Shell, on_each_store, on_sql_stores, types};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_and_slots_of_a_group_are_listed() {
    on_each_store(async |shell: &Shell| {
        assert!(shell.fails(3, &["groups", "slots", "--category", "account:command"]).contains("account:command"));
        let store = shell.open().await;
        let group = ElasticGroup::new().slots(8).member("one");
        let member = Consumer::new("account:command", Nothing).elastic_group(group).start(&store).await.unwrap();
        while member.slots().len() < 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let groups = shell.json(&["groups", "list"]);
        assert_eq!(
            (groups[0]["members"].as_i64(), groups[0]["unownedSlots"].as_i64()),
            (Some(1), Some(0)),
            "{groups:?}"
        );
        let owners = shell.json(&["groups", "owners", "--category", "account:command"]);
        assert_eq!((owners[0]["member"].as_str(), owners[0]["slots"].as_i64()), (Some("one"), Some(8)), "{owners:?}");
        let slots = shell.json(&["groups", "slots", "--category", "account:command"]);
        assert!(slots.len() == 8 && slots.iter().all(|slot| slot["owner"] == "one"), "{slots:?}");
        let _ = member.stop().await.unwrap();
        let slots = shell.json(&["groups", "slots", "--category", "account:command"]);
        assert!(slots.iter().all(|slot| slot["owner"].is_null()), "{slots:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_are_listed_and_cancelled() {
    on_each_store(async |shell: &Shell| {
        let store = shell.open().await;
        for (stream, name, seconds) in
            [("transfer-1", "time-out", 60), ("transfer-2", "time-out", 30), ("other-1", "wake", 10)]
        {
            let key = TimerKey::new(StreamName::new(stream).unwrap(), name);
            let (to, message) =
                (StreamName::new("transfer:command-1").unwrap(), NewMessage::new("TimeOut", Json::NULL));
            let set = TimerChange::set(key, Due::After(Duration::from_secs(seconds)), to, message);
            store.timers().unwrap().change(vec![set]).await.unwrap();
        }
        let streams = |timers: Vec<serde_json::Value>| -> Vec<String> {
            timers.iter().map(|timer| timer["stream"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(streams(shell.json(&["timers", "list"])), ["other-1", "transfer-2", "transfer-1"]);
        assert_eq!(streams(shell.json(&["timers", "list", "--category", "transfer", "--limit", "1"])), ["transfer-2"]);
        assert_eq!(streams(shell.json(&["timers", "list", "--due-within", "20"])), ["other-1"]);
        let cancel = ["timers", "cancel", "transfer-2", "time-out"];
        let planned = shell.succeeds(&[&cancel[..], &["--dry-run"]].concat());
        assert!(planned.contains("TimeOut") && planned.contains("nothing was cancelled"), "{planned}");
        // Standard input is empty, so nobody answers.
        shell.fails(7, &cancel);
        assert!(shell.succeeds(&[&cancel[..], &["--yes"]].concat()).contains("is cancelled"));
        assert!(shell.fails(3, &[&cancel[..], &["--yes"]].concat()).contains("does not wait"));
        assert!(shell.fails(3, &cancel).contains("does not wait"));
        assert_eq!(streams(shell.json(&["timers", "list"])), ["other-1", "transfer-1"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn categories_are_copied_to_another_store_and_once_is_enough() {
    on_each_store(async |shell: &Shell| {
        let folder = tempfile::tempdir().unwrap();
        let other = Shell(format!("sqlite:{}", folder.path().join("other.db").display()));
        let copy = ["transfer", "--to", &other.0, "account", "account:command"];
        assert!(shell.fails(3, &copy).contains("no such file"));
        other.succeeds(&["migrate"]);
        for (stream, message_type) in [("account-1", "Opened"), ("account:command-1", "Open"), ("account-2", "Opened")]
        {
            shell.succeeds(&["write", stream, message_type]);
        }
        let counted = shell.json(&[&copy[..], &["--dry-run"]].concat());
        assert_eq!(
            (counted[0]["messages"].as_i64(), counted[1]["messages"].as_i64()),
            (Some(2), Some(1)),
            "{counted:?}"
        );
        shell.fails(7, &copy);
        assert_eq!(other.json(&["read"]).len(), 0);
        let copied = shell.json(&[&copy[..], &["--yes"]].concat());
        assert_eq!((copied[0]["written"].as_i64(), copied[0]["verified"].as_i64()), (Some(2), Some(2)), "{copied:?}");
        assert_eq!(types(&other.json(&["read"])), ["Opened", "Opened", "Open"]);
        let again = shell.json(&[&copy[..], &["--yes"]].concat());
        assert_eq!((again[0]["written"].as_i64(), again[0]["verified"].as_i64()), (Some(0), Some(2)), "{again:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_removed_when_their_windows_are_over() {
    on_each_store(async |shell: &Shell| {
        let store = shell.open().await;
        for (scope, window) in [("short", Window::of(Window::SHORTEST).unwrap()), ("long", Window::HANDLERS)] {
            let once = Once::new(&store, scope).unwrap().window(window);
            let nothing = async || Ok::<_, Error>((Vec::new(), ()));
            let _ = once.run(&Key::new("key").unwrap(), &Json::NULL, nothing).await.unwrap();
        }
        tokio::time::sleep(Window::SHORTEST * 2).await;
        assert_eq!(shell.json(&["dedup", "sweep"])[0]["removedKeys"], 1);
        assert_eq!(shell.json(&["dedup", "sweep"])[0]["removedKeys"], 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_has_done_is_said_to_programs_too() {
    on_sql_stores(async |shell: &Shell| {
        shell.succeeds(&["write", "account-1", "Opened", "--data", "{}"]);
        let store = shell.open().await;
        let mut consumer = Consumer::new("account", Nothing).start(&store).await.unwrap();
        let written = shell.json(&["read", "account"])[0]["globalPosition"].as_i64().unwrap();
        consumer.wait_for(message_store::GlobalPosition::new(written)).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let of = ["--category", "account"];
        let with = |arguments: &[&'static str]| [arguments, &of].concat();
        assert_eq!(shell.json(&with(&["consumers", "check"])), [serde_json::json!(null); 0]);
        let paused = shell.json(&with(&["consumers", "pause", "--why", "w", "--yes"]));
        assert_eq!(paused[0], serde_json::json!({"paused": true, "wasPaused": false}));
        assert_eq!(shell.json(&with(&["consumers", "resume"]))[0]["wasPaused"], true);
        assert_eq!(shell.json(&with(&["consumers", "reset", "--to", "end", "--yes"]))[0]["set"], 1);
        assert!(shell.json(&["identity", "show"])[0]["identity"].is_string());
        assert!(shell.json(&["migrate"])[0].as_object().unwrap().contains_key("found"));
        let archived = shell.json(&["archive", "account", "--before", "2020-01-01T00:00:00Z", "--yes"]);
        assert_eq!(archived[0]["moved"], 0);
        assert!(shell.json(&["erase", "account-1", "--yes"])[0]["erased"].as_str().unwrap().contains('1'));
        // What is not there has a code of its own.
        shell.fails(3, &with(&["consumers", "show", "--identifier", "none"]));
        shell.fails(3, &["read-models", "switch", "none", "--to", "2"]);
        shell.fails(3, &["read-models", "set", "none", "--to", "0"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_is_paused_and_goes_on() {
    on_each_store(async |shell: &Shell| {
        let consumer = ["--category", "account:command"];
        let with = |arguments: &[&'static str]| [arguments, &consumer].concat();
        shell.fails(2, &with(&["consumers", "pause"]));
        shell.fails(7, &with(&["consumers", "pause", "--why", "a test"]));
        assert!(
            shell
                .succeeds(&with(&["consumers", "pause", "--why", "a test", "--dry-run"]))
                .contains("nothing was paused")
        );
        assert!(shell.succeeds(&with(&["consumers", "pause", "--why", "a test", "--yes"])).contains("it is paused"));
        assert!(shell.succeeds(&with(&["consumers", "pause", "--why", "a test", "--yes"])).contains("already"));
        shell.succeeds(&["write", "account:command-1", "Open"]);
        let store = shell.open().await;
        let mut running = Consumer::new("account:command", Nothing).start(&store).await.unwrap();
        assert_eq!(running.status().pause().unwrap().reason, "a test");
        assert!(shell.json(&with(&["consumers", "list"]))[0]["state"].as_str().unwrap().contains("a test"));
        assert!(shell.succeeds(&with(&["consumers", "resume"])).contains("it goes on"));
        assert!(shell.succeeds(&with(&["consumers", "resume"])).contains("was not paused"));
        let written = shell.json(&["read", "account:command"])[0]["globalPosition"].as_i64().unwrap();
        running.wait_for(message_store::GlobalPosition::new(written)).await.unwrap();
        let _ = running.stop().await.unwrap();
        let listed = shell.json(&with(&["consumers", "list"]));
        assert_eq!(
            (&listed[0]["state"], &listed[0]["outcomes"]),
            (&"stopped".into(), &serde_json::json!({"ignored": 1}))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_and_troubles_are_shown() {
    on_each_store(async |shell: &Shell| {
        // The server of the tests does not wait for the disk.
        let troubles = |arguments: &[&str]| -> Vec<String> {
            let output = shell.run(&[&["diagnose", "-o", "ndjson"], arguments].concat());
            let rows = String::from_utf8(output.stdout).unwrap();
            let rows: Vec<serde_json::Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
            let found: Vec<String> = rows.iter().map(|row| row["trouble"].as_str().unwrap().to_owned()).collect();
            assert_eq!(output.status.code(), Some(if found.is_empty() { 0 } else { 6 }), "{found:?}");
            found.into_iter().filter(|kind| kind != "not-durable").collect()
        };
        assert_eq!(troubles(&[]), [""; 0]);
        let store = shell.open().await;
        let service = message_store::service::Service::new(&store).name("greeter");
        let handle = service.consumer(Consumer::new("account:command", Nothing)).start().await.unwrap();
        while shell.json(&["services"]).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let services = shell.json(&["services"]);
        assert_eq!((&services[0]["service"], &services[0]["state"]), (&"greeter".into(), &"ready".into()));
        assert_eq!(shell.json(&["services", "--repeats"]).len(), 0);
        handle.stop();
        handle.ended().await.unwrap();
        assert_eq!(shell.json(&["services"])[0]["state"], "ended");
        assert_eq!(troubles(&["--patience", "0"]), [""; 0]);
        shell.succeeds(&["write", "account:command-1", "Open"]);
        assert_eq!(troubles(&["--patience", "0"]), ["consumer-stands-still"]);
        let text = String::from_utf8(shell.run(&["diagnose", "--patience", "0"]).stdout).unwrap();
        assert!(text.contains("consumers reset --category account:command --to end"), "{text}");
    })
    .await;
}
