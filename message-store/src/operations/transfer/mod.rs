//! Transfers: they copy categories to another store.
//!
//! Problem: a position has a meaning in one store only. After a move, the marks of entities, and the causes that events
//! name, would refer to nothing or to other messages. Fix: a copy keeps its id and contains its original sequence
//! (`origin`), and the cause of a copied event is a position in the store where the event was first written. Why it is
//! right: only commands of one origin raise the mark of that origin, so copied commands are compared with marks of
//! copied events, and new commands never are, even if their positions are lower. Ids stay the same, so a second copy is
//! refused, and ids that were derived from an id can be found.

mod copies;
mod timers;

use std::fmt;
use std::sync::Arc;

use futures_util::{TryStreamExt as _, future};

use crate::sequence::place_of;
use crate::{Category, Error, GlobalPosition, Message, MessageStore, MessageStoreExt as _, Read, Result};

use copies::copied_from;
pub(super) use copies::{copy_of, write};
pub(super) use timers::{copy_of_timer, set};

/// The number of messages that are read at once.
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
            let mut copies = Vec::with_capacity(batch.messages.len());
            for message in &batch.messages {
                copies.push(copy_of(message, &*self.from).await?);
            }
            copied.written += write(&copies, &*self.to).await?;
            copied.messages += batch.messages.len() as u64;
            copied.through = batch.looked_through;
            read.from = batch.looked_through.next();
            progress(&copied);
        }
        copied.verified = self.verify(category, copied.through).await?;
        copied.timers = timers::copy(&*self.from, &*self.to, category).await?;
        progress(&copied);
        Ok(copied)
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

fn assert_same(original: &Message, copy: &Message) -> Result<()> {
    let same = original.stream == copy.stream
        && original.message_type == copy.message_type
        && (original.is_erased() || copy.is_erased() || original.data.same_as(&copy.data));
    if same {
        return Ok(());
    }
    Err(Error::invalid("transfer", format!("{} differs from its original, {}", copy.reference(), original.reference())))
}
