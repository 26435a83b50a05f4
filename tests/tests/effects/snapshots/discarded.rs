//! Whatever is doubtful discards a snapshot, and is counted.

use futures_util::future::join_all;
use message_store::entity::{EntityStore, Projection, SnapshotBug, SnapshotPolicy};
use message_store::handling::CommandHandler;
use message_store::store::{Snapshot, SnapshotKey};
use message_store::{Position, StreamName, connect};
use message_store_tests::expire::AgeingStore;
use serde::{Deserialize, Serialize};

use super::tally::{Event, Store, Tally, add, entities, handler, send};

/// The counts of used and discarded snapshots, and the sum, as a process reads it that has just started.
async fn cold(store: &Store, bug: Option<SnapshotBug>) -> (u64, u64, i128) {
    let entities = match bug {
        Some(bug) => entities(store, 2).plant_in_snapshots(bug),
        None => entities(store, 2),
    };
    let sum = entities.fetch("1").await.unwrap().state.sum;
    entities.snapshots_written().await;
    let counts = entities.snapshot_counts();
    (counts.used, counts.discarded, sum)
}

async fn with_snapshot(place: &AgeingStore) -> Store {
    let store = connect(&place.url()).await.unwrap();
    add(&store, &handler(&store, Some(2)), "1", &[10, 20, 30, 40]).await;
    assert_eq!(cold(&store, None).await, (1, 0, 100));
    store
}

/// Removes the last message and writes others, as after a restore.
async fn lose_the_last_message(place: &AgeingStore, store: &Store) {
    place
        .execute(
            "DELETE FROM message_store.messages WHERE stream_name = 'tally-1' AND position >= 2",
            "DELETE FROM messages WHERE stream_name = 'tally-1' AND position >= 2",
        )
        .await;
    add(store, &handler(store, None), "1", &[2, 4]).await;
}

async fn a_lost_message(place: AgeingStore) {
    let store = with_snapshot(&place).await;
    lose_the_last_message(&place, &store).await;
    // The twin.
    assert_eq!(cold(&store, Some(SnapshotBug::LastMessageUnchecked)).await, (1, 0, 100));
    assert_eq!(cold(&store, None).await, (0, 1, 36));
    assert_eq!(cold(&store, None).await, (1, 0, 36), "a new one has taken its place");
}

async fn a_stream_that_is_shorter(place: AgeingStore) {
    let store = with_snapshot(&place).await;
    place
        .execute(
            "DELETE FROM message_store.messages WHERE stream_name = 'tally-1' AND position >= 1",
            "DELETE FROM messages WHERE stream_name = 'tally-1' AND position >= 1",
        )
        .await;
    assert_eq!(cold(&store, None).await, (0, 1, 10));
    assert_eq!(cold(&store, None).await, (0, 0, 10), "it is gone");
}

async fn another_identity(place: AgeingStore) {
    let store = with_snapshot(&place).await;
    store.rotate_store_id().await.unwrap();
    assert_eq!(cold(&store, None).await, (0, 1, 100));
    let replayed = EntityStore::<Tally>::new(&store).fetch("1").await.unwrap();
    let loaded = entities(&store, 2).fetch("1").await.unwrap();
    assert_eq!(loaded, replayed, "the marks name the new identity");
}

async fn content_that_cannot_be_decoded(place: AgeingStore) {
    let store = with_snapshot(&place).await;
    for content in ["{", "{}", "null", "[1]", r#"{"state":{"sum":"x"}}"#] {
        let (ours, theirs) = (
            format!("UPDATE message_store.snapshots SET content = '{content}'"),
            format!("UPDATE snapshots SET content = '{content}'"),
        );
        place.execute(&ours, &theirs).await;
        assert_eq!(cold(&store, None).await, (0, 1, 100), "{content}");
        assert_eq!(cold(&store, None).await, (1, 0, 100));
    }
    place.execute("UPDATE message_store.snapshots SET position = 0", "UPDATE snapshots SET position = 0").await;
    assert_eq!(cold(&store, None).await, (0, 1, 100), "two versions");
}

/// The tally of a later release: it also counts. Its new field has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counting {
    sum: i128,
    #[serde(default)]
    events: u64,
}

/// The tally of an earlier release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Summing {
    sum: i128,
}

impl Projection for Counting {
    const CATEGORY: &'static str = "tally";
    type Event = Event;
    fn apply(&mut self, Event::Added { number }: &Event) {
        self.sum += i128::from(*number);
        self.events += 1;
    }
}

