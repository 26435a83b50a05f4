//! The state of an entity at any version, and what each event changed.
//!
//! Where a projection is known, it is the projection's state. Where none is, it is the last value of each field of the events' data.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;

use message_store::entity::{Entity, Projection};
use message_store::{Error, Json, Message, MessageStore, Position, Result, StoreId, StreamName, StreamRead};
use serde::Serialize;

/// The number of events of one read.
const PART: usize = 1_000;
/// The number of events whose changes are shown.
const CHANGES: i64 = 30;
/// The greatest version that is shown: so many events are applied for a page.
const MOST: i64 = 100_000;

type State = BTreeMap<String, Json>;

/// How entities of the known projections are shown.
#[derive(Clone, Default)]
pub(crate) struct Entities(HashMap<&'static str, Arc<dyn Known>>);

trait Known: Send + Sync {
    fn fold(&self, here: StoreId) -> Box<dyn Fold>;
}

/// The events of one entity, as they are applied.
trait Fold: Send {
    fn apply(&mut self, event: &Message) -> Result<()>;
    fn state(&self) -> Result<State>;
}

/// An entity at a version.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) version: Position,
    pub(crate) state: State,
    /// The events up to the version, the latest first.
    pub(crate) changes: VecDeque<Changed>,
    /// Whether the state is that of a projection.
    pub(crate) is_projected: bool,
    /// The event that could not be applied, and why. The state is that before it.
    pub(crate) failure: Option<(Position, Error)>,
    /// Whether a later version was wanted, and is too late to be shown.
    pub(crate) is_cut: bool,
    /// Whether there are later events.
    pub(crate) has_later: bool,
}

/// An event, and the fields of the state that it changed: before and after.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) event: Message,
    pub(crate) fields: Vec<(String, Option<Json>, Option<Json>)>,
}

impl Entities {
    pub(crate) fn add<P: Projection + Serialize>(&mut self) {
        self.0.insert(P::CATEGORY, Arc::new(Of::<P>(PhantomData)));
    }

    /// The entity after its event at this version, or after its last one. `None` if it has no events.
    pub(crate) async fn at(
        &self,
        store: &dyn MessageStore,
        stream: &StreamName,
        version: Option<Position>,
    ) -> Result<Option<At>> {
        let Some(last) = store.last_message(stream, None).await? else { return Ok(None) };
        let known = self.0.get(stream.category().as_str());
        let mut fold = known.map_or_else(|| Box::new(Fields::default()) as _, |known| known.fold(store.store_id()));
        let wanted = version.map_or(last.position, |version| version.min(last.position));
        let through = wanted.min(Position::new(MOST));
        let mut at = At {
            version: Position::FIRST,
            state: State::new(),
            changes: VecDeque::new(),
            is_projected: known.is_some(),
            failure: None,
            is_cut: through < wanted,
            has_later: through < last.position,
        };
        let mut next = Some(Position::FIRST);
        while let Some(from) = next.filter(|from| *from <= through) {
            let batch = store.read_stream_batch(stream, StreamRead::forwards_from(from).limit(PART)).await?;
            next = batch.messages.last().map(|last| last.position.next()).filter(|_| !batch.is_end);
            for event in batch.messages.into_iter().filter(|event| event.position <= through) {
                // A state is made only where its changes are shown: it can be large.
                let is_shown = event.position.get() > through.get() - CHANGES;
                let before = if is_shown { fold.state()? } else { State::new() };
                if let Err(error) = fold.apply(&event) {
                    (at.failure, at.state) = (Some((event.position, error)), fold.state()?);
                    return Ok(Some(at));
                }
                at.version = event.position;
                if is_shown {
                    at.changes.push_front(Changed { fields: difference(&before, &fold.state()?), event });
                }
            }
            tokio::task::yield_now().await;
        }
        at.state = fold.state()?;
        Ok(Some(at))
    }
}

fn difference(before: &State, after: &State) -> Vec<(String, Option<Json>, Option<Json>)> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let values = names.into_iter().map(|name| (name.clone(), before.get(name).cloned(), after.get(name).cloned()));
    let is_same = |before: &Option<Json>, after: &Option<Json>| match (before, after) {
        (Some(before), Some(after)) => before.same_as(after),
        _ => false,
    };
    values.filter(|(_, before, after)| !is_same(before, after)).collect()
}

struct Of<P>(PhantomData<fn() -> P>);

impl<P: Projection + Serialize> Known for Of<P> {
    fn fold(&self, here: StoreId) -> Box<dyn Fold> {
        Box::new(Projected { entity: Entity::<P>::default(), here })
    }
}

struct Projected<P> {
    entity: Entity<P>,
    here: StoreId,
}

impl<P: Projection + Serialize> Fold for Projected<P> {
    fn apply(&mut self, event: &Message) -> Result<()> {
        self.entity.apply(event, self.here)
    }

    /// A state that is no object is shown as one field.
    fn state(&self) -> Result<State> {
        let state = Json::encode(&self.entity.state)?;
        Ok(state.decode().unwrap_or_else(|_| State::from([("state".to_owned(), state)])))
    }
}

/// The last value of each field.
#[derive(Default)]
struct Fields(State);

impl Fold for Fields {
    fn apply(&mut self, event: &Message) -> Result<()> {
        let data: State = event.data.decode().unwrap_or_default();
        self.0.extend(data);
        Ok(())
    }

    fn state(&self) -> Result<State> {
        Ok(self.0.clone())
    }
}
