//! Transfers: they copy categories to another store.
//!
//! Problem: a position has a meaning in one store only. After a move, the marks of entities, and the causes that events
//! name, would refer to nothing or to other messages. Fix: a copy keeps its id and contains its original sequence
//! (`origin`), and the cause of a copied event is a position in the store where the event was first written. Why it is
//! right: only commands of one origin raise the mark of that origin, so copied commands are compared with marks of
//! copied events, and new commands never are, even if their positions are lower. Ids stay the same, so a second copy is
//! refused, and ids that were derived from an id can be found.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures_util::{TryStreamExt as _, future};

use super::transfer_timers;
use crate::intents::cause_of;
use crate::sequence::place_of;
use crate::{
    Append, Category, Error, GlobalPosition, Json, Message, MessageStore, MessageStoreExt as _, Metadata, NewMessage,
    Read, Result, Sequence, StreamName,
};

/// The number of messages that are copied in one append.
const PART: usize = 500;
/// The number of copies that are looked up at the same time.
const LOOK_UPS: usize = 128;

/// Copies categories from one store to another, in order and with their ids. A transfer can be interrupted and run
/// again. It skips messages that the target store already has.
///
/// The messages that transfers between the same two stores have written to the target are in the order in which they
/// are in the source, per category. A message that the target had by another way stays where it is: one that was first
/// written there, or that was copied from a third store.
///
/// To move a component, first copy the messages that record finished work, and then the commands:
///
/// 1. the categories of its entities (`account`) and of its reservations (`accountTransaction`);
/// 2. the dead letters of its consumers (`account:command+deadLetter`, with `+` and the identifier, if there is one),
///    so that a discarded command stays discarded even if a consumer runs on the new store already;
/// 3. the states of its guards ([`Guard::category`](crate::handling::Guard::category)): without a guard's state, its calls
///    are made again; the categories of delay buffers
///    ([`DelayBuffer::category`](crate::handling::DelayBuffer::category)), which have timers alone;
/// 4. its commands.
///
/// The [timers](crate::MessageStore::timers) whose keys have streams of a category are copied with it. Those of the old store
/// stay there: no service may run on it any more, or they fire there too.
///
/// The keys of [`Once`](crate::intents::Once) are not messages and are not copied: if a request comes again within its
/// window, the new store does its work again. Positions of consumers have a meaning in their own store only, and are
/// refused.
///
/// Then start the component on the new store, and stop it on the old one. The new store knows the commands that were
/// carried out before the copy, and carries out the others. Commands that arrive in the old store meanwhile are copied
/// by another run, and are handled even if they are late.
///
/// Do not rotate an identity between two runs of one move: events of another toolkit are matched with copied commands
/// by the identity at the time of the copy.
///
/// ```
/// # use message_store::{Category, connect};
/// # use message_store::operations::Transfer;
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let (old, new) = (connect("sqlite::memory:").await?, connect("sqlite::memory:").await?);
/// let mut transfer = Transfer::new(&old, &new);
/// for category in ["account", "accountTransaction", "account:command"] {
///     let copied = transfer.copy(&Category::new(category)?, |progress| println!("{progress}")).await?;
///     assert_eq!(copied.messages, copied.verified);
/// }
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Transfer {
    from: Arc<dyn MessageStore>,
    to: Arc<dyn MessageStore>,
}

/// The progress of a copy, and its result at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    #[allow(missing_docs)]
    pub category: Category,
    /// The number of messages of the category that were read from the old store.
    pub messages: u64,
    /// The number of them that this run wrote to the new store. The others were there before.
    pub written: u64,
    /// The number of them that were found unchanged in the new store afterwards.
    pub verified: u64,
    /// The global position up to which the old store was read.
    pub through: GlobalPosition,
    /// The number of timers that this run has set in the new store.
    pub timers: u64,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { category, messages, written, verified, through, timers } = self;
        write!(f, "{category}: {messages} messages through {through}, {written} written, {verified} verified")?;
        if *timers > 0 { write!(f, ", {timers} timers") } else { Ok(()) }
    }
}

