//! Writes and reads messages as an operator does, on each store; and names stores.
#![allow(clippy::unwrap_used)]

mod shell;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use shell::{Shell, on_each_store, program, types};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_written_and_read() {
    on_each_store(async |shell: &Shell| {
        let opened =
            shell.json(&["write", "account-1", "Opened", "--data", r#"{"by":"ann"}"#, "--expected", "no-stream"]);
        assert_eq!((opened[0]["position"].as_i64(), opened[0]["alreadyWritten"].as_bool()), (Some(0), Some(false)));
        shell.succeeds(&["write", "account-1", "Deposited", "--metadata", r#"{"tag":"é"}"#, "--expected", "0"]);
        shell.succeeds(&["write", "account-2", "Opened"]);
        shell.succeeds(&["write", "other-1", "Closed"]);

        assert_eq!(types(&shell.json(&["read", "account-1"])), ["Opened", "Deposited"]);
        assert_eq!(types(&shell.json(&["read", "account-1", "--backwards", "--limit", "1"])), ["Deposited"]);
        assert_eq!(types(&shell.json(&["read", "account"])), ["Opened", "Deposited", "Opened"]);
        assert_eq!(types(&shell.json(&["read", "account", "--type", "Opened", "--limit", "1"])), ["Opened"]);
        assert_eq!(types(&shell.json(&["read"])), ["Opened", "Deposited", "Opened", "Closed"]);
        assert_eq!(shell.json(&["read", "none"]).len(), 0);
        let first = &shell.json(&["read", "account-1"])[0];
        assert_eq!(first["data"], serde_json::json!({"by":"ann"}));
        let rest = shell.json(&["read", "--from", &(first["globalPosition"].as_i64().unwrap() + 1).to_string()]);
        assert_eq!(rest.len(), 3);

        for name in [first["id"].as_str().unwrap(), &first["globalPosition"].to_string()] {
            assert!(shell.succeeds(&["get", name]).contains("ann"));
        }
        assert!(shell.succeeds(&["last", "account-1"]).contains("Deposited"));
        assert!(shell.succeeds(&["last", "account-1", "--type", "Opened"]).contains("account-1"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exit_code_says_why_a_command_failed() {
    on_each_store(async |shell: &Shell| {
        let id = "0192f0c1-2222-7333-8444-555566667777";
        shell.succeeds(&["write", "account-1", "Opened", "--id", id]);
        assert_eq!(shell.json(&["write", "account-1", "Opened", "--id", id])[0]["alreadyWritten"], true);
        assert!(shell.fails(4, &["write", "account-1", "Closed", "--id", id]).contains(id));
        assert!(shell.fails(4, &["write", "account-1", "Closed", "--expected", "no-stream"]).contains("account-1"));
        assert!(shell.fails(3, &["get", "0192f0c1-2222-7333-8444-555566660000"]).contains("there is no message"));
        assert!(shell.fails(3, &["get", "999999"]).contains("999999"));
        assert!(shell.fails(3, &["last", "account-9"]).contains("no messages"));
        assert!(shell.fails(3, &["last", "account-1", "--type", "Closed"]).contains("has no Closed"));
        assert!(shell.fails(1, &["write", "account-1", "Closed", "--data", "{"]).contains("the data"));
        assert!(shell.fails(1, &["read", "account", "--backwards"]).contains("only a stream"));
        shell.fails(2, &["get", "yesterday"]);
        shell.fails(2, &["write", "account-1"]);
    })
    .await;
    let nowhere = |url: &str| Shell(url.to_owned());
    assert!(nowhere("").fails(2, &["read"]).contains("MESSAGE_STORE_URL"));
    assert!(nowhere("sqlite:/nonexistent/store.db").fails(3, &["read"]).contains("migrate"));
    // Nothing listens there.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    nowhere(&format!("postgres://ann@{unused}/none")).fails(5, &["read"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_found_a_page_at_a_time() {
    on_each_store(async |shell: &Shell| {
        for number in 0..30 {
            let stream = format!("{}-{}{}", ["account", "other"][number % 2], number % 5, ["", "+log"][number / 5 % 2]);
            let (data, metadata) = (
                format!("{{\"note\":\"n{number}.\"}}"),
                format!("{{\"messageStore\":{{\"tags\":[\"tag:{}\"]}}}}", number % 3),
            );
            let message_type = ["A", "B", "C"][number % 3];
            shell.succeeds(&["write", &stream, message_type, "--data", &data, "--metadata", &metadata]);
        }
        let notes = |arguments: &[&str]| -> Vec<usize> {
            let found = shell.json(&[&["search"], arguments].concat());
            let note =
                |message: &Value| message["data"]["note"].as_str().unwrap().trim_matches(['n', '.']).parse().unwrap();
            found.iter().map(note).collect()
        };
        let of = |is_found: fn(usize) -> bool| (0..30).filter(|number| is_found(*number)).collect::<Vec<usize>>();
        assert_eq!(notes(&[]), of(|_| true));
        assert_eq!(notes(&["--category", "account"]), of(|n| n % 2 == 0));
        assert_eq!(notes(&["--category", "account", "--entity", "2"]), of(|n| n % 2 == 0 && n % 5 == 2));
        assert_eq!(notes(&["--entity", "2", "--type", "B", "--type", "C"]), of(|n| n % 5 == 2 && n % 3 > 0));
        assert_eq!(notes(&["--category", "other", "--tag", "tag:1"]), of(|n| n % 2 == 1 && n % 3 == 1));
        assert_eq!(notes(&["--tag", "tag:1", "--text", "n1"]), of(|n| n % 3 == 1 && n.to_string().starts_with('1')));
        assert_eq!(notes(&["--text", "n7."]), [7]);
        let all = shell.json(&["read"]);
        let (from, to) = (all[10]["time"].as_str().unwrap(), all[20]["time"].as_str().unwrap());
        let between: Vec<usize> = (0..30).filter(|n| (from..to).contains(&all[*n]["time"].as_str().unwrap())).collect();
        assert!(between.len() >= 8 && notes(&["--since", from, "--until", to]) == between, "{between:?}");
        assert_eq!(notes(&["--since", "1h"]).len(), 30);
        assert_eq!(notes(&["--until", "1h"]).len(), 0);

        // Each page says where the next one begins.
        for filter in
            [&["--type", "B"][..], &["--category", "account", "--entity", "2"], &["--look-at", "1", "--text", "n2"]]
        {
            let (mut found, mut after) = (Vec::new(), "0".to_owned());
            for _ in 0..99 {
                let arguments = [&["search", "--limit", "2", "--after", &after, "-o", "ndjson"], filter].concat();
                let output = shell.run(&arguments);
                found.extend(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned));
                let said = String::from_utf8(output.stderr).unwrap();
                let Some((_, next)) = said.split_once("--after ") else {
                    assert!(said.contains("looked through all"), "{said}");
                    break;
                };
                next.trim_end_matches(")\n").clone_into(&mut after);
            }
            let whole = shell.json(&[&["search"], filter].concat()).len().max(notes(filter).len());
            let expected = if filter.contains(&"--look-at") { 11 } else { whole };
            assert_eq!(found.len(), expected, "{filter:?}");
        }
    })
    .await;
}

#[test]
fn output_is_a_table_json_ndjson_or_csv() {
    let folder = tempfile::tempdir().unwrap();
    let shell = Shell(format!("sqlite:{}", folder.path().join("store.db").display()));
    shell.succeeds(&["migrate"]);
    let long = format!("{{\"text\":\"\\u001b[31m,{}\"}}", "x".repeat(200));
    shell.succeeds(&["write", "account-1", "Opened", "--data", &long]);
    shell.succeeds(&["write", "account-1", "Closed"]);
    let table = shell.succeeds(&["read"]);
    assert_eq!((table.lines().count(), table.contains('…'), table.contains('\u{1b}')), (3, true, false), "{table}");
    let lines = shell.succeeds(&["read", "-o", "ndjson"]);
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(types(&objects), ["Opened", "Closed"]);
    let csv = shell.succeeds(&["read", "-o", "csv"]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap().get(4), Some("global position"));
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!((rows.len(), rows[1].get(2), rows[1].get(5)), (2, Some("Closed"), Some("")));
    assert_eq!(serde_json::from_str::<Value>(rows[0].get(5).unwrap()).unwrap(), objects[0]["data"]);
    // A reader that stops early is no error.
    let quiet = Command::new("bash")
        .args([
            "-c",
            &format!(
                "set -o pipefail; {} read -o ndjson --store {} | head -n 0",
                env!("CARGO_BIN_EXE_message-store"),
                shell.0
            ),
        ])
        .output()
        .unwrap();
    assert!(quiet.status.success() && quiet.stderr.is_empty(), "{quiet:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_prints_messages_as_they_are_written() {
    on_each_store(async |shell: &Shell| {
        shell.succeeds(&["write", "account-1", "Before"]);
        let url = &shell.0;
        let mut tail = program();
        tail.args([
            "tail", "account", "--after", "0", "--limit", "3", "--type", "Before", "--type", "After", "-o", "ndjson",
        ]);
        let mut tail = tail.env("MESSAGE_STORE_URL", url).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("Before"));
        for (stream, message_type) in
            [("account-2", "After"), ("other-1", "After"), ("account-1", "Ignored"), ("account-1", "After")]
        {
            shell.succeeds(&["write", stream, message_type]);
        }
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(rest[0].contains("account-2") && rest[1].contains("account-1"), "{rest:?}");
        assert!(tail.wait().unwrap().success());
    })
    .await;
}

#[test]
fn a_context_names_a_store_and_the_file_of_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings/contexts.toml");
    let run = |arguments: &[&str]| program().args(arguments).env("MESSAGE_STORE_CONTEXTS", &file).output().unwrap();
    let said = |output: Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let local = format!("sqlite:{}", folder.path().join("store.db").display());
    assert!(run(&["context", "set", "local", "--store", &local]).status.success());
    assert!(run(&["migrate"]).status.success(), "the first context is the current one");
    assert!(run(&["write", "account-1", "Opened", "--context", "local"]).status.success());
    assert!(said(run(&["read"])).contains("Opened"));
    assert_eq!(run(&["read", "--context", "other"]).status.code(), Some(3));

    write_file(&folder.path().join("password"), "se:cret\n");
    let password = folder.path().join("password").display().to_string();
    let set = ["context", "set", "far", "--store", "postgres://ann@127.0.0.1:1/db", "--password-file", &password];
    assert!(run(&set).status.success());
    assert!(run(&["context", "use", "far"]).status.success());
    let refused = run(&["read"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(!said(refused).contains("cret"));
    let with_password = run(&["context", "set", "open", "--store", "postgres://ann:hunter2@host/db"]);
    assert!(said(with_password).contains("warning"));
    let list = said(run(&["context", "list"]));
    assert!(list.contains("far") && !list.contains("hunter2") && !list.contains("cret"), "{list}");
    assert!(run(&["context", "remove", "far"]).status.success());
    assert_eq!(run(&["read"]).status.code(), Some(2), "no context is current");
    assert!(said(run(&["read", "--store", "postgres://ann:hunter2@127.0.0.1:1/db"])).contains("other users"));
}

fn write_file(path: &Path, text: &str) {
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_shell_gets_completions_and_a_manual() {
    for shell in ["bash", "zsh", "fish"] {
        let output = program().args(["completions", shell]).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains("dead-letters"), "{shell}");
    }
    let manual = String::from_utf8(program().arg("man").output().unwrap().stdout).unwrap();
    assert!(manual.contains(".TH message-store") && manual.contains("message\\-store\\-read"), "{manual}");
}

/// The blocks of the guide's page, in its order.
#[test]
fn the_commands_of_the_guide_run() {
    const PAGE: &str = include_str!("../../docs/guide/src/command-line.md");
    let folder = tempfile::tempdir().unwrap();
    let path = format!(
        "{}:{}",
        Path::new(env!("CARGO_BIN_EXE_message-store")).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut blocks = PAGE.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).peekable();
    assert!(blocks.peek().is_some());
    for block in blocks {
        let output = Command::new("bash")
            .args(["-c", &format!("set -euo pipefail\n{block}")])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env_remove("MESSAGE_STORE_URL")
            .env_remove("MESSAGE_STORE_CONTEXT")
            .env("MESSAGE_STORE_CONTEXTS", folder.path().join("contexts.toml"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{block}\n{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        if block.contains("tail") {
            assert_eq!(said.matches("already written").count(), 3, "{said}");
            assert!(said.contains("true") && said.contains("Ann"), "{said}");
        }
    }
}