impl Projection for Summing {
    const CATEGORY: &'static str = "tally";
    type Event = Event;
    fn apply(&mut self, Event::Added { number }: &Event) {
        self.sum += i128::from(*number);
    }
}

async fn of_an_earlier_release(place: AgeingStore) {
    let store = connect(&place.url()).await.unwrap();
    add(&store, &handler(&store, None), "1", &[10, 20, 30, 40]).await;
    let policy = SnapshotPolicy::every(2);
    let counted = async |bug: Option<SnapshotBug>| {
        let (mut earlier, mut later) = (
            EntityStore::<Summing>::new(&store).snapshots(policy),
            EntityStore::<Counting>::new(&store).snapshots(policy),
        );
        if let Some(bug) = bug {
            (earlier, later) = (earlier.plant_in_snapshots(bug), later.plant_in_snapshots(bug));
        }
        earlier.fetch("1").await.unwrap();
        earlier.snapshots_written().await;
        later.fetch("1").await.unwrap().state.events
    };
    assert_eq!(counted(None).await, 4);
    assert_eq!(counted(Some(SnapshotBug::FingerprintIgnored)).await, 0, "the twin");
}

async fn of_an_earlier_version(place: AgeingStore) {
    let store = with_snapshot(&place).await;
    let raised = EntityStore::<Tally>::new(&store).snapshots(SnapshotPolicy::every(2).version(2));
    assert_eq!(raised.fetch("1").await.unwrap().state.sum, 100);
    raised.snapshots_written().await;
    assert_eq!((raised.snapshot_counts().used, raised.snapshot_counts().saved), (0, 1));
    assert_eq!(cold(&store, None).await, (1, 0, 100), "the snapshot of the earlier release is still there");
}

/// Nothing of the snapshots works.
async fn without_a_table(place: AgeingStore) {
    let store = connect(&place.url()).await.unwrap();
    let handler = handler(&store, Some(2));
    place.execute("DROP TABLE message_store.snapshots", "DROP TABLE snapshots").await;
    add(&store, &handler, "1", &[10, 20, 30, 40]).await;
    let counts = handler.entities().snapshot_counts();
    assert_eq!((counts.saved, counts.failed), (0, 3), "a load and two saves");
    let cold = CommandHandler::<Tally>::new(&store).snapshots(SnapshotPolicy::every(2));
    assert_eq!(cold.entities().fetch("1").await.unwrap().state.sum, 100);
}

/// Appends and snapshots that arrive together share a transaction in some stores.
async fn beside_appends(place: AgeingStore) {
    let store = connect(&place.url()).await.unwrap();
    place.execute("DROP TABLE message_store.snapshots", "DROP TABLE snapshots").await;
    let history = store.history();
    let key = |id: usize| SnapshotKey {
        stream: StreamName::new(format!("tally-{id}")).unwrap(),
        projection: "Tally".to_owned(),
        fingerprint: "1".to_owned(),
    };
    let snapshot = Snapshot { position: Position::FIRST, content: "{}".to_owned() };
    let saves = (0..64).map(async |id| store.snapshots().unwrap().save(&key(id), &snapshot, history).await);
    let appends = (0..64).map(async |id| send(&store, &id.to_string(), 1).await);
    let (saved, sent) = tokio::join!(join_all(saves), join_all(appends));
    assert!(saved.iter().all(Result::is_err), "there is no table");
    assert_eq!(sent.len(), 64, "each append was written");
}

macro_rules! on_both {
    ($($name:ident: $scenario:ident;)*) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() { super::$scenario(super::AgeingStore::postgres().await).await; })*
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() { super::$scenario(super::AgeingStore::sqlite()).await; })*
        }
    };
}

on_both! {
    a_snapshot_whose_last_message_was_lost_is_discarded: a_lost_message;
    a_snapshot_of_a_stream_that_is_shorter_now_is_discarded: a_stream_that_is_shorter;
    a_snapshot_of_a_store_with_another_identity_is_discarded: another_identity;
    a_snapshot_that_cannot_be_decoded_is_discarded: content_that_cannot_be_decoded;
    a_snapshot_of_an_earlier_form_of_the_state_is_not_used: of_an_earlier_release;
    a_snapshot_of_an_earlier_version_is_not_used_and_not_destroyed: of_an_earlier_version;
    snapshots_that_fail_harm_nothing: without_a_table;
    snapshots_that_fail_do_not_fail_the_appends_that_arrive_with_them: beside_appends;
}
