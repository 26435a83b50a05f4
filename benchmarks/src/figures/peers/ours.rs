//! This store's side: deposits to accounts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use message_store::entity::{EntityStore, Projection, SnapshotPolicy};
use message_store::store::QueryItem;
use message_store::{
    Append, AppendRequest, Category, ExpectedVersion, MessageStore, Metadata, NewMessage, StreamName, Tag,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::WORKERS;
use crate::rounds::{Sample, closed_loop};

const ENTITIES: usize = 128;
/// The number of entities with ten thousand events: one for each worker.
const LONG_ENTITIES: usize = WORKERS;
const POLICY: SnapshotPolicy = SnapshotPolicy::every(EVERY);
/// A shorter stream has no snapshot.
const EVERY: u32 = 100;

/// What a load of an entity finds.
#[derive(Clone, Copy, PartialEq)]
pub enum Known {
    /// Nothing: all events are read.
    Nothing,
    /// A snapshot, and no entity in the cache, as in a process that has just started.
    Snapshot,
    /// The entity in the cache, as in a component: a load reads only newer messages.
    Cached,
}

/// The number of entities that are loaded.
const fn entities_of(events: usize) -> usize {
    if events < 10_000 { ENTITIES } else { LONG_ENTITIES }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
enum Event {
    Deposited { account_id: String, deposit_id: String, amount: i64, time: String },
}

impl Projection for Account {
    const CATEGORY: &'static str = "account";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        let Event::Deposited { amount, .. } = event;
        self.balance += amount;
    }
}

fn deposit(account: &str) -> Result<NewMessage> {
    let (account_id, deposit_id) = (account.to_owned(), Uuid::new_v4().to_string());
    let event = Event::Deposited { account_id, deposit_id, amount: 7, time: "2026-01-01T00:00:00.000Z".into() };
    Ok(NewMessage::from_variant(&event)?)
}

pub async fn ours(store: &Arc<dyn MessageStore>, events: usize, known: Known, time: Duration) -> Result<Sample> {
    let run = Uuid::new_v4().simple();
    let entities = EntityStore::<Account>::new(store);
    let entities = Arc::new(if known == Known::Snapshot { entities.snapshots(POLICY) } else { entities });
    for (number, entity) in (0..entities_of(events)).filter(|_| events > 0).enumerate() {
        let id = format!("{run}{entity}");
        for part in (0..events).collect::<Vec<_>>().chunks(1_000) {
            let messages: Vec<NewMessage> = part.iter().map(|_| deposit(&id)).collect::<Result<_>>()?;
            store.append(Append::to(entities.stream(&id)?).messages(messages).into()).await?;
        }
        if known != Known::Nothing {
            entities.fetch(&id).await?;
        }
        let has_snapshot = known == Known::Snapshot && events >= EVERY as usize;
        while has_snapshot && entities.snapshot_counts().saved <= number as u64 {
            ensure!(entities.snapshot_counts().failed == 0, "a snapshot was not saved");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let store = Arc::clone(store);
    closed_loop(WORKERS, time, move |worker, number| {
        let (store, entities) = (Arc::clone(&store), Arc::clone(&entities));
        async move {
            let (stream, expected): (StreamName, ExpectedVersion) = if events == 0 {
                (entities.stream(&format!("{run}{worker}x{number}"))?, ExpectedVersion::NoStream)
            } else {
                let id = format!("{run}{}", (number * WORKERS + worker) % entities_of(events));
                let cold = || EntityStore::<Account>::with_cache(&store, 1);
                let entity = match known {
                    Known::Nothing => cold().fetch(&id).await?,
                    Known::Snapshot => cold().snapshots(POLICY).fetch(&id).await?,
                    Known::Cached => entities.fetch(&id).await?,
                };
                ensure!(entity.state.balance >= 7 * events as i64, "an entity is not whole");
                (entities.stream(&id)?, entity.version.into())
            };
            store.append(Append::to(stream).expecting(expected).message(deposit("a")?).into()).await?;
            Ok(1)
        }
    })
    .await
}

/// Each caller appends to an entity of its own, which it has in its cache.
pub async fn growing(store: &Arc<dyn MessageStore>, with_snapshots: bool, time: Duration) -> Result<Sample> {
    let run = Uuid::new_v4().simple();
    let store = Arc::clone(store);
    let entities = EntityStore::<Account>::new(&store);
    let entities = Arc::new(if with_snapshots { entities.snapshots(POLICY) } else { entities });
    let counted = Arc::clone(&entities);
    let sample = closed_loop(WORKERS, time, move |worker, _| {
        let (store, entities) = (Arc::clone(&store), Arc::clone(&entities));
        async move {
            let id = format!("{run}{worker}");
            let entity = entities.fetch(&id).await?;
            let append = Append::to(entities.stream(&id)?).expecting(entity.version).message(deposit("a")?);
            store.append(append.into()).await?;
            Ok(1)
        }
    })
    .await?;
    ensure!((counted.snapshot_counts().saved > 0) == with_snapshots, "{:?}", counted.snapshot_counts());
    Ok(sample)
}

/// One event for each append, unless an event with its tag is there.
pub async fn conditional(store: &Arc<dyn MessageStore>, workers: usize, time: Duration) -> Result<Sample> {
    let run = Uuid::new_v4().simple();
    let (store, category) = (Arc::clone(store), Category::new("account")?);
    closed_loop(workers, time, move |worker, number| {
        let (store, category) = (Arc::clone(&store), category.clone());
        async move {
            let id = format!("{run}{worker}x{number}");
            let tag = Tag::new(format!("account:{id}"))?;
            let event = deposit(&id)?.with_metadata(&Metadata::new().tag(tag.clone()))?;
            let append = Append::to(category.stream(&id)?).message(event);
            store.append(AppendRequest::from(append).unless(QueryItem::of(category).tag(tag))).await?;
            Ok(1)
        }
    })
    .await
}
