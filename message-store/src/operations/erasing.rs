//! Erasing: it removes the data of an entity, of a stream or of a tag from the store, and leaves the messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::value::RawValue;

use super::erased_timers;
use crate::consumer::{DeadLetters, Positions};
use crate::metadata::erased_metadata;
use crate::store::{Erasure, ErasureRun, ErasureTarget, Redaction};
use crate::{Category, Error, GlobalPosition, Json, Message, MessageStore, Result, StreamName, Tag};

/// The number of messages that one transaction erases.
const PART: usize = 500;

/// Erases the data of messages, in the table of messages and in the archive. It cannot be undone.
///
/// An erased message ([`Message::is_erased`]) keeps its id, its stream and positions, its type, its time, its causation and
/// correlation, and the stamp of its handler. So positions stay without gaps, and each command still has one effect. Its
/// data and the properties in its metadata are gone.
///
/// The errors in the dead letters of the messages, and the messages of timers that wait, are erased too, and the snapshots
/// of the entities are removed. A process that runs may remember an entity, and take a snapshot of it again: restart it, and
/// erase once more. The guide's page "Archive and erase" lists what this
/// does not reach, such as the tables of read models, and backups.
///
/// ```
/// use message_store::connect;
/// use message_store::operations::Erasing;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// // The events of account 123, its reservations in the same category, and its commands.
/// for entity in ["account-123", "account:command-123"] {
///     let erased = Erasing::entity(&store, entity)?.run(|progress| println!("{progress}")).await?;
///     # assert_eq!(erased.erased, 0);
/// }
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Erasing {
    store: Arc<dyn MessageStore>,
    target: ErasureTarget,
    part: usize,
}

impl Erasing {
    /// Erases the messages of one stream.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid name, and for a stream of the toolkit's own that must stay readable;
    /// [`Error::Unsupported`] for a store that cannot erase.
    pub fn stream(store: &Arc<dyn MessageStore>, name: &str) -> Result<Self> {
        Self::of(store, ErasureTarget::Stream(named(name)?))
    }

    /// Erases the messages of an entity: of the stream with this name, such as `account-123`, and of all streams of its
    /// category with the same cardinal id, such as `account-123+deposit-1`.
    ///
    /// # Errors
    /// As [`Erasing::stream`]; [`Error::Invalid`] for a name that has no id, or an id with a `+`.
    pub fn entity(store: &Arc<dyn MessageStore>, name: &str) -> Result<Self> {
        let stream = named(name)?;
        if stream.cardinal_id().is_none_or(str::is_empty) || stream.cardinal_id() != stream.id() {
            let reason = format!("{name} does not name an entity: give its category and its id, such as account-123");
            return Err(Error::invalid("entity", reason));
        }
        Self::of(store, ErasureTarget::Entity(stream))
    }

    /// Erases the messages with a tag, such as that of a person, in whatever streams they are.
    ///
    /// The errors in their dead letters are not erased: erase the streams that the letters name too.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::TooLarge`] for a text that is no tag; [`Error::Unsupported`] for a store that cannot
    /// erase.
    pub fn tag(store: &Arc<dyn MessageStore>, tag: &str) -> Result<Self> {
        Self::of(store, ErasureTarget::Tag(Tag::new(tag)?))
    }

    fn of(store: &Arc<dyn MessageStore>, target: ErasureTarget) -> Result<Self> {
        erasure_of(&**store)?;
        Ok(Self { store: Arc::clone(store), target, part: PART })
    }

    /// Sets the number of messages that one transaction erases. Default: 500.
    #[must_use]
    pub fn part(mut self, messages: usize) -> Self {
        self.part = messages.max(1);
        self
    }

