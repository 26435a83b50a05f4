//! The saved positions of consumers, for operators: list, get, set.
//!
//! Problem: a consumer must handle messages again, or pass over some. If its position is changed while it runs, the
//! consumer and the operator overwrite each other. Fix: a position is set at the version of its stream that the operator
//! has read, and only if the consumer has stopped, or by force. Why it is right: a consumer that still runs learns at
//! its next save that it no longer owns the position, and stops.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::counted::Counted;
use super::groups::progress_of;
use super::position_store::{
    PositionMessage, PositionStore, Progress, Suspect, identifier_in, last_recorded, position_streams,
};
use crate::store::{Backlog, End, GroupRecord, SlotRecord, StepStream, position_before};
use crate::{Category, Error, GlobalPosition, GroupMember, Json, Message, MessageId, MessageStore, Result, StreamName};

/// The number of categories of one read.
const CATEGORIES: usize = 1_000;

/// The saved positions of the consumers of a category.
///
/// ```
/// use message_store::connect;
/// use message_store::consumer::{MoveTo, Positions};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let positions = Positions::of(&store, "account:command")?;
/// // A new consumer that begins with the messages that are written from now on.
/// let new = positions.get(Some("audit"), None).await?;
/// positions.set(&new, MoveTo::End).await?;
/// for saved in positions.list().await? {
///     println!("{saved}: {} messages behind", positions.backlog(&saved).await?.messages);
/// }
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Positions {
    store: Arc<dyn MessageStore>,
    category: Category,
}

/// The position of a consumer, or of a member of a group, as it was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SavedPosition {
    /// The identifier of the consumer.
    pub identifier: Option<String>,
    /// The member of a group.
    pub member: Option<GroupMember>,
    /// The stream in which the position is saved. An elastic group has the name of the stream, and no messages in it.
    pub stream: StreamName,
    /// The global position up to which all messages are handled: of an elastic group, in all its slots.
    pub position: GlobalPosition,
    /// The number of slots of an elastic group. `None` for other consumers.
    pub slots: Option<usize>,
    /// The time of the last save. `None` if the consumer has never run.
    pub saved_at: Option<Timestamp>,
    /// The consumer has stopped normally, or has never run. Otherwise it runs, or has crashed. An elastic group has stopped
    /// if no member has a lease.
    pub is_stopped: bool,
    /// The number of outcomes of each kind until the last save, since the consumer ran first, by the kind's
    /// [name](crate::OutcomeKind::name). A message that was delivered again after a crash may be counted twice.
    pub outcomes: BTreeMap<String, u64>,
    /// A message that may have ended the process of the consumer, and the number of times that it was alone in the process
    /// at the end. The consumer hands such messages out one at a time, until one of them is set aside.
    pub suspect: Option<(MessageId, u32)>,
    saved_in: SavedIn,
}

/// Where a position is saved, as it was read.
#[derive(Clone, Debug)]
enum SavedIn {
    /// A stream that ends here.
    Stream(End),
    /// The slots of an elastic group.
    Slots(Vec<SlotRecord>),
}

/// The place to which a position is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveTo {
    /// Before the first message. All messages are delivered again, and those that were handled are recognised.
    Beginning,
    /// After the last message that is in the category now. Messages before it that were not handled are passed over.
    End,
    /// After this global position.
    Position(GlobalPosition),
    /// Before the first message of this time or a later one, by the database's clock.
    Time(Timestamp),
}

impl fmt::Display for SavedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is at {}", self.stream, self.position)
    }
}

impl Positions {
    /// The positions of the consumers of this category.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid category.
    pub fn of(store: &Arc<dyn MessageStore>, category: &str) -> Result<Self> {
        Ok(Self { store: Arc::clone(store), category: Category::new(category)? })
    }