impl Transfer {
    /// A transfer from one store to another.
    pub fn new(from: &Arc<dyn MessageStore>, to: &Arc<dyn MessageStore>) -> Self {
        Self { from: Arc::clone(from), to: Arc::clone(to) }
    }

    /// Copies a category and verifies the copy. Calls `progress` after each part.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a category with positions of consumers, when both stores are one, or when a copy is
    /// missing, differs from its original or is out of order; [`Error::IdConflict`] when the new store has another
    /// message with an id of the category; the stores' errors. The messages copied so far stay; run it again.
    pub async fn copy(&mut self, category: &Category, mut progress: impl FnMut(&Copied)) -> Result<Copied> {
        if category.as_str().ends_with("+position") {
            let reason = format!(
                "{category} contains positions of consumers, which have a meaning in their own store only; do not copy it: a consumer on \
                 the new store begins at the first message, and recognises the commands that were carried out"
            );
            return Err(Error::invalid("transfer", reason));
        }
        if self.from.store_id() == self.to.store_id() {
            let reason = "both stores have one identity; if one is a clone of the other, rotate its identity first";
            return Err(Error::invalid("transfer", reason));
        }
        let (category_name, through) = (category.clone(), GlobalPosition::ZERO);
        let mut copied = Copied { category: category_name, messages: 0, written: 0, verified: 0, through, timers: 0 };
        let mut read = Read::default().limit(PART);
        loop {
            let batch = self.from.read_category(category, read.clone()).await?;
            if batch.is_at_end(&read) {
                break;
            }
            for part in parts(&batch.messages) {
                copied.written += self.write(part).await?;
            }
            copied.messages += batch.messages.len() as u64;
            copied.through = batch.looked_through;
            read.from = batch.looked_through.next();
            progress(&copied);
        }
        copied.verified = self.verify(category, copied.through).await?;
        copied.timers = transfer_timers::copy(&*self.from, &*self.to, category).await?;
        progress(&copied);
        Ok(copied)
    }

    /// Writes messages in one append. Returns the number of those that were not there before.
    async fn write(&self, messages: &[Message]) -> Result<u64> {
        let mut metadata = Vec::new();
        for message in messages {
            metadata.push(self.metadata_of(message).await?);
        }
        match self.append(messages, &metadata).await {
            // An earlier run wrote some of these in other parts, so each is appended separately.
            Err(Error::IdConflict { .. }) if messages.len() > 1 => {
                let mut written = 0;
                for (message, metadata) in messages.chunks(1).zip(metadata.chunks(1)) {
                    written += self.append_alone(message, metadata).await?;
                }
                Ok(written)
            }
            Err(Error::IdConflict { .. }) => self.append_alone(messages, &metadata).await,
            result => result,
        }
    }

    /// Appends one message. It may have been erased after an earlier run.
    async fn append_alone(&self, message: &[Message], metadata: &[Json]) -> Result<u64> {
        match self.append(message, metadata).await {
            Err(Error::IdConflict { .. }) if self.is_erased_copy(&message[0]).await? => Ok(0),
            result => result,
        }
    }

    /// Whether the target has this message, erased or not, and the message is erased.
    async fn is_erased_copy(&self, original: &Message) -> Result<bool> {
        let copy = if original.is_erased() { self.to.message(original.id).await? } else { None };
        Ok(copy.is_some_and(|copy| copy.stream == original.stream && copy.message_type == original.message_type))
    }

    async fn append(&self, messages: &[Message], metadata: &[Json]) -> Result<u64> {
        let mut appends: Vec<Append> = Vec::new();
        for (message, metadata) in messages.iter().zip(metadata) {
            let (message_type, data) = (message.message_type.clone(), message.data.clone());
            let copy = NewMessage { id: message.id, message_type, data, metadata: metadata.clone() };
            match appends.last_mut() {
                Some(append) if append.stream == message.stream => append.messages.push(copy),
                _ => appends.push(Append::to(message.stream.clone()).message(copy)),
            }
        }
        let appended = self.to.append_settled(appends).await?;
        Ok(if appended.already_written { 0 } else { messages.len() as u64 })
    }