    /// The number of messages that would be erased now. Nothing is changed.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn count(&self) -> Result<u64> {
        let (erasure, mut count, mut after) = (erasure_of(&*self.store)?, 0, GlobalPosition::ZERO);
        loop {
            let messages = erasure.messages(&self.target, after, self.part).await?;
            let Some(last) = messages.last() else { return Ok(count) };
            after = last.global_position;
            count += messages.iter().filter(|message| !message.is_erased()).count() as u64;
        }
    }

    /// Erases the messages, a part at a time, and calls `progress` after each part. If an erasure of the same target was
    /// begun before and has not ended, this goes on with it. If this ends half way, run it again.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn run(&self, mut progress: impl FnMut(&ErasureRun)) -> Result<ErasureRun> {
        let erasure = erasure_of(&*self.store)?;
        erased_timers::erase(&*self.store, |stream| self.is_of_target(stream)).await?;
        let mut run = erasure.begin(&self.target).await?;
        let mut streams = BTreeSet::new();
        loop {
            let messages = erasure.messages(&self.target, run.looked_through, self.part).await?;
            let Some(last) = messages.last() else { break };
            streams.extend(messages.iter().map(|message| message.stream.clone()));
            let to_erase = messages.iter().filter(|message| !message.is_erased());
            let redactions = to_erase.map(erased).collect::<Result<_>>()?;
            run = erasure.redact(&run, redactions, last.global_position).await?;
            if run.ended_at.is_some() {
                // Another call has ended it, and nothing of this part was erased.
                run = erasure.begin(&self.target).await?;
            }
            progress(&run);
        }
        for letters in self.letters().await? {
            self.redact_letters(erasure, &run, &letters).await?;
        }
        // An earlier run of this target may have ended before it came to these.
        if let ErasureTarget::Stream(stream) | ErasureTarget::Entity(stream) = &self.target {
            streams.insert(stream.clone());
        }
        self.remove_snapshots(streams).await?;
        let ended = erasure.end(&run).await?;
        progress(&ended);
        Ok(ended)
    }

    /// The letters of the target's messages, for each consumer of the category: as entities in the categories of letters.
    async fn letters(&self) -> Result<Vec<ErasureTarget>> {
        let (ErasureTarget::Stream(stream) | ErasureTarget::Entity(stream)) = &self.target else {
            return Ok(Vec::new());
        };
        let (category, Some(entity)) = (stream.category(), stream.cardinal_id()) else { return Ok(Vec::new()) };
        let mut identifiers = BTreeSet::from([None]);
        for saved in Positions::of(&self.store, category.as_str())?.list().await? {
            identifiers.insert(saved.identifier);
        }
        let mut targets = Vec::new();
        for identifier in identifiers {
            let letters = DeadLetters::of(&self.store, category.as_str(), identifier.as_deref())?;
            // A name that is too long is shortened, and then it is no prefix.
            targets.extend(Category::new(letters.category())?.stream(entity).ok().map(ErasureTarget::Entity));
        }
        Ok(targets)
    }

    /// Erases the errors in letters of the target's messages. The rest of a letter stays: it says what became of the
    /// message.
    async fn redact_letters(&self, erasure: &dyn Erasure, run: &ErasureRun, letters: &ErasureTarget) -> Result<()> {
        let mut after = GlobalPosition::ZERO;
        loop {
            let steps = erasure.messages(letters, after, self.part).await?;
            let Some(last) = steps.last() else { return Ok(()) };
            after = last.global_position;
            let redactions: Vec<_> = steps.iter().filter_map(|step| self.without_error(step)).collect();
            if !redactions.is_empty() {
                erasure.redact(run, redactions, run.looked_through).await?;
            }
        }
    }

    /// The step of a letter without the error, if it has one and is of a message of the target.
    fn without_error(&self, step: &Message) -> Option<Redaction> {
        const ERASED: &str = "erased";
        let mut fields: BTreeMap<String, Box<RawValue>> = step.decode_data().ok()?;
        let text = |name: &str, fields: &BTreeMap<String, Box<RawValue>>| -> Option<String> {
            serde_json::from_str(fields.get(name)?.get()).ok()
        };
        let is_of_target = match &self.target {
            ErasureTarget::Stream(stream) => text("stream", &fields).as_deref() == Some(stream.as_str()),
            ErasureTarget::Entity(_) | ErasureTarget::Tag(_) => true,
        };
        if !is_of_target || text("error", &fields).is_none_or(|error| error.is_empty() || error == ERASED) {
            return None;
        }
        fields.insert("error".to_owned(), serde_json::value::to_raw_value(ERASED).ok()?);
        Some(Redaction::new(step.id, Json::encode(&fields).ok()?, step.metadata.clone()))
    }

    /// Whether a stream belongs to the target. Messages with a tag can be of any stream.
    fn is_of_target(&self, stream: &StreamName) -> bool {
        match &self.target {
            ErasureTarget::Stream(target) => stream == target,
            ErasureTarget::Entity(target) => {
                stream.category_str() == target.category_str() && stream.cardinal_id() == target.cardinal_id()
            }
            ErasureTarget::Tag(_) => false,
        }
    }

    /// Removes the snapshots of streams: they were made of what is erased.
    async fn remove_snapshots(&self, streams: BTreeSet<StreamName>) -> Result<()> {
        let Some(snapshots) = self.store.snapshots() else { return Ok(()) };
        for stream in streams {
            snapshots.remove(&stream).await?;
        }
        Ok(())
    }
}

/// The content of an erased message.
fn erased(message: &Message) -> Result<Redaction> {
    Ok(Redaction::new(message.id, Json::NULL, erased_metadata(&message.metadata)?))
}

/// The stream with this name, unless it is one of the toolkit's that must stay readable.
fn named(name: &str) -> Result<StreamName> {
    let stream = StreamName::new(name)?;
    let category: Category = stream.category();
    let category = category.as_str();
    let is_own =
        category.ends_with("+position") || category.contains("+deadLetter") || category.starts_with("checkpoint:");
    if is_own {
        let reason = format!(
            "{name} is a stream of the toolkit (positions, dead letters, checkpoints), without which messages are lost. The errors in \
             dead letters are erased together with their messages"
        );
        return Err(Error::invalid("erasure", reason));
    }
    Ok(stream)
}

fn erasure_of(store: &dyn MessageStore) -> Result<&dyn Erasure> {
    store.erasure().ok_or_else(|| Error::Unsupported { store: store.describe(), what: "an erasure".to_owned() })
}
