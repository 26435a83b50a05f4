//! Runs the commands as an operator does, on a SQLite file. Other tests cover the functions that they call on
//! PostgreSQL.
#![allow(clippy::unwrap_used)]

mod shell;

use std::process::Output;

use async_trait::async_trait;
use message_store::consumer::{Consumer, OnFailure};
use message_store::handling::{Context, Handler};
use message_store::{Append, GlobalPosition, Json, Message, NewMessage, Outcome, Source, StreamName, connect};
use shell::{Nothing, program};

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// Runs the program, which must succeed. Returns its standard output.
fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program, which must fail with the exit code 1. Returns its standard error.
fn fails(arguments: &[&str]) -> String {
    fails_with(1, arguments)
}

/// Runs the program, which must end with this code. Returns its standard error.
fn fails_with(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn migrate_creates_a_file_and_check_reports_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    assert!(fails_with(3, &["check", "--store", &url]).contains("there is no such file"));
    assert!(succeeds(&["migrate", "--store", &url]).contains("the schema is current"));
    assert!(succeeds(&["check", "--store", &url]).contains("the schema is current"));
}

#[test]
fn a_feature_that_sqlite_does_not_have_is_refused_by_name() {
    let error = fails(&["allow-sql-condition", "--store", "sqlite:store.db"]);
    assert!(error.contains("only a store on PostgreSQL has SQL conditions"), "{error}");
}

#[test]
fn a_url_with_another_scheme_is_refused_with_the_expected_form() {
    for command in ["migrate", "check"] {
        let error = fails_with(2, &[command, "--store", "mysql://localhost/x"]);
        assert!(error.contains("postgres://"), "{error}");
    }
}

