//! Stores that mix up snapshots, or keep them wrongly.

use message_store::store::{Snapshot, SnapshotKey};
use message_store::{Append, History, Json, NewMessage, Result, StreamName};

use super::wrong::{Store, Wrong, snapshots};

fn of_fingerprint(key: &SnapshotKey, fingerprint: &str) -> SnapshotKey {
    changed!(key.clone(), fingerprint = fingerprint.to_owned())
}

/// A key by which no snapshot is pruned.
fn unpruned(key: &SnapshotKey) -> SnapshotKey {
    changed!(of_fingerprint(key, "one"), projection = format!("{} {}", key.projection, key.fingerprint))
}

wrong_stores! {
    AContentIsWrittenAnew breaks [a_snapshot_is_returned_as_it_was_saved] {
        async fn save_snapshot(&self, store: Store<'_>, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
            let text = snapshot.content.replace(' ', "");
            snapshots(store).save(key, &changed!(snapshot.clone(), content = text), history).await
        }
    }
    ASnapshotLosesItsPosition breaks [
        a_snapshot_is_returned_as_it_was_saved
        a_snapshot_takes_the_place_of_the_one_before
    ] {
        async fn load_snapshot(&self, store: Store<'_>, key: &SnapshotKey) -> Result<Option<Snapshot>> {
            let first = message_store::Position::FIRST;
            Ok(snapshots(store).load(key).await?.map(|snapshot| changed!(snapshot, position = first)))
        }
    }
    FingerprintsShareASnapshot breaks [
        another_key_has_no_snapshot
        snapshots_of_two_releases_stay_side_by_side
        of_three_releases_the_snapshot_that_was_saved_first_is_removed
    ] {
        async fn load_snapshot(&self, store: Store<'_>, key: &SnapshotKey) -> Result<Option<Snapshot>> {
            snapshots(store).load(&of_fingerprint(key, "one")).await
        }
        async fn save_snapshot(&self, store: Store<'_>, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
            snapshots(store).save(&of_fingerprint(key, "one"), snapshot, history).await
        }
    }
    ProjectionsIgnoreCase breaks [another_key_has_no_snapshot] {
        async fn load_snapshot(&self, store: Store<'_>, key: &SnapshotKey) -> Result<Option<Snapshot>> {
            snapshots(store).load(&changed!(key.clone(), projection = key.projection.to_lowercase())).await
        }
        async fn save_snapshot(&self, store: Store<'_>, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
            let key = changed!(key.clone(), projection = key.projection.to_lowercase());
            snapshots(store).save(&key, snapshot, history).await
        }
    }
    AnEarlierSnapshotOfAHigherPositionStays breaks [
        a_snapshot_is_returned_as_it_was_saved
        a_snapshot_takes_the_place_of_the_one_before
    ] {
        async fn save_snapshot(&self, store: Store<'_>, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
            let before = snapshots(store).load(key).await?;
            if before.is_some_and(|before| before.position > snapshot.position) {
                return Ok(());
            }
            snapshots(store).save(key, snapshot, history).await
        }
    }
    ASaveRemovesAllOthersOfItsStream breaks [
        snapshots_of_two_releases_stay_side_by_side
        of_three_releases_the_snapshot_that_was_saved_first_is_removed
        a_save_leaves_snapshots_of_other_projections_and_streams
    ] {
        async fn save_snapshot(&self, store: Store<'_>, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
            snapshots(store).remove(&key.stream).await?;
            snapshots(store).save(key, snapshot, history).await
        }
    }
    NothingIsPruned breaks [of_three_releases_the_snapshot_that_was_saved_first_is_removed] {
        async fn load_snapshot(&self, store: Store<'_>, key: &SnapshotKey) -> Result<Option<Snapshot>> {
            snapshots(store).load(&unpruned(key)).await
        }
        async fn save_snapshot(&self, store: Store<'_>, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
            snapshots(store).save(&unpruned(key), snapshot, history).await
        }
    }
    RemovedSnapshotsStay breaks [removed_snapshots_are_gone] {
        async fn remove_snapshots(&self, _store: Store<'_>, _stream: &StreamName) -> Result<()> {
            Ok(())
        }
    }
    SnapshotsAreSavedInAnyHistory breaks [a_snapshot_of_an_earlier_history_is_not_saved] {
        async fn save_snapshot(&self, store: Store<'_>, key: &SnapshotKey, snapshot: &Snapshot, _history: History) -> Result<()> {
            snapshots(store).save(key, snapshot, store.history()).await
        }
    }
    ASnapshotIsAMessage breaks [snapshots_are_no_messages] {
        async fn save_snapshot(&self, store: Store<'_>, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
            let message = NewMessage::new("Snapshot", Json::NULL);
            store.append(Append::to(key.stream.clone()).message(message).into()).await?;
            snapshots(store).save(key, snapshot, history).await
        }
    }
}
