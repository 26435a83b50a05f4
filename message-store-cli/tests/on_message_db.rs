//! On Message DB's own schema, what can work works, and the rest says how to get it.
#![allow(clippy::unwrap_used)]

mod shell;

use message_store_tests::message_db::{self, message_db, write_message};
use shell::{Shell, types};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_work_on_message_dbs_own_schema_works() {
    let database = message_db().await;
    let client = message_db::connect(database.url(), Some("message_store")).await;
    for (stream, data) in
        [("account-1", "{\"amount\":5}"), ("account-1", "{\"amount\":7}"), ("account:command-1", "{}")]
    {
        write_message(&client, stream, data).await.unwrap();
    }
    let shell = Shell(database.url().to_owned());
    let read = shell.json(&["read", "account-1"]);
    assert_eq!(read.len(), 2);
    let message_type = types(&read)[0].to_owned();
    assert_eq!(shell.json(&["read", "account"]).len(), 2);
    assert!(shell.succeeds(&["get", read[0]["id"].as_str().unwrap()]).contains("\"amount\": 5"));
    assert!(shell.succeeds(&["last", "account-1"]).contains("\"amount\": 7"));
    assert_eq!(shell.json(&["search", "--category", "account", "--text", "7"]).len(), 1);
    assert_eq!(shell.json(&["stats"]).len(), 2);
    assert_eq!(types(&shell.json(&["types", "account"])), [message_type.as_str()]);
    assert_eq!(shell.json(&["streams", "account"]).len(), 1);
    assert_eq!(shell.json(&["history", "account-1"])[1]["changes"]["amount"]["before"], 5);
    assert_eq!(shell.succeeds(&["export", "account", "account:command"]).lines().count(), 3);
    assert!(shell.succeeds(&["verify"]).is_empty() || shell.run(&["verify"]).status.success());
    shell.succeeds(&["write", "account-2", "Opened"]);
    shell.succeeds(&["consumers", "pause", "--category", "account:command", "--why", "a test", "--yes"]);
    shell.succeeds(&["consumers", "resume", "--category", "account:command"]);
    assert!(shell.fails(3, &["consumers", "list", "--category", "account:command"]).contains("has ever run"));
    shell.fails(6, &["check"]);
    let troubles = String::from_utf8(shell.run(&["diagnose"]).stdout).unwrap();
    assert!(troubles.contains("schema-to-upgrade") && troubles.contains("migrate --adopt"), "{troubles}");

    let id = read[0]["id"].as_str().unwrap();
    for unsupported in [&["read"][..], &["get", "1"], &["trace", id], &["search"]] {
        let said = shell.fails(1, unsupported);
        assert!(said.contains("migrate --adopt"), "{unsupported:?}: {said}");
    }
    for without in
        [&["timers", "list"][..], &["groups", "list"], &["read-models", "list"], &["services"], &["dedup", "sweep"]]
    {
        let said = shell.fails(1, without);
        assert!(said.contains("this store"), "{without:?}: {said}");
    }
    let explained = shell.succeeds(&["explain", id]);
    assert!(explained.contains("account-1") && explained.contains("not looked for"), "{explained}");
    // Adopted, it has everything.
    shell.succeeds(&["migrate", "--adopt"]);
    assert_eq!(shell.json(&["trace", id]).len(), 1);
    assert!(shell.json(&["read"]).len() >= 4);
    shell.succeeds(&["timers", "list"]);
}