/// Writes three messages, and handles them with a consumer without an identifier.
async fn three_messages_are_handled(url: &str) {
    let store = connect(url).await.unwrap();
    let mut last = GlobalPosition::ZERO;
    for number in 1..=3 {
        let stream = StreamName::new(format!("account:command-{number}")).unwrap();
        let message = NewMessage::new("Open", Json::NULL);
        last = store.append(Append::to(stream).message(message).into()).await.unwrap().written[0].global_position;
    }
    let mut consumer = Consumer::new("account:command", Nothing).start(&store).await.unwrap();
    consumer.wait_for(last).await.unwrap();
    let _ = consumer.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_listed_shown_and_set() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    let of = ["--store", &url, "--category", "account:command"];
    let run = |action: &[&'static str]| -> Vec<&str> { [&["consumers"], &action[..1], &of, &action[1..]].concat() };
    assert!(fails_with(3, &run(&["list"])).contains("there is no such file"));
    three_messages_are_handled(&url).await;

    let list = succeeds(&run(&["list"]));
    let fields: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((fields[0], fields[4], *fields.last().unwrap()), ("-", "0", "stopped"), "{list}");
    assert!(succeeds(&run(&["check"])).contains("up to date"));
    let planned = succeeds(&run(&["reset", "--to", "beginning", "--dry-run"]));
    assert!(
        planned.contains("to 0: 3 messages are delivered again") && planned.contains("(nothing was set)"),
        "{planned}"
    );
    assert!(succeeds(&run(&["show"])).contains(fields[2]));
    assert!(succeeds(&run(&["reset", "--to", "beginning", "--yes"])).contains("to 0"));
    let behind = succeeds(&run(&["show"]));
    let late = crate::run(&run(&["check", "--messages", "2"]));
    assert_eq!(late.status.code(), Some(6), "{late:?}");
    assert!(String::from_utf8(late.stdout).unwrap().lines().count() == 2, "the consumer that is behind");
    assert!(succeeds(&run(&["check", "--messages", "3"])).contains("up to date"));
    assert_eq!(behind.lines().nth(1).unwrap().split_whitespace().nth(4), Some("3"), "{behind}");
    assert!(succeeds(&run(&["reset", "--to", "2100-01-01T00:00:00Z", "--yes"])).contains("from 0"));
    assert!(fails(&run(&["reset", "--to", "999999"])).contains("is beyond the last one"));
    assert!(succeeds(&run(&["show", "--identifier", "new", "--member", "1/2"])).contains("has never run"));
    assert!(succeeds(&["read-models", "--store", &url, "list"]).contains("position"));
    assert!(succeeds(&["read-models", "--store", &url, "skipped", "none"]).contains("error"));
    assert!(
        fails_with(3, &["read-models", "--store", &url, "switch", "none", "--to", "2"]).contains("has no version 2")
    );
    assert!(fails_with(3, &["read-models", "--store", &url, "set", "none", "--to", "0"]).contains("was ever updated"));
    assert!(fails(&["read-models", "--store", &url, "set", "none", "--to", "999999"]).contains("is beyond the last"));
}

/// A database of something else.
#[test]
fn a_command_that_reads_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE a (b)").unwrap();
    let url = format!("sqlite:{}", path.display());
    for arguments in [&["check"][..], &["identity", "show"], &["read-models", "list"]] {
        let mut arguments = arguments.to_vec();
        arguments.splice(1..1, ["--store", &url]);
        assert!(fails(&arguments).contains("has no message store"), "{arguments:?}");
    }
    let tables: i64 = other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

/// Refuses every message.
struct Refuses;

#[async_trait]
impl Handler for Refuses {
    fn name(&self) -> &'static str {
        "Refuses"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec![]
    }

    async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        Err("a bad message".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_counted_shown_retried_and_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    three_messages_are_handled(&url).await;
    let of = ["--store", &url, "--category", "account:command", "--identifier", "letters"];
    let run = |action: &[&'static str]| -> Vec<&str> { [&["dead-letters"], &action[..1], &of, &action[1..]].concat() };
    assert!(fails(&run(&["list"])).contains("has ever run"));

    let store = connect(&url).await.unwrap();
    let consumer = Consumer::new("account:command", Refuses).identifier("letters").max_attempts(1);
    let mut consumer = consumer.on_failure(OnFailure::Park).start(&store).await.unwrap();
    let last = store.given_out(None).await.unwrap();
    consumer.wait_for(last.min(GlobalPosition::new(3))).await.unwrap();
    let _ = consumer.stop().await.unwrap();

    let list = succeeds(&run(&["list"]));
    assert_eq!(list.matches("a bad message").count(), 3, "{list}");
    assert_eq!(succeeds(&run(&["count", "--entity", "2", "--text", "bad", "--type", "Open"])).trim(), "1");
    assert_eq!(succeeds(&run(&["count", "--state", "delayed"])).trim(), "0");
    let id: &'static str = list.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned().leak();
    assert!(succeeds(&run(&["show", id])).contains("1 attempts, Failed: a bad message"));
    assert_eq!(succeeds(&run(&["count", "--error-class", "failed"])).trim(), "3");
    assert_eq!(succeeds(&run(&["count", "--error-class", "timed-out"])).trim(), "0");
    let planned = succeeds(&run(&["retry", "--all", "--dry-run"]));
    assert!(planned.contains("3 letters are selected, 3 are shown"), "{planned}");
    assert!(succeeds(&run(&["discard", id, "--why", "a test"])).contains("is discarded"));
    let again = fails(&run(&["discard", id, "--why", "a test"]));
    assert!(again.contains("nothing was changed") && again.contains("discarded: a test"), "{again}");
    let nobody = run(&["discard", "--all", "--why", "a test"]);
    assert!(fails_with(7, &nobody).contains("nothing was changed"));
    let id: &'static str = list.lines().nth(2).unwrap().split_whitespace().next().unwrap().to_owned().leak();
    assert!(succeeds(&run(&["retry", id, "--edited", "{\"a\":1}"])).contains("the edited message is at"));
    assert!(succeeds(&run(&["retry", "--all", "--yes"])).contains("1 deliveries were requested"));
    assert_eq!(succeeds(&run(&["count", "--state", "closed"])).trim(), "2");
    assert_eq!(succeeds(&run(&["count", "--state", "retrying"])).trim(), "1");
}

#[test]
fn each_command_has_a_help_text() {
    for arguments in [
        &["--help"][..],
        &["migrate", "--help"],
        &["check", "--help"],
        &["allow-sql-condition", "--help"],
        &["consumers", "--help"],
        &["dead-letters", "--help"],
        &["dead-letters", "retry", "--help"],
        &["consumers", "reset", "--help"],
        &["read-models", "--help"],
    ] {
        let help = succeeds(arguments);
        assert!(help.contains("Usage: message-store") && help.lines().count() > 5, "{help}");
    }
}
