//! The contract that every backend keeps, proved by one conformance suite ([`crate::testing::conformance`]).

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::store::{Claim, ClaimRecord, Hold};
use crate::{
    Append, Appended, Batch, Category, GlobalPosition, History, Json, Limits, Message, MessageId, Read, Result,
    StoreId, StreamName, StreamRead, Version, WakeUp,
};

/// A store of messages.
///
/// - Stream positions are gapless from 0. Global positions rise; gaps are normal.
/// - A reader that has passed a global position never later finds an unseen message below it.
/// - An acknowledged append is durable; an append whose answer was lost is settled by appending the same messages again.
#[async_trait]
pub trait MessageStore: fmt::Debug + Send + Sync {
    /// This store's identity, as it was when the store was opened or last rotated by this handle.
    fn store_id(&self) -> StoreId;

    /// What this store refuses to write, and how much it reads at once.
    fn limits(&self) -> &Limits;

    /// The store's kind and place, without secrets: for start-up sheets and errors.
    fn describe(&self) -> String;

    /// Appends messages to one stream or to several, all of them or none.
    ///
    /// The same messages again (ids, streams, types, data) return their first places, marked
    /// [`already_written`](Appended::already_written), even when an expected version is stale by now.
    ///
    /// # Errors
    /// [`WrongExpectedVersion`](crate::Error::WrongExpectedVersion), [`IdConflict`](crate::Error::IdConflict),
    /// [`TooLarge`](crate::Error::TooLarge), [`Invalid`](crate::Error::Invalid): nothing was written.
    /// [`CommitUnknown`](crate::Error::CommitUnknown): append the same messages again.
    /// [`TimedOut`](crate::Error::TimedOut), [`Backend`](crate::Error::Backend): nothing was written.
    ///
    /// A caller that gives up, by dropping the future, does not learn whether its messages were written: appending them again tells.
    async fn append(&self, appends: Vec<Append>) -> Result<Appended>;

    /// Which history of the store this handle sees: another one after a failover that may have lost messages, or a new identity. What was
    /// remembered of the store under another history is worthless: drop it.
    fn history(&self) -> History {
        History::default()
    }

    /// Appends what was decided on what was remembered under `history`.
    ///
    /// # Errors
    /// As [`MessageStore::append`]; [`HistoryChanged`](crate::Error::HistoryChanged) when the store has another history by now.
    async fn append_in(&self, history: History, appends: Vec<Append>) -> Result<Appended> {
        let _ = history;
        self.append(appends).await
    }

    /// The highest global position that the store has given out, whether the message still stands or not; 0 for none.
    async fn given_out(&self) -> Result<GlobalPosition>;

    /// What the database's clock says.
    async fn now(&self) -> Result<Timestamp>;

    /// Reads a stream. An empty answer means that there is nothing from there on.
    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>>;

    /// Reads a category in the order of global positions.
    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch>;

    /// Reads all messages in the order of global positions.
    async fn read_all(&self, read: Read) -> Result<Batch>;

    /// The last message of a stream, or its last message of one type.
    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>>;

    /// The version of a stream.
    async fn version(&self, stream: &StreamName) -> Result<Version>;

    /// The message with this id.
    async fn message(&self, id: MessageId) -> Result<Option<Message>>;

    /// Holds a key while its caller works on it, so that no other begins, here or in another process: waits for it, or, without
    /// waiting, answers `None` when another caller has it. It ends with the [`Hold`], or with the process.
    async fn hold(&self, claim: &Claim, waits: bool) -> Result<Option<Hold>>;

    /// Takes a key and appends messages (none is allowed), all in one step, with the answer to give to repeats; or returns the record of the key, and
    /// does nothing. See [`Once`](crate::intents::Once).
    ///
    /// # Errors
    /// As [`MessageStore::append`]; the key is free then.
    async fn append_once(&self, claim: &Claim, appends: Vec<Append>, result: Json) -> Result<Option<ClaimRecord>>;

    /// The record of a key, unless it has expired or was never taken. With a sliding window, the window begins anew.
    async fn seen(&self, claim: &Claim) -> Result<Option<ClaimRecord>>;

    /// Removes up to `batch` expired keys; returns how many.
    async fn sweep(&self, batch: u32) -> Result<u64>;

    /// What wakes a reader when messages come to a category, or to any with `None`. Ask for it *before* reading: then what is
    /// written after the read wakes it.
    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp>;

    /// Gives the store a new identity, so that positions given out from now on are told apart from earlier ones.
    /// For a store restored to an earlier point, or a clone that goes live; with no component running.
    async fn rotate_store_id(&self) -> Result<StoreId>;
}
