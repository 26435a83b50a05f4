//! The contract that every backend keeps, proved by one conformance suite ([`crate::testing::conformance`]).

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::store::{Deduplication, ReadModels};
use crate::{
    AppendRequest, Appended, Batch, Category, Error, GlobalPosition, History, Limits, Message, MessageId, Position,
    Read, Result, StoreId, StreamName, StreamRead, Version, WakeUp,
};

/// A store of messages.
///
/// - Stream positions are gapless from 0. Global positions rise; gaps are normal.
/// - A reader that has passed a global position never later finds an unseen message below it.
/// - An acknowledged append is durable; an append whose answer was lost is settled by appending the same messages
///   again.
#[async_trait]
pub trait MessageStore: fmt::Debug + Send + Sync {
    /// This store's identity, as it was when the store was opened or last rotated by this handle.
    fn store_id(&self) -> StoreId;

    /// What this store refuses to write, and how much it reads at once.
    fn limits(&self) -> &Limits {
        &Limits::DEFAULT
    }

    /// The store's kind and place, without secrets: for start-up reports and errors.
    fn describe(&self) -> String {
        format!("the store {}", self.store_id())
    }

    /// Appends messages to one stream or to several, all of them or none.
    ///
    /// The same messages again (ids, streams, types, data) return their first places, marked
    /// [`already_written`](Appended::already_written), even when an expected version is stale by now.
    ///
    /// # Errors
    /// [`WrongExpectedVersion`](crate::Error::WrongExpectedVersion), [`IdConflict`](crate::Error::IdConflict),
    /// [`TooLarge`](crate::Error::TooLarge), [`Invalid`](crate::Error::Invalid),
    /// [`HistoryChanged`](crate::Error::HistoryChanged): nothing was written.
    /// [`CommitUnknown`](crate::Error::CommitUnknown): append the same messages again.
    /// [`TimedOut`](crate::Error::TimedOut), [`Backend`](crate::Error::Backend): nothing was written.
    ///
    /// A caller that gives up, by dropping the future, does not learn whether its messages were written: appending them
    /// again tells.
    async fn append(&self, request: AppendRequest) -> Result<Appended>;

    /// Which history of the store this handle sees: another one after a failover that may have lost messages, or a new
    /// identity. What was remembered of the store under another history is worthless: drop it.
    fn history(&self) -> History {
        History::default()
    }

    /// The highest global position that was given out where the messages of this category are stored (of any category,
    /// with `None`), whether the message still stands or not; 0 for none. A store that keeps all categories in one
    /// place answers the same for each.
    async fn given_out(&self, category: Option<&Category>) -> Result<GlobalPosition>;

    /// What the database's clock says.
    async fn now(&self) -> Result<Timestamp>;

    /// Reads a stream. An empty answer means that there is nothing from there on.
    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>>;

    /// Reads a category in the order of global positions.
    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch>;

    /// Reads all messages in the order of global positions.
    async fn read_all(&self, read: Read) -> Result<Batch>;

    /// The last message of a stream, or its last message of one type.
    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
        let mut read = StreamRead::backwards();
        if message_type.is_none() {
            read = read.limit(1);
        }
        loop {
            let messages = self.read_stream(stream, read.clone()).await?;
            let Some(lowest) = messages.last().map(|message| message.position) else { return Ok(None) };
            let is_wanted = |message: &Message| message_type.is_none_or(|wanted| message.message_type == wanted);
            if let Some(found) = messages.into_iter().find(is_wanted) {
                return Ok(Some(found));
            }
            if lowest == Position::FIRST {
                return Ok(None);
            }
            read = StreamRead::backwards_from(Position::new(lowest.get() - 1));
        }
    }

    /// The version of a stream.
    async fn version(&self, stream: &StreamName) -> Result<Version> {
        let last = self.last_message(stream, None).await?;
        Ok(last.map_or(Version::NO_STREAM, |last| Version::at(last.position)))
    }

    /// The message with this id.
    async fn message(&self, id: MessageId) -> Result<Option<Message>>;

    /// What wakes a reader when messages come to a category, or to any with `None`. Ask for it *before* reading: then
    /// what is written after the read wakes it. A store without wake-ups answers one that never comes: its readers
    /// poll.
    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        let _ = category;
        Ok(WakeUp::never())
    }

    /// Gives the store a new identity, so that positions given out from now on are told apart from earlier ones.
    /// For a store restored to an earlier point, or a clone that goes live; with no component running.
    ///
    /// # Errors
    /// [`Unsupported`](crate::Error::Unsupported) where a store's identity cannot change.
    async fn rotate_store_id(&self) -> Result<StoreId> {
        Err(Error::Unsupported { store: self.describe(), what: "another identity".to_owned() })
    }

    /// Keys with a window, if this store has them.
    fn deduplication(&self) -> Option<&dyn Deduplication> {
        None
    }

    /// Read models in the store's own database, if this store has them.
    fn read_models(&self) -> Option<&dyn ReadModels> {
        None
    }
}
