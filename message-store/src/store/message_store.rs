//! The contract of a message store. The conformance suite ([`crate::testing::conformance`]) tests it.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::store::{
    Archive, Backlog, Conditions, Deduplication, Erasure, Leases, ReadModels, ServiceReports, Snapshots, StreamBatch,
    Timers, is_correlated_with,
};
use crate::{
    AppendRequest, Appended, Batch, Category, Error, GlobalPosition, History, Limits, Message, MessageId, MessageRef,
    Position, Read, Result, StoreId, StreamName, StreamRead, Version, WakeUp,
};

/// A store of messages.
///
/// - Positions in a stream begin at 0 and have no gaps. Global positions increase, and may have gaps.
/// - A reader that has passed a global position never later finds an unseen message below it.
/// - An acknowledged append is durable. After a lost answer, the caller appends the same messages again, and the store
///   recognises their ids.
#[async_trait]
pub trait MessageStore: fmt::Debug + Send + Sync {
    /// The store's identity, as of the opening of this handle, or of its last rotation by this handle.
    fn store_id(&self) -> StoreId;

    /// The largest sizes that this store writes and reads.
    fn limits(&self) -> &Limits {
        &Limits::DEFAULT
    }

    /// The store's kind and place, without secrets. Start-up reports and errors contain it.
    fn describe(&self) -> String {
        format!("the store {}", self.store_id())
    }

    /// Appends messages to one stream or to several, all of them or none.
    ///
    /// If all messages were written before (the same ids, streams, types and data), this writes nothing and returns
    /// their first places, with [`already_written`](Appended::already_written). This is so even if an expected version
    /// is stale by now.
    ///
    /// # Errors
    /// [`WrongExpectedVersion`](crate::Error::WrongExpectedVersion), [`IdConflict`](crate::Error::IdConflict),
    /// [`ConditionFailed`](crate::Error::ConditionFailed), [`TooLarge`](crate::Error::TooLarge), [`Invalid`](crate::Error::Invalid),
    /// [`HistoryChanged`](crate::Error::HistoryChanged): nothing was written.
    /// [`CommitUnknown`](crate::Error::CommitUnknown): the messages may or may not be written; append the same messages
    /// again. [`TimedOut`](crate::Error::TimedOut), [`Backend`](crate::Error::Backend): nothing was written.
    ///
    /// A caller that drops the future does not learn whether its messages were written. To find out, it appends the
    /// same messages again.
    async fn append(&self, request: AppendRequest) -> Result<Appended>;

    /// The history of the store that this handle sees. A failover that may have lost messages, or a new identity,
    /// begins another history. A caller must forget everything that it remembered of the store in another history.
    fn history(&self) -> History {
        History::default()
    }

    /// The highest global position that the store has assigned where it keeps the messages of this category (of any
    /// category, if `None`). The message at that position may have been deleted. 0 if no position was assigned. A store
    /// that keeps all categories in one place returns the same for each.
    async fn given_out(&self, category: Option<&Category>) -> Result<GlobalPosition>;

    /// The backlog of a reader that has handled the messages of a category up to `after`: their number and age, and the
    /// end of the category.
    async fn backlog(&self, category: &Category, after: GlobalPosition) -> Result<Backlog> {
        let mut backlog = Backlog::EMPTY;
        let mut read = Read::from(after.next());
        loop {
            let batch = self.read_category(category, read.clone()).await?;
            if batch.is_at_end(&read) {
                break;
            }
            backlog.messages += batch.messages.len() as u64;
            backlog.oldest = backlog.oldest.or(batch.messages.first().map(|message| message.time));
            backlog.end = batch.looked_through;
            read = Read::from(batch.looked_through.next());
        }
        if backlog.messages > 0 {
            return Ok(backlog);
        }
        // The last message is at `low`, or between `low` and `high`.
        let (mut low, mut high) = (GlobalPosition::ZERO, after.min(self.given_out(Some(category)).await?));
        while low < high {
            let middle = GlobalPosition::new(low.get() + (high.get() - low.get() + 1) / 2);
            let found = self.read_category(category, Read::from(middle).limit(1)).await?;
            match found.messages.first() {
                Some(message) => low = message.global_position,
                None => high = middle.previous(),
            }
        }
        Ok(Backlog { end: low, ..backlog })
    }

    /// The time of the database's clock.
    async fn now(&self) -> Result<Timestamp>;

    /// Reads a stream. An empty result means that the stream has no messages in that direction.
    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>>;

