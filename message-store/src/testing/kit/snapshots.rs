//! Does a state survive a snapshot?

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::past::run_apart;
use super::storage::messages;
use crate::entity::{EntityStore, Projection, SnapshotPolicy};
use crate::{ExpectedVersion, MessageStoreExt as _, connect};

/// Panics unless an entity with these events is the same, whether it is projected from all of them, or from a snapshot
/// after any number of them and the rest. So it finds a field that serde skips, or a number that JSON changes.
///
/// ```
/// # use message_store::entity::Projection;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] enum Event { Deposited { amount: u64 } }
/// # #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)] struct Account { balance: u64 }
/// # impl Projection for Account {
/// #     const CATEGORY: &'static str = "account";
/// #     type Event = Event;
/// #     fn apply(&mut self, Event::Deposited { amount }: &Event) { self.balance += amount; }
/// # }
/// use message_store::testing::assert_snapshots;
///
/// assert_snapshots::<Account>((1..20).map(|amount| Event::Deposited { amount }));
/// ```
#[track_caller]
pub fn assert_snapshots<P>(events: impl IntoIterator<Item = P::Event>)
where
    P: Projection<Event: Serialize> + Serialize + DeserializeOwned + Debug + PartialEq,
{
    let events: Vec<P::Event> = events.into_iter().collect();
    let messages = messages(&events, P::UPCASTERS);
    let differ = run_apart(move || async move {
        let store = connect("sqlite::memory:").await.unwrap();
        let stream = EntityStore::<P>::new(&store).stream("1").unwrap_or_else(|error| panic!("{error}"));
        for message in messages {
            store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
            let fetch = async || {
                let entities = EntityStore::<P>::new(&store).snapshots(SnapshotPolicy::every(1));
                let entity = entities.fetch("1").await.unwrap_or_else(|error| panic!("{error}"));
                entities.snapshots_written().await;
                (entity, entities.snapshot_counts())
            };
            let replayed = EntityStore::<P>::new(&store).fetch("1").await.unwrap_or_else(|error| panic!("{error}"));
            // The first of the two may take the snapshot that the second loads.
            for _ in 0..2 {
                let (loaded, counts) = fetch().await;
                if loaded != replayed || counts.discarded + counts.failed > 0 {
                    return Some((loaded.state.clone(), replayed.state.clone(), counts));
                }
            }
        }
        None
    });
    if let Some((loaded, replayed, counts)) = differ {
        panic!("from a snapshot, the state is {loaded:?}, and projected from all events {replayed:?} ({counts:?})");
    }
}
