//! Changes of snapshots, as parts of transactions.

use jiff::{SignedDuration, Timestamp};
use rusqlite::Transaction;

use crate::StreamName;
use crate::store::{Snapshot, SnapshotKey};

/// How long a snapshot stays that is not saved again, if others of its stream are.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A change of the snapshots.
#[derive(Debug)]
pub(super) enum SnapshotChange {
    Save(SnapshotKey, Snapshot),
    Remove(StreamName),
}

/// Carries out a change, as a part of a transaction.
pub(super) fn change(transaction: &Transaction<'_>, change: &SnapshotChange) -> rusqlite::Result<()> {
    match change {
        SnapshotChange::Save(SnapshotKey { stream, projection, fingerprint }, Snapshot { position, content }) => {
            let now = Timestamp::now();
            let key = (stream.as_str(), projection, fingerprint);
            let parameters = (key.0, key.1, key.2, position.get(), content, now.as_microsecond());
            transaction.prepare_cached(include_str!("sql/save_snapshot.sql"))?.execute(parameters)?;
            let kept_since = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN).as_microsecond();
            let prune = include_str!("sql/prune_snapshots.sql");
            transaction.prepare_cached(prune)?.execute((key.0, key.1, key.2, kept_since))?;
        }
        SnapshotChange::Remove(stream) => {
            transaction.prepare_cached(include_str!("sql/remove_snapshots.sql"))?.execute([stream.as_str()])?;
        }
    }
    Ok(())
}