    /// The categories whose messages consumers handle: those that have run on the store, and those that are
    /// [paused](crate::consumer::Pauses) before they have ever run. Consumers of the library itself are left out.
    ///
    /// # Errors
    /// The errors of a read.
    pub async fn categories(store: &Arc<dyn MessageStore>) -> Result<BTreeSet<Category>> {
        let (mut found, mut after) = (BTreeSet::new(), None);
        let read_by = |own: &str| {
            let category = own.strip_suffix("+position").or_else(|| own.strip_suffix("+control"));
            // The letters of a consumer have a consumer of their own.
            let category = category.filter(|name| !name.contains("+deadLetter"));
            category.and_then(|name| Category::new(name).ok())
        };
        loop {
            let page = store.categories(after.as_ref(), CATEGORIES).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page.iter().filter_map(|category| read_by(category.as_str())));
        }
        if let Some(leases) = store.leases() {
            let groups = leases.groups().await?.into_iter().filter_map(|group| StreamName::new(group).ok());
            found.extend(groups.filter_map(|group| read_by(group.category().as_str())));
        }
        Ok(found)
    }

    /// The positions of all consumers of the category that have ever run, in the order of their streams' names. Reads
    /// all saves.
    ///
    /// # Errors
    /// As a read.
    pub async fn list(&self) -> Result<Vec<SavedPosition>> {
        let of_all = PositionStore::stream_name(&self.category, None)?.category();
        let mut streams = position_streams(&*self.store, &of_all).await?;
        if let Some(leases) = self.store.leases() {
            let groups = leases.groups().await?.into_iter().filter_map(|group| StreamName::new(group).ok());
            streams.extend(groups.filter(|group| group.category() == of_all));
        }
        let mut positions = Vec::new();
        for stream in streams {
            positions.push(self.read(stream).await?);
        }
        Ok(positions)
    }

    /// The position of one consumer, or of one member of a group. If it has never run, it is at 0.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a member without an identifier; as a read.
    pub async fn get(&self, identifier: Option<&str>, member: Option<GroupMember>) -> Result<SavedPosition> {
        self.read(PositionStore::stream_of(&self.category, identifier, member)?).await
    }

    async fn read(&self, stream: StreamName) -> Result<SavedPosition> {
        if let Some(leases) = self.store.leases() {
            let group = leases.group(stream.as_str()).await?;
            if !group.slots.is_empty() {
                return of_group(stream, group);
            }
        }
        let steps = StepStream::<PositionMessage>::new(&self.store, stream.clone());
        let end = steps.end().await?;
        let (mut progress, saved_at) = match last_recorded(&steps).await? {
            Some((progress, Message { time, .. })) => (progress, Some(time)),
            None => (Progress::stopped_at(GlobalPosition::ZERO), None),
        };
        let (identifier, member) = identifier_in(&stream);
        let (identifier, is_stopped) = (identifier.map(str::to_owned), progress.stopped);
        let outcomes = std::mem::take(&mut progress.counted).into_inner();
        let suspect = progress.suspect.map(Suspect::in_short);
        let (position, saved_in) = (progress.position, SavedIn::Stream(end));
        Ok(SavedPosition {
            identifier,
            member,
            stream,
            position,
            slots: None,
            saved_at,
            is_stopped,
            outcomes,
            suspect,
            saved_in,
        })
    }

    /// The messages of the category after a position. A member of a group handles a part of them.
    ///
    /// # Errors
    /// As a read.
    pub async fn backlog(&self, saved: &SavedPosition) -> Result<Backlog> {
        self.store.backlog(&self.category, saved.position).await
    }

    /// The global position to which a consumer would be set.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a position that the store has not given out; as a read.
    pub async fn resolve(&self, to: MoveTo) -> Result<GlobalPosition> {
        match to {
            MoveTo::Beginning => Ok(GlobalPosition::ZERO),
            MoveTo::End => Ok(self.store.backlog(&self.category, self.given_out().await?).await?.end),
            MoveTo::Position(position) => {
                let given_out = self.given_out().await?;
                if position > given_out {
                    let reason = format!("{position} is beyond the last one of {}, {given_out}", self.store.describe());
                    return Err(Error::invalid("global position", reason));
                }
                Ok(position)
            }
            MoveTo::Time(time) => position_before(&*self.store, Some(&self.category), time).await,
        }
    }

    async fn given_out(&self) -> Result<GlobalPosition> {
        self.store.given_out(Some(&self.category)).await
    }

    /// Sets the position of a consumer that has stopped, and returns it. The consumer begins there at its next start.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the consumer runs, or has crashed; [`Error::PositionTaken`] if the position has changed
    /// since it was read; as [`Positions::resolve`].
    pub async fn set(&self, saved: &SavedPosition, to: MoveTo) -> Result<GlobalPosition> {
        if !saved.is_stopped {
            let reason = match saved.slots {
                Some(_) => format!(
                    "a member of the elastic group {} runs, or its lease has not ended yet. Stop the members, or set the \
                     position by force: members that run then continue from there",
                    saved.stream
                ),
                None => format!(
                    "the consumer of {} runs, or has crashed: its last save does not say that it has stopped. Stop it, or set \
                     the position by force: a consumer that runs then stops at its next save",
                    saved.stream
                ),
            };
            return Err(Error::invalid("change of a position", reason));
        }
        self.set_by_force(saved, to).await
    }

    /// As [`Positions::set`], also while the consumer runs. It then stops with [`Error::PositionTaken`] at its next save.
    /// The members of an elastic group continue from the new position.
    ///
    /// # Errors
    /// As [`Positions::set`], except that a consumer may run.
    pub async fn set_by_force(&self, saved: &SavedPosition, to: MoveTo) -> Result<GlobalPosition> {
        let position = self.resolve(to).await?;
        let mut progress = Progress::stopped_at(position);
        match &saved.saved_in {
            SavedIn::Stream(end) => {
                progress.counted = Counted::of(&saved.outcomes);
                let steps = StepStream::new(&self.store, saved.stream.clone());
                match steps.append(*end, &PositionMessage::Recorded(progress)).await? {
                    Ok(_) => Ok(position),
                    Err(overtaken) => Err(overtaken.position_taken()),
                }
            }
            SavedIn::Slots(slots) => {
                let mut changes = Vec::with_capacity(slots.len());
                for slot in slots {
                    progress.counted = progress_of(saved.stream.as_str(), slot)?.counted;
                    changes.push((slot.clone(), Json::encode(&progress)?));
                }
                let leases = self.store.leases();
                let leases = leases.ok_or_else(|| Error::invalid("change of a position", "the store has no groups"))?;
                if leases.set_progress(saved.stream.as_str(), changes).await? {
                    return Ok(position);
                }
                let reason = format!("the progress of {} has changed since it was read. Read it again", saved.stream);
                Err(Error::invalid("change of a position", reason))
            }
        }
    }
}

/// The position of an elastic group.
fn of_group(stream: StreamName, GroupRecord { members, slots, .. }: GroupRecord) -> Result<SavedPosition> {
    let (mut position, mut counted, mut suspect) = (None, Counted::default(), None);
    for slot in &slots {
        let Progress { position: of_slot, counted: in_slot, suspect: of_last, .. } =
            progress_of(stream.as_str(), slot)?;
        counted.add(&in_slot);
        suspect = suspect.max(of_last.map(Suspect::in_short));
        position = Some(position.map_or(of_slot, |position: GlobalPosition| position.min(of_slot)));
    }
    Ok(SavedPosition {
        identifier: identifier_in(&stream).0.map(str::to_owned),
        member: None,
        position: position.unwrap_or(GlobalPosition::ZERO),
        slots: Some(slots.len()),
        saved_at: slots.iter().filter_map(|slot| slot.saved_at).max(),
        is_stopped: members.is_empty(),
        outcomes: counted.into_inner(),
        suspect,
        saved_in: SavedIn::Slots(slots),
        stream,
    })
}
