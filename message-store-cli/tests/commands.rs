//! Runs the commands as an operator does, on a SQLite file. Other tests cover the functions that they call on
//! PostgreSQL.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_message-store")).args(arguments).env_remove("MESSAGE_STORE").output().unwrap()
}

/// Runs the program, which must succeed. Returns its standard output.
fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program, which must fail. Returns its standard error.
fn fails(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn migrate_creates_a_file_and_check_reports_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    assert!(fails(&["check", "--store", &url]).contains("there is no file"));
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
        let error = fails(&[command, "--store", "mysql://localhost/x"]);
        assert!(error.contains("postgres://"), "{error}");
    }
}

#[test]
fn each_command_has_a_help_text() {
    for arguments in [&["--help"][..], &["migrate", "--help"], &["check", "--help"], &["allow-sql-condition", "--help"]]
    {
        let help = succeeds(arguments);
        assert!(help.contains("Usage: message-store") && help.lines().count() > 5, "{help}");
    }
}