    /// The metadata of a copy: that of its original, with the place of its original.
    async fn metadata_of(&self, message: &Message) -> Result<Json> {
        let (mut metadata, here) = (message.decode_metadata(), self.from.store_id());
        // Another toolkit names a cause by its place. If the cause is a copy, its other copies do not know that place.
        if metadata.names_only_a_place_in(here) {
            let cause = cause_of(&*self.from, &metadata).await?;
            // A cause is always before its event. A message after the event took the named place later.
            let cause = cause.filter(|cause| cause.global_position < message.global_position);
            metadata.cause_origin = cause.and_then(|cause| cause.decode_metadata().origin);
        }
        copied_from(&mut metadata, place_of(message, here));
        metadata.to_storable_json()
    }

    /// Looks up the copy of every message. The copies that a transfer between the same two stores wrote must be in the
    /// order of their originals. The other copies came by another way, and were placed by the order of that way.
    async fn verify(&self, category: &Category, through: GlobalPosition) -> Result<u64> {
        let originals = self.from.category_messages(category, Read::default());
        let originals = originals.try_take_while(|original| future::ready(Ok(original.global_position <= through)));
        let pairs = originals.map_ok(|original| async {
            let copy = self.to.message(original.id).await?;
            Ok((original, copy))
        });
        let mut pairs = std::pin::pin!(pairs.try_buffered(LOOK_UPS));
        let (mut verified, mut last) = (0, GlobalPosition::ZERO);
        while let Some((original, copy)) = pairs.try_next().await? {
            let copy = copy.ok_or_else(|| self.invalid(&original, "missing"))?;
            assert_same(&original, &copy)?;
            if self.is_from(&original, &copy) {
                if copy.global_position <= last {
                    return Err(self.invalid(&original, "out of order"));
                }
                last = copy.global_position;
            }
            verified += 1;
        }
        Ok(verified)
    }

    /// Whether a transfer between these two stores wrote the copy.
    fn is_from(&self, original: &Message, copy: &Message) -> bool {
        let (mut expected, found) = (original.decode_metadata(), copy.decode_metadata());
        copied_from(&mut expected, place_of(original, self.from.store_id()));
        (expected.origin, expected.via) == (found.origin, found.via)
    }

    fn invalid(&self, original: &Message, state: &str) -> Error {
        let reason = format!("{} ({}) is {state} in {}", original.reference(), original.id, self.to.describe());
        Error::invalid("transfer", reason)
    }
}

/// Records the place from which a message is copied.
fn copied_from(metadata: &mut Metadata, place: Sequence) {
    match metadata.origin {
        None => metadata.origin = Some(place),
        // The message is a copy already. Events that were written for it in this store name its place here.
        Some(_) => metadata.via.push(place),
    }
}

fn assert_same(original: &Message, copy: &Message) -> Result<()> {
    let same = original.stream == copy.stream
        && original.message_type == copy.message_type
        && (original.is_erased() || copy.is_erased() || original.data.same_as(&copy.data));
    if same {
        return Ok(());
    }
    Err(Error::invalid("transfer", format!("{} differs from its original, {}", copy.reference(), original.reference())))
}

/// Divides messages into parts that keep their order when each is one append: within a part, the messages of a stream
/// are adjacent.
fn parts(messages: &[Message]) -> Vec<&[Message]> {
    let mut parts = Vec::new();
    let (mut begin, mut seen): (usize, BTreeSet<&StreamName>) = (0, BTreeSet::new());
    for (at, message) in messages.iter().enumerate() {
        let goes_on = at > begin && messages[at - 1].stream == message.stream;
        if !goes_on && !seen.insert(&message.stream) {
            parts.push(&messages[begin..at]);
            begin = at;
            seen = BTreeSet::from([&message.stream]);
        }
    }
    if begin < messages.len() {
        parts.push(&messages[begin..]);
    }
    parts
}
