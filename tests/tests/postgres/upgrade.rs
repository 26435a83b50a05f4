//! Databases that earlier versions have made are upgraded. Each version that changes a schema adds the database that it
//! has made (see `tests/databases/README.md`). No database is removed later.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use message_store::postgres::{PostgresStore, check, migrate};
use message_store::sqlite::SqliteStore;
use message_store::{
    Category, ExpectedVersion, Json, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName,
};
use message_store_tests::postgres::TestDatabase;

fn databases(extension: &str) -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("databases");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    found.sort();
    assert!(!found.is_empty(), "there is no database with .{extension}");
    found
}

/// Asserts that the store has the contents of these databases: three deposits to one account, with metadata.
async fn is_as_it_was(store: &impl MessageStore) {
    let account = Category::new("account").unwrap();
    let batch = store.read_category(&account, Read::default()).await.unwrap();
    let amounts: Vec<u64> = batch.messages.iter().map(|message| message.decode_data().unwrap()).collect();
    assert_eq!(amounts, [10, 20, 30]);
    assert!(batch.messages.iter().all(|message| message.decode_metadata().correlation_stream_name.is_some()));
    assert_eq!(store.read_all(Read::default()).await.unwrap().messages.len(), 3);

    let stream = StreamName::new("account-1").unwrap();
    let next = NewMessage::new("Deposited", Json::parse("40").unwrap());
    let appended = store.append_to(&stream, ExpectedVersion::Any, vec![next]).await.unwrap();
    assert_eq!(appended.written[0].position.get(), 3);
    assert!(appended.written[0].global_position > batch.messages[2].global_position);
}

#[tokio::test]
async fn a_postgres_database_of_each_earlier_version_is_upgraded_and_keeps_what_it_holds() {
    for path in databases("sql") {
        let database = TestDatabase::create_empty().await;
        let sql = std::fs::read_to_string(&path).unwrap();
        // (The dump's instructions to psql are not SQL.)
        let sql: Vec<_> = sql.lines().filter(|line| !line.starts_with('\\')).collect();
        database.execute(&sql.join("\n")).await;
        migrate(database.url()).await.unwrap();
        let report = check(database.url()).await.unwrap();
        let problems = report.findings.iter().filter(|finding| finding.problem.is_some() && finding.what != "fsync");
        assert_eq!(problems.count(), 0, "{}: {report}", path.display());
        is_as_it_was(&PostgresStore::open(database.url()).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_sqlite_file_of_each_earlier_version_is_upgraded_and_keeps_what_it_holds() {
    for path in databases("db") {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("store.db");
        std::fs::copy(&path, &copy).unwrap();
        is_as_it_was(&SqliteStore::open(&copy).await.unwrap()).await;
    }
}
