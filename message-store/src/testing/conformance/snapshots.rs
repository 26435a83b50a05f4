//! Rules of snapshots: kept to the letter, by key, pruned, and tied to a history. A store may lose them, but not mix them up.

use super::given::stream;
use super::{Rule, Subject};
use crate::store::{Snapshot, SnapshotKey, Snapshots};
use crate::{Error, MessageStore, Position, Read};

/// The snapshots of a store, if it keeps any.
fn snapshots_of(store: &dyn MessageStore) -> Option<&dyn Snapshots> {
    let snapshots = store.snapshots();
    if snapshots.is_none() {
        println!("not checked: snapshots: the store keeps none");
    }
    snapshots
}

fn key(name: &str, projection: &str, fingerprint: &str) -> SnapshotKey {
    SnapshotKey { stream: stream(name), projection: projection.to_owned(), fingerprint: fingerprint.to_owned() }
}

fn snapshot(position: i64, content: &str) -> Snapshot {
    Snapshot { position: Position::new(position), content: content.to_owned() }
}

async fn save(store: &dyn MessageStore, key: &SnapshotKey, content: &str) {
    let snapshots = store.snapshots().unwrap();
    snapshots.save(key, &snapshot(7, content), store.history()).await.unwrap();
}

async fn content(store: &dyn MessageStore, key: &SnapshotKey) -> Option<String> {
    store.snapshots().unwrap().load(key).await.unwrap().map(|snapshot| snapshot.content)
}

contract! { $ snapshots snapshots_tests {
    async fn a_snapshot_is_returned_as_it_was_saved(subject) {
        let store = subject.store();
        let Some(snapshots) = snapshots_of(&*store) else { return };
        let key = key("account-1", "bank::Account", "a");
        for content in [
            r#"{"b":1,"a":-0.0,"b":2}"#,
            r#"{ "number": 12345678901234567890.1000, "exponent": 1e400, "text": "\u0000 \u00e9 é 😀" }"#,
            "null",
            &format!("[{}1]", "1,".repeat(300_000)),
        ] {
            for position in [0, 1_000_000] {
                let saved = snapshot(position, content);
                snapshots.save(&key, &saved, store.history()).await.unwrap();
                assert_eq!(snapshots.load(&key).await.unwrap(), Some(saved));
            }
        }
    }

    async fn another_key_has_no_snapshot(subject) {
        let store = subject.store();
        if snapshots_of(&*store).is_none() { return }
        let (name, projection, fingerprint) = ("account-1", "bank::Account", "a");
        assert_eq!(content(&*store, &key(name, projection, fingerprint)).await, None);
        save(&*store, &key(name, projection, fingerprint), "1").await;
        for other in [
            key("account-10", projection, fingerprint),
            key("account-1+deposit", projection, fingerprint),
            key(name, "bank::Statement", fingerprint),
            key(name, "bank::account", fingerprint),
            key(name, projection, "b"),
            key(name, projection, "A"),
        ] {
            assert_eq!(content(&*store, &other).await, None, "{other:?}");
        }
    }

    async fn a_snapshot_takes_the_place_of_the_one_before(subject) {
        let store = subject.store();
        let Some(snapshots) = snapshots_of(&*store) else { return };
        let key = key("account-1", "bank::Account", "a");
        // A stream may begin again, so a lower position takes the place of a higher one too.
        for position in [7, 12, 3] {
            let saved = snapshot(position, &position.to_string());
            snapshots.save(&key, &saved, store.history()).await.unwrap();
            assert_eq!(snapshots.load(&key).await.unwrap(), Some(saved));
        }
    }

    async fn snapshots_of_two_releases_stay_side_by_side(subject) {
        let store = subject.store();
        if snapshots_of(&*store).is_none() { return }
        let [first, second] = ["a", "b"].map(|fingerprint| key("account-1", "bank::Account", fingerprint));
        for round in ["1", "2", "3"] {
            save(&*store, &first, &format!("\"first-{round}\"")).await;
            save(&*store, &second, &format!("\"second-{round}\"")).await;
            assert_eq!(content(&*store, &first).await, Some(format!("\"first-{round}\"")));
            assert_eq!(content(&*store, &second).await, Some(format!("\"second-{round}\"")));
        }
    }

    async fn of_three_releases_the_snapshot_that_was_saved_first_is_removed(subject) {
        let store = subject.store();
        if snapshots_of(&*store).is_none() { return }
        let [first, second, third] = ["a", "b", "c"].map(|fingerprint| key("account-1", "bank::Account", fingerprint));
        for key in [&second, &first, &second, &third] {
            save(&*store, key, "1").await;
        }
        assert_eq!(content(&*store, &first).await, None);
        assert!(content(&*store, &second).await.is_some());
        assert!(content(&*store, &third).await.is_some());
    }

    async fn a_save_leaves_snapshots_of_other_projections_and_streams(subject) {
        let store = subject.store();
        if snapshots_of(&*store).is_none() { return }
        let others = [key("account-1", "bank::Statement", "a"), key("account-2", "bank::Account", "a")];
        for other in &others {
            save(&*store, other, "\"other\"").await;
        }
        for fingerprint in ["a", "b", "c"] {
            save(&*store, &key("account-1", "bank::Account", fingerprint), "1").await;
        }
        for other in &others {
            assert_eq!(content(&*store, other).await.as_deref(), Some("\"other\""));
        }
    }

    async fn removed_snapshots_are_gone(subject) {
        let store = subject.store();
        let Some(snapshots) = snapshots_of(&*store) else { return };
        let removed = [key("account-1", "bank::Account", "a"), key("account-1", "bank::Statement", "b")];
        let other = key("account-10", "bank::Account", "a");
        for key in removed.iter().chain([&other]) {
            save(&*store, key, "1").await;
        }
        for _ in 0..2 {
            snapshots.remove(&stream("account-1")).await.unwrap();
        }
        for key in &removed {
            assert_eq!(content(&*store, key).await, None, "{key:?}");
        }
        assert!(content(&*store, &other).await.is_some());
    }

    async fn a_snapshot_of_an_earlier_history_is_not_saved(subject) {
        let store = subject.store();
        let Some(snapshots) = snapshots_of(&*store) else { return };
        let (key, earlier) = (key("account-1", "bank::Account", "a"), store.history());
        if store.rotate_store_id().await.is_err() {
            println!("not checked: the identity of the store cannot change");
            return;
        }
        let refused = snapshots.save(&key, &snapshot(7, "1"), earlier).await;
        assert!(matches!(refused, Err(Error::HistoryChanged { .. })), "{refused:?}");
        assert_eq!(content(&*store, &key).await, None);
        save(&*store, &key, "2").await;
        assert!(content(&*store, &key).await.is_some());
    }

    async fn snapshots_are_no_messages(subject) {
        let store = subject.store();
        let Some(snapshots) = snapshots_of(&*store) else { return };
        save(&*store, &key("account-1", "bank::Account", "a"), "1").await;
        snapshots.remove(&stream("account-2")).await.unwrap();
        assert_eq!(store.version(&stream("account-1")).await.unwrap().position(), None);
        assert!(store.read_all(Read::default()).await.is_ok_and(|batch| batch.messages.is_empty()));
    }
}}
