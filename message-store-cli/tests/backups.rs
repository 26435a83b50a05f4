//! Exports, imports and verifications, as an operator makes them, on each store.
#![allow(clippy::unwrap_used)]

mod shell;

use std::fs;

use shell::{Shell, on_each_store, types};

/// A new store in a file, beside the one of the test.
fn another(folder: &tempfile::TempDir, name: &str) -> Shell {
    let shell = Shell(format!("sqlite:{}", folder.path().join(name).display()));
    shell.succeeds(&["migrate"]);
    shell
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_goes_on_where_it_ended_and_an_import_can_be_run_again() {
    on_each_store(async |shell: &Shell| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("export.ndjson");
        let path = file.to_str().unwrap();
        for (stream, message_type) in [("account-1", "Opened"), ("account:command-1", "Open"), ("account-2", "Opened")]
        {
            shell.succeeds(&["write", stream, message_type, "--data", "{\"a\":1}"]);
        }
        shell.succeeds(&["write", "account:command+position", "Recorded"]);
        shell.succeeds(&["export", "--to", path]);
        let first = fs::read_to_string(&file).unwrap();
        assert_eq!(first.lines().count(), 1 + 3, "{first}");
        // It was broken off in the middle of a line, and more was written since.
        fs::write(&file, &first[..first.len() - 9]).unwrap();
        shell.succeeds(&["write", "account-3", "Opened"]);
        shell.succeeds(&["export", "--to", path]);
        let lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 1 + 4);
        assert_eq!(shell.succeeds(&["export"]).lines().collect::<Vec<_>>(), lines[1..]);
        assert_eq!(shell.succeeds(&["export", "account"]).lines().count(), 3);
        assert!(shell.fails(1, &["export", "account:command+position"]).contains("own store only"));

        // What is no export of these categories and this store is left as it is.
        assert!(shell.fails(1, &["export", "--to", path, "account"]).contains("other categories"));
        let other = another(&folder, "other.db");
        assert!(other.fails(1, &["export", "--to", path]).contains("another store"));
        let notes = folder.path().join("notes");
        fs::write(&notes, "all my notes, without an end").unwrap();
        assert!(shell.fails(1, &["export", "--to", notes.to_str().unwrap()]).contains("no export"));
        assert_eq!(fs::read_to_string(&notes).unwrap(), "all my notes, without an end");
        assert!(shell.fails(1, &["export", "--to", "/dev/null"]).contains("is no file"));
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), lines.len());

        let output = other.run(&["import", path, "--dry-run"]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("4 messages and 0 timers"));
        other.fails(7, &["import", path]);
        assert_eq!(other.json(&["read"]).len(), 0);
        for (written, again) in [(4, false), (0, true)] {
            let imported = other.json(&["import", path, "--yes"]);
            assert_eq!(imported[0]["written"], written, "{again}");
        }
        assert_eq!(types(&other.json(&["read"])), ["Opened", "Open", "Opened", "Opened"]);
        let (ours, theirs) = (shell.json(&["read", "account-1"]), other.json(&["read", "account-1"]));
        assert_eq!((&ours[0]["id"], &ours[0]["data"]), (&theirs[0]["id"], &theirs[0]["data"]));
        assert!(shell.fails(1, &["import", path, "--yes"]).contains("was exported from this store"));
        fs::write(&file, "{\"id\":7}\n").unwrap();
        assert!(other.fails(1, &["import", path, "--yes"]).contains("line 1"));
        other.fails(1, &["import", "/nonexistent/file", "--yes"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_fails_if_something_is_wrong() {
    on_each_store(async |shell: &Shell| {
        shell.succeeds(&["write", "account-1", "Opened"]);
        let output = shell.run(&["verify"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 messages of 1 streams"), "{output:?}");
        for _ in 0..3 {
            let beyond = "{\"position\":999999999}";
            shell.succeeds(&["write", "account+position", "Recorded", "--data", beyond]);
        }
        let output = shell.run(&["verify", "-o", "ndjson"]);
        assert_eq!(output.status.code(), Some(6));
        assert!(String::from_utf8_lossy(&output.stdout).contains("position-beyond-end"), "{output:?}");
        assert!(shell.fails(6, &["verify", "--limit", "0"]).contains("1 defects"));
    })
    .await;
}
