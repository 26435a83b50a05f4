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

use futures_util::TryStreamExt as _;

use crate::sequence::place_of;
use crate::{
    Append, Category, Error, GlobalPosition, Message, MessageStore, MessageStoreExt as _, NewMessage, Read, Result,
    StreamName,
};

/// The number of messages that are copied in one append.
const PART: usize = 500;

/// Copies categories from one store to another, in order and with their ids. A transfer can be interrupted and run
/// again. It skips messages that the target store already has.
///
/// To move a component, first copy the messages that record finished work, and then the commands:
///
/// 1. the categories of its entities (`account`) and of its reservations (`accountTransaction`);
/// 2. the dead letters of its consumers (`account:command+deadLetter`, with `+` and the identifier, if there is one),
///    so that a discarded command stays discarded even if a consumer runs on the new store already;
/// 3. the states of its guards ([`Guard::category`](crate::handling::Guard::category)) and delay buffers
///    ([`DelayBuffer::category`](crate::handling::DelayBuffer::category)): without a guard's state, its calls are made
///    again;
/// 4. its commands.
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
    /// The number of them that were found unchanged in the new store afterwards, in the same order.
    pub verified: u64,
    /// The global position up to which the old store was read.
    pub through: GlobalPosition,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { category, messages, written, verified, through } = self;
        write!(f, "{category}: {messages} messages through {through}, {written} written, {verified} verified")
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
    /// [`Error::Invalid`] for a category with positions of consumers, when both stores are one, or when a copy differs
    /// from its original; [`Error::IdConflict`] when the new store has another message with an id of the category; the
    /// stores' errors. The messages copied so far stay; run it again.
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
        let mut copied =
            Copied { category: category.clone(), messages: 0, written: 0, verified: 0, through: GlobalPosition::ZERO };
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
        progress(&copied);
        Ok(copied)
    }

    /// Writes messages in one append. Returns the number of those that were not there before.
    async fn write(&self, messages: &[Message]) -> Result<u64> {
        match self.append(messages).await {
            // An earlier run wrote some of these in other parts, so each is appended separately.
            Err(Error::IdConflict { .. }) if messages.len() > 1 => {
                let mut written = 0;
                for message in messages {
                    written += self.append(std::slice::from_ref(message)).await?;
                }
                Ok(written)
            }
            result => result,
        }
    }

    async fn append(&self, messages: &[Message]) -> Result<u64> {
        let mut appends: Vec<Append> = Vec::new();
        for message in messages {
            let copy = self.copy_of(message)?;
            match appends.last_mut() {
                Some(append) if append.stream == message.stream => append.messages.push(copy),
                _ => appends.push(Append::to(message.stream.clone()).message(copy)),
            }
        }
        let appended = self.to.append_settled(appends).await?;
        Ok(if appended.already_written { 0 } else { messages.len() as u64 })
    }

    /// The copy of a message, with the sequence of its original. All other metadata is kept.
    fn copy_of(&self, message: &Message) -> Result<NewMessage> {
        let (mut metadata, here) = (message.decode_metadata(), self.from.store_id());
        match metadata.origin {
            None => metadata.origin = Some(place_of(message, here)),
            // The message is a copy already. Events that were written for it in this store name its place here.
            Some(_) => metadata.via.push(place_of(message, here)),
        }
        let (message_type, data) = (message.message_type.clone(), message.data.clone());
        Ok(NewMessage { id: message.id, message_type, data, metadata: metadata.to_json()? })
    }

    /// Reads both categories in parallel. Every original must have its copy, in order. Other messages between the
    /// copies are skipped.
    async fn verify(&self, category: &Category, through: GlobalPosition) -> Result<u64> {
        let mut copies = std::pin::pin!(self.to.category_messages(category, Read::default()));
        let mut originals = std::pin::pin!(self.from.category_messages(category, Read::default()));
        let mut passed_over = BTreeSet::new();
        let mut verified = 0;
        while let Some(original) = originals.try_next().await? {
            if original.global_position > through {
                break;
            }
            loop {
                let copy = copies.try_next().await?.ok_or_else(|| {
                    let state = if passed_over.contains(&original.id) { "out of order" } else { "missing" };
                    let reason =
                        format!("{} ({}) is {state} in {}", original.reference(), original.id, self.to.describe());
                    Error::invalid("transfer", reason)
                })?;
                if copy.id == original.id {
                    assert_same(&original, &copy)?;
                    break;
                }
                passed_over.insert(copy.id);
            }
            verified += 1;
        }
        Ok(verified)
    }
}

fn assert_same(original: &Message, copy: &Message) -> Result<()> {
    let same = original.stream == copy.stream
        && original.message_type == copy.message_type
        && original.data.same_as(&copy.data);
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
