//! SQLite files: opened by several stores at once, and files that are not message stores.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Barrier;

use message_store::sqlite::SqliteStore;
use message_store::{Error, ExpectedVersion, Json, MessageStore as _, MessageStoreExt as _, NewMessage, StreamName};

fn open(path: &std::path::Path) -> message_store::Result<SqliteStore> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(SqliteStore::open(path))
}

#[test]
fn a_new_file_that_several_open_at_once_gets_one_schema() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        open(&path).unwrap().store_id()
                    })
                })
                .collect();
            let mut identities: Vec<_> = opening.into_iter().map(|opening| opening.join().unwrap()).collect();
            identities.dedup();
            assert_eq!(identities.len(), 1);
        });
    }
}

#[test]
fn a_file_that_is_no_store_is_refused_and_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.txt");
    let letter = "Dear reader, this is not a database.".repeat(100);
    std::fs::write(&path, &letter).unwrap();
    assert!(matches!(open(&path), Err(Error::Backend { transient: false, .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);

    assert!(matches!(open(std::path::Path::new("")), Err(Error::Invalid { .. })));
    let error = open(&folder.path().join("no/such/folder/store.db")).unwrap_err();
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}

/// Two open stores on one file, as in two processes, write to one stream without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_of_one_file_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let stream = StreamName::new("account-1").unwrap();
    let writing: Vec<_> = (0..2)
        .map(|_| {
            let (path, stream) = (path.clone(), stream.clone());
            tokio::spawn(async move {
                let store = SqliteStore::open(&path).await.unwrap();
                for _ in 0..50 {
                    store
                        .append_to(&stream, ExpectedVersion::Any, vec![NewMessage::new("A", Json::NULL)])
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for writing in writing {
        writing.await.unwrap();
    }
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.version(&stream).await.unwrap().get(), 99);
}

#[tokio::test]
async fn a_store_keeps_its_file_whatever_the_path_by_which_it_was_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("store.db");
    let here = std::env::current_dir().unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(path.strip_prefix("/").unwrap());
    let opened = SqliteStore::open(&relative).await.unwrap();
    assert_eq!(opened.describe(), format!("sqlite:{}", path.display()));
    #[cfg(unix)]
    {
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(SqliteStore::open(&link).await.unwrap().describe(), opened.describe());
    }
    std::fs::remove_file(&path).unwrap();
    opened.rotate_store_id().await.unwrap_err();
    assert!(!path.exists(), "a file that was deleted is not made again");
}
