//! Moving categories to another store.
//!
//! Problem: positions mean something in one store only, and what remembers them (the marks of entities, the causes that
//! events name) would point nowhere, or at something else. Fix: a copy keeps its id, and carries its sequence
//! (`origin`); what a copied event says of its cause is read as of the store it was born in. Why it is right: the mark
//! of an origin grows by commands of that origin alone, so copied commands are compared with copied marks, and native
//! ones, however low their positions, with none; and ids are the same, so a second copy is refused, and what was
//! derived from an id is found again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt as _;

use crate::sequence::place_of;
use crate::{
    Append, Category, Error, GlobalPosition, Message, MessageStore, MessageStoreExt as _, NewMessage, Read, Result,
    StreamName,
};

/// Messages that are copied in one append.
const PART: usize = 500;

/// Copies categories from one store to another, in order, ids kept. A transfer can be interrupted and run again. It
/// skips messages that the target store already has.
///
/// To move a component, copy first what says what was done, and then what is to be done:
///
/// 1. the categories of its entities (`account`) and of its reservations (`accountTransaction`);
/// 2. the dead letters of its consumers (`account:command+deadLetter`, with `+` and the identifier, if there is one):
///    what was given up stays given up, also where a consumer runs on the new store already;
/// 3. the states of its guards ([`Guard::category`](crate::handling::Guard::category)) and delay buffers
///    ([`DelayBuffer::category`](crate::handling::DelayBuffer::category)): without a guard's state, its calls are made
///    again;
/// 4. its commands.
///
/// The keys of [`Once`](crate::intents::Once) are no messages, and are not copied: a request that comes again within
/// its window is done again on the new store. Positions of consumers are refused: they mean something in their own
/// store alone.
///
/// Then start the component on the new store, and stop it on the old one. Commands that were carried out before the
/// copy are known in the new store, those that were not are carried out there. Commands that arrive in the old store
/// meanwhile are copied by another run, late or not.
///
/// Do not rotate an identity between two runs of one move: what another toolkit has carried out is known by the
/// identity that its commands were copied with.
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

/// How far a copy has come, and what it was when it is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Which category.
    pub category: Category,
    /// How many of its messages were looked at in the old store.
    pub messages: u64,
    /// How many of them were written to the new store by this run; the others were there.
    pub written: u64,
    /// How many of them were found in the new store afterwards, each as it was, in the same order.
    pub verified: u64,
    /// Up to where the old store was read.
    pub through: GlobalPosition,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { category, messages, written, verified, through } = self;
        write!(f, "{category}: {messages} messages through {through}, {written} written, {verified} verified")
    }
}

impl Transfer {
    /// From one store to another.
    pub fn new(from: &Arc<dyn MessageStore>, to: &Arc<dyn MessageStore>) -> Self {
        Self { from: Arc::clone(from), to: Arc::clone(to) }
    }

    /// Copies a category and verifies the copy, telling `progress` after each part.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the positions of consumers, when both stores are one, or when the copy is not as the
    /// original; [`Error::IdConflict`] when the new store has an id for another message; the stores' errors. What was
    /// copied stays; run it again.
    pub async fn copy(&mut self, category: &Category, mut progress: impl FnMut(&Copied)) -> Result<Copied> {
        if category.as_str().ends_with("+position") {
            let reason = format!(
                "{category} keeps positions of consumers, which mean something in their own store alone; leave it where it is: a consumer on \
                 the new store begins at its beginning, and knows what was done"
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

    /// Writes messages that may go into one append; how many of them were new.
    async fn write(&self, messages: &[Message]) -> Result<u64> {
        match self.append(messages).await {
            // A run that was broken off, or that found less, has cut the parts elsewhere: one by one, then.
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

    /// The message, with its birth certificate. What else stands in its metadata stays.
    fn copy_of(&self, message: &Message) -> Result<NewMessage> {
        let (mut metadata, here) = (message.decode_metadata(), self.from.store_id());
        match metadata.origin {
            None => metadata.origin = Some(place_of(message, here)),
            // What was written for it in this store names its place here.
            Some(_) => metadata.via.push(place_of(message, here)),
        }
        let (message_type, data) = (message.message_type.clone(), message.data.clone());
        Ok(NewMessage { id: message.id, message_type, data, metadata: metadata.to_json()? })
    }

    /// Walks through both categories side by side: every original must come up in the copy, in order; native messages
    /// between them are passed over.
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
    Err(Error::invalid("transfer", format!("{} is not as its original, {}", copy.reference(), original.reference())))
}

/// Cuts messages into parts that keep their order in one append: within a part, the messages of a stream stand
/// together.
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