    /// As [`read_stream`](Self::read_stream), and says whether the stream ends there. A reader of a whole stream then needs
    /// no read that returns nothing. By default, only such a read shows the end.
    async fn read_stream_batch(&self, stream: &StreamName, read: StreamRead) -> Result<StreamBatch> {
        let messages = self.read_stream(stream, read).await?;
        Ok(StreamBatch { is_end: messages.is_empty(), messages })
    }

    /// Reads the messages of a category, in the order of their global positions.
    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch>;

    /// Reads the messages of all categories, in the order of their global positions.
    async fn read_all(&self, read: Read) -> Result<Batch>;

    /// Reads the messages of all categories whose correlation is this stream, in the order of their global positions: a
    /// whole case, such as all that a [process](crate::handling::ProcessManager) and its entities have written for it. The
    /// messages of timers and the events that follow from them are among them.
    ///
    /// A store without an index for it reads all messages; this is the default.
    ///
    /// # Errors
    /// As [`read_all`](Self::read_all).
    async fn read_correlated(&self, stream: &StreamName, read: Read) -> Result<Batch> {
        let mut batch = self.read_all(read).await?;
        batch.messages.retain(|message| is_correlated_with(message, stream));
        Ok(batch)
    }

    /// The categories that have messages, also archived ones, in an order of the store's own: at most `limit` of those after
    /// `after`, which need not have messages.
    ///
    /// A store without an index for it reads all messages; this is the default.
    ///
    /// # Errors
    /// As [`read_all`](Self::read_all).
    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
        let mut found = BTreeSet::new();
        let mut read = Read::default();
        loop {
            let batch = self.read_all(read.clone()).await?;
            if batch.is_at_end(&read) {
                break;
            }
            read.from = batch.looked_through.next();
            found.extend(batch.messages.iter().map(|message| message.stream.category()));
        }
        Ok(found.into_iter().filter(|category| after.is_none_or(|after| category > after)).take(limit).collect())
    }

    /// The last message of a stream, or the last one of the type `message_type`. `None` if there is no such message.
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

    /// The position of the stream's last message, or [`Version::NO_STREAM`].
    async fn version(&self, stream: &StreamName) -> Result<Version> {
        let last = self.last_message(stream, None).await?;
        Ok(last.map_or(Version::NO_STREAM, |last| Version::at(last.position)))
    }

    /// Looks up a message by its id.
    async fn message(&self, id: MessageId) -> Result<Option<Message>>;

    /// Looks up messages by their ids, and returns the places of those that the handler named `handler` has written
    /// ([`Metadata::handler`](crate::Metadata::handler)), in any order. A consumer that starts asks for many at once.
    async fn written_by(&self, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
        let mut written = Vec::new();
        for id in ids {
            let found = self.message(*id).await?;
            written.extend(found.and_then(|found| found.place_if_written_by(handler)));
        }
        Ok(written)
    }

    /// A wake-up for messages of a category, or of any category if `None`. Ask for it *before* a read: then every
    /// message that is written after the read causes a wake-up. A store without wake-ups returns one that never comes,
    /// and its readers poll.
    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        let _ = category;
        Ok(WakeUp::never())
    }

    /// Gives the store a new identity, which distinguishes later positions from earlier ones. Use it after a restore to
    /// an earlier point, or when a clone goes live. No component may run meanwhile.
    ///
    /// # Errors
    /// [`Unsupported`](crate::Error::Unsupported) if the store's identity cannot change.
    async fn rotate_store_id(&self) -> Result<StoreId> {
        Err(Error::Unsupported { store: self.describe(), what: "a new identity".to_owned() })
    }

    /// The store's keys, or `None` if it has no keys.
    fn deduplication(&self) -> Option<&dyn Deduplication> {
        None
    }

    /// The read models in the store's database, or `None` if it cannot have any.
    fn read_models(&self) -> Option<&dyn ReadModels> {
        None
    }

    /// The conditions of appends, or `None` if the store cannot check any. It refuses an append with a condition then.
    fn conditions(&self) -> Option<&dyn Conditions> {
        None
    }

    /// The store's snapshots of entities, or `None` if it keeps none.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    /// The archive of the store, or `None` if all its messages are in one place. Every read of a store with an archive
    /// finds the archived messages too, except a [read without the archive](Read::without_archive).
    fn archive(&self) -> Option<&dyn Archive> {
        None
    }

    /// The erasure of messages, or `None` if the store cannot erase any.
    fn erasure(&self) -> Option<&dyn Erasure> {
        None
    }

    /// The leases of consumer groups, or `None` if groups cannot be elastic.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// The reports of the services that run on the store, or `None` if it keeps none.
    fn service_reports(&self) -> Option<&dyn ServiceReports> {
        None
    }

    /// The store's timers, or `None` if it has none.
    fn timers(&self) -> Option<&dyn Timers> {
        None
    }
}
