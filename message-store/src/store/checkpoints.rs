//! Checkpoints: what a reader of a category has found, recorded so that the next reader need not begin at the first
//! message.
//!
//! Problem: a category has a stream for each thing (a dead letter), and a reader looks for the things that are still
//! open. They may be few, among many that are closed for good. Fix: a reader that has read far records a *checkpoint*:
//! through which position it has read, and the streams that were open there. The next reader begins with these streams,
//! and reads the category after that position. Why it is right: the messages up to a position never change later, so a
//! checkpoint stays true, whoever wrote it and whenever. A checkpoint is bound to its content, its category and the
//! identity of the store by its message id. If another program wrote it, if it was copied from another store, or if a
//! part is missing, it is ignored, and the reader begins at the first message. A reader whose store has got another
//! history writes no checkpoint of the earlier one: the append names the history.
//!
//! A checkpoint is the last message of the stream `checkpoint:{category}`. Its streams are in the messages before it,
//! which are written in the same append.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use crate::planted::Planted;
use crate::{
    Append, AppendRequest, Category, Error, ExpectedVersion, GlobalPosition, History, Message, MessageId, MessageStore,
    MessageStoreExt as _, NewMessage, Position, Result, StreamName, Version, derived_id,
};

/// The greatest size of the names in one message, in bytes. Names are short, so a message is far below the limit.
const PAGE_BYTES: usize = 128 << 10;

/// The message type of [`Record::Checkpointed`].
const CHECKPOINTED: &str = "Checkpointed";

/// When a checkpoint is written, and when it is not worth it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WhenToCheckpoint {
    /// The number of messages after which a reader writes a checkpoint.
    pub(crate) every: u64,
    /// A checkpoint must save the read of so many messages for each stream that it lists, because each of these is read
    /// alone.
    pub(crate) saved_per_stream: u64,
}

impl Default for WhenToCheckpoint {
    fn default() -> Self {
        Self { every: 1_000, saved_per_stream: 16 }
    }
}

impl WhenToCheckpoint {
    /// Whether a checkpoint may be due: so many messages were read since the last one, and so many streams are open.
    pub(crate) fn is_due(self, since_last: u64, open: usize) -> bool {
        since_last >= self.every.max(if self.saved_per_stream == 0 { 0 } else { open as u64 })
    }

    /// Whether a checkpoint that lists so many streams saves reads.
    pub(crate) fn is_worth(self, checkpoint: &Checkpoint) -> bool {
        checkpoint.messages >= self.saved_per_stream.saturating_mul(checkpoint.open.len() as u64)
    }
}

/// The streams of a category that were open at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The category was read up to this position.
    pub(crate) through: GlobalPosition,
    /// Streams that are of use only before a reader has handled this position are left out. A reader that is behind it
    /// cannot use the checkpoint.
    pub(crate) handled: GlobalPosition,
    /// The number of messages of the category up to `through`.
    pub(crate) messages: u64,
    /// In the order in which they were opened.
    pub(crate) open: Vec<StreamName>,
}

impl Checkpoint {
    /// The checkpoint before the first message.
    pub(crate) const BEGINNING: Self =
        Self { through: GlobalPosition::ZERO, handled: GlobalPosition::ZERO, messages: 0, open: Vec::new() };
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
enum Record {
    /// A part of the streams, each without the name of the category.
    OpenStreams { streams: Vec<String> },
    /// The checkpoint, after `parts` messages with its streams.
    Checkpointed { through: GlobalPosition, handled: GlobalPosition, messages: u64, parts: u64 },
}

/// A protection of checkpoints that a test switches off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(all(test, feature = "testing")), allow(dead_code))]
enum CheckpointBug {
    /// Checkpoints of other stores, of other programs and checkpoints with missing parts are used.
    IdsUnchecked,
    /// A checkpoint of an earlier history of the store is written.
    HistoryIgnored,
    /// A checkpoint is written over a newer one.
    NewerReplaced,
}

/// The checkpoints of a category.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    category: Category,
    /// `None` if the name would be too long: such a category has no checkpoints.
    stream: Option<StreamName>,
    planted: Planted<CheckpointBug>,
}

impl Checkpoints {
    pub(crate) fn of(category: &Category) -> Self {
        let stream = StreamName::new(format!("checkpoint:{category}"));
        if stream.is_err() {
            tracing::info!(target: "message_store::store", %category, "the name of this category is too long for checkpoints, so each start reads it from its beginning");
        }
        Self { category: category.clone(), stream: stream.ok(), planted: Planted::NONE }
    }

    /// The newest checkpoint, if it is whole and was written in this store.
    ///
    /// # Errors
    /// As a read.
    pub(crate) async fn newest(&self, store: &Arc<dyn MessageStore>) -> Result<Option<Checkpoint>> {
        let Some(stream) = &self.stream else { return Ok(None) };
        let Some(last) = store.last_message(stream, Some(CHECKPOINTED)).await? else { return Ok(None) };
        let checkpoint = self.read(&**store, &last).await?;
        if checkpoint.is_none() {
            tracing::warn!(target: "message_store::store", %stream, position = %last.position, "ignoring a checkpoint that is not of this store, or not whole");
        }
        Ok(checkpoint)
    }

    /// Reads the parts of a checkpoint. `None` if they are not what a reader of this store wrote.
    async fn read(&self, store: &dyn MessageStore, last: &Message) -> Result<Option<Checkpoint>> {
        let Ok(Some(Record::Checkpointed { through, handled, messages, parts })) = last.decode_variant() else {
            return Ok(None);
        };
        let first = i64::try_from(parts).ok().and_then(|parts| last.position.get().checked_sub(parts));
        let Some(first) = first.filter(|first| *first >= 0) else { return Ok(None) };
        let mut checkpoint = Checkpoint { through, handled, messages, open: Vec::new() };
        let mut ids = Vec::new();
        let mut pages = std::pin::pin!(store.stream_messages(&last.stream, Position::new(first)));
        while let Some(page) = pages.try_next().await? {
            if page.position >= last.position {
                break;
            }
            let Ok(Some(Record::OpenStreams { streams })) = page.decode_variant() else { return Ok(None) };
            checkpoint
                .open
                .extend(streams.iter().map(|name| StreamName::from_database(&format!("{}{name}", self.category))));
            ids.push(page.id);
        }
        // The ids are derived from the whole content, so they show whether all of it is here and unchanged.
        let Some(written) = self.records(store, &checkpoint, first)? else { return Ok(None) };
        let is_ours = written.iter().map(|record| record.id).eq(ids.into_iter().chain([last.id]))
            || self.planted.is(CheckpointBug::IdsUnchecked);
        Ok(is_ours.then_some(checkpoint).filter(|checkpoint| checkpoint.through < last.global_position))
    }

    /// Writes a checkpoint that was read in this history, unless a newer one is there. Returns whether it is written.
    /// `read` has the history, and the last message that was read, which must still be in the store: a failover can lose
    /// messages without a change of history that this user may see.
    ///
    /// # Errors
    /// The store's errors. Nothing depends on a checkpoint, so the caller goes on.
    pub(crate) async fn write(
        &self,
        store: &Arc<dyn MessageStore>,
        (history, read): (History, Option<MessageId>),
        checkpoint: &Checkpoint,
    ) -> Result<bool> {
        let Some(stream) = &self.stream else { return Ok(false) };
        if let Some(id) = read
            && store.message(id).await?.is_none_or(|message| message.global_position != checkpoint.through)
        {
            tracing::warn!(target: "message_store::store", %stream, through = %checkpoint.through, "the store has lost a message that was read, so no checkpoint is written; start this process again");
            return Ok(false);
        }
        let last = store.last_message(stream, None).await?;
        if let Some(last) = &last
            && let Some(newest) = self.read(&**store, last).await?
            && newest.through >= checkpoint.through
            && newest.handled <= checkpoint.handled
            && !self.planted.is(CheckpointBug::NewerReplaced)
        {
            return Ok(false);
        }
        let first = last.as_ref().map_or(0, |last| last.position.get() + 1);
        let expected: ExpectedVersion = last.map_or(Version::NO_STREAM, |last| Version::at(last.position)).into();
        let Some(records) = self.records(&**store, checkpoint, first)? else { return Ok(false) };
        let request = AppendRequest::from(Append { stream: stream.clone(), expected, messages: records });
        let history = if self.planted.is(CheckpointBug::HistoryIgnored) { store.history() } else { history };
        match store.append(request.in_history(history)).await {
            Ok(appended) => Ok(!appended.already_written),
            // Another reader has written one meanwhile.
            Err(Error::WrongExpectedVersion { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The messages of a checkpoint, from this position of their stream on. `None` if a stream is not of the category.
    fn records(
        &self,
        store: &dyn MessageStore,
        checkpoint: &Checkpoint,
        first: i64,
    ) -> Result<Option<Vec<NewMessage>>> {
        let Some(stream) = &self.stream else { return Ok(None) };
        let Checkpoint { through, handled, messages, open } = checkpoint;
        let limit = PAGE_BYTES.min(store.limits().message_bytes / 4);
        let (mut pages, mut bytes) = (Vec::new(), usize::MAX);
        for name in open {
            let Some(name) = name.as_str().strip_prefix(self.category.as_str()) else { return Ok(None) };
            if bytes.saturating_add(name.len()) > limit {
                pages.push(Vec::new());
                bytes = 0;
            }
            bytes += name.len();
            if let Some(page) = pages.last_mut() {
                page.push(name.to_owned());
            }
        }
        let parts = pages.len() as u64;
        // With the position, a checkpoint that was ignored because of what follows it can be written again.
        let head = format!("{first} {through} {handled} {messages} {parts}");
        let cause = MessageId::from_uuid(store.store_id().as_uuid());
        let id_of = |content: &str, index| derived_id(cause, "checkpoint", &format!("{head} {content}"), stream, index);
        let mut records = Vec::new();
        for (index, streams) in pages.into_iter().enumerate() {
            let id = id_of(&streams.join("\n"), index + 1);
            records.push(NewMessage::from_variant(&Record::OpenStreams { streams })?.with_id(id));
        }
        let ids: Vec<String> = records.iter().map(|record| record.id.to_string()).collect();
        let (through, handled, messages) = (*through, *handled, *messages);
        let recorded = NewMessage::from_variant(&Record::Checkpointed { through, handled, messages, parts })?;
        records.push(recorded.with_id(id_of(&ids.join(" "), 0)));
        Ok(Some(records))
    }
}

#[cfg(all(test, feature = "testing", feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::testing::FaultyStore;
    use crate::{Json, connect};

    const THINGS: &str = "thing";

    async fn store() -> Arc<dyn MessageStore> {
        connect("sqlite::memory:").await.unwrap()
    }

    fn checkpoints(bug: Option<CheckpointBug>) -> Checkpoints {
        let checkpoints = Checkpoints::of(&Category::new(THINGS).unwrap());
        Checkpoints { planted: bug.map_or(Planted::NONE, Planted::one), ..checkpoints }
    }

    fn checkpoint(through: i64, handled: i64, things: usize) -> Checkpoint {
        let open =
            (0..things).map(|thing| StreamName::new(format!("{THINGS}-{thing}+{thing:0>90}")).unwrap()).collect();
        let (through, handled) = (GlobalPosition::new(through), GlobalPosition::new(handled));
        Checkpoint { through, handled, messages: 7, open }
    }

    /// Writes so many messages that positions up to 10 are given out.
    async fn ten_things(store: &Arc<dyn MessageStore>) {
        let things = (0..10).map(|_| NewMessage::new("Begun", Json::NULL)).collect();
        store.append_to(&StreamName::new("thing-1").unwrap(), ExpectedVersion::Any, things).await.unwrap();
    }

    async fn written(store: &Arc<dyn MessageStore>, checkpoint: &Checkpoint) -> bool {
        checkpoints(None).write(store, (store.history(), None), checkpoint).await.unwrap()
    }

    #[tokio::test]
    async fn the_newest_checkpoint_is_read_also_if_it_has_several_parts_or_none() {
        let store = store().await;
        ten_things(&store).await;
        assert_eq!(checkpoints(None).newest(&store).await.unwrap(), None);
        for checkpoint in [checkpoint(3, 1, 0), checkpoint(5, 1, 2), checkpoint(10, 2, 5_000)] {
            assert!(written(&store, &checkpoint).await);
            assert_eq!(checkpoints(None).newest(&store).await.unwrap(), Some(checkpoint));
        }
        let stream = StreamName::new("checkpoint:thing").unwrap();
        assert!(store.version(&stream).await.unwrap().get() > 5, "5,000 names need several messages");
    }

    /// Another program's message makes a checkpoint count no more. The same one, written after it, counts again.
    #[tokio::test]
    async fn a_checkpoint_can_be_written_again_after_a_foreign_one() {
        let store = store().await;
        ten_things(&store).await;
        let checkpoint = checkpoint(5, 1, 2);
        let stream = StreamName::new("checkpoint:thing").unwrap();
        for _ in 0..2 {
            assert!(written(&store, &checkpoint).await);
            assert_eq!(checkpoints(None).newest(&store).await.unwrap().as_ref(), Some(&checkpoint));
            let foreign = NewMessage::new(CHECKPOINTED, Json::NULL);
            store.append_to(&stream, ExpectedVersion::Any, vec![foreign]).await.unwrap();
            assert_eq!(checkpoints(None).newest(&store).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_reader_whose_last_message_is_lost_writes_no_checkpoint() {
        let store = store().await;
        ten_things(&store).await;
        let things =
            store.read_stream(&StreamName::new("thing-1").unwrap(), crate::StreamRead::default()).await.unwrap();
        let (fifth, checkpoint) = (things[4].id, checkpoint(things[4].global_position.get(), 0, 1));
        for (read, is_written) in [(MessageId::new(), false), (things[3].id, false), (fifth, true)] {
            let read = (store.history(), Some(read));
            assert_eq!(checkpoints(None).write(&store, read, &checkpoint).await.unwrap(), is_written);
        }
    }

    #[tokio::test]
    async fn a_category_whose_name_is_too_long_has_no_checkpoints() {
        let (store, long) = (store().await, Category::new("c".repeat(253)).unwrap());
        let checkpoints = Checkpoints::of(&long);
        assert!(!checkpoints.write(&store, (store.history(), None), &checkpoint(1, 0, 0)).await.unwrap());
        assert_eq!(checkpoints.newest(&store).await.unwrap(), None);
    }

    /// A checkpoint of another store, of another program, one without its parts, and one that is ahead of itself.
    /// Returns the number of those that are used.
    async fn wrong_checkpoints_that_are_used(bug: Option<CheckpointBug>) -> usize {
        let (ours, other) = (store().await, store().await);
        for store in [&ours, &other] {
            ten_things(store).await;
        }
        assert!(written(&other, &checkpoint(9, 0, 3)).await);
        let stream = StreamName::new("checkpoint:thing").unwrap();
        let copied: Vec<_> = other.read_stream(&stream, crate::StreamRead::default()).await.unwrap();
        let recorded = |through| Record::Checkpointed {
            through: GlobalPosition::new(through),
            handled: GlobalPosition::ZERO,
            messages: 1,
            parts: 0,
        };
        let wrong = [
            copied.iter().map(NewMessage::again).collect(),
            vec![NewMessage::from_variant(&recorded(4)).unwrap()],
            vec![NewMessage::from_variant(&recorded(4_000)).unwrap()],
            vec![NewMessage::new(CHECKPOINTED, Json::NULL)],
            vec![NewMessage::new(
                CHECKPOINTED,
                Json::parse("{\"through\":3,\"handled\":0,\"messages\":1,\"parts\":99}").unwrap(),
            )],
        ];
        let mut used = 0;
        for messages in wrong {
            ours.append_to(&stream, ExpectedVersion::Any, messages).await.unwrap();
            used += usize::from(checkpoints(bug).newest(&ours).await.unwrap().is_some());
        }
        assert!(written(&ours, &checkpoint(6, 0, 1)).await);
        assert_eq!(checkpoints(None).newest(&ours).await.unwrap(), Some(checkpoint(6, 0, 1)));
        used
    }

    #[tokio::test]
    async fn a_checkpoint_that_no_reader_of_this_store_wrote_is_ignored_and_the_next_one_counts() {
        assert_eq!(wrong_checkpoints_that_are_used(None).await, 0);
    }

    #[tokio::test]
    async fn twin_when_ids_are_not_checked_copied_and_foreign_checkpoints_are_used() {
        assert_eq!(wrong_checkpoints_that_are_used(Some(CheckpointBug::IdsUnchecked)).await, 2);
    }

    /// A reader writes a checkpoint that it has read before the store's history changed.
    async fn is_written_after_a_change_of_history(bug: Option<CheckpointBug>) -> bool {
        let inner = store().await;
        let faulty = FaultyStore::new(&inner);
        let store: Arc<dyn MessageStore> = faulty.clone();
        ten_things(&store).await;
        let history = store.history();
        faulty.change_history();
        let result = checkpoints(bug).write(&store, (history, None), &checkpoint(5, 0, 1)).await;
        assert!(bug.is_some() || matches!(result, Err(Error::HistoryChanged { .. })), "{result:?}");
        checkpoints(None).newest(&store).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn a_checkpoint_of_an_earlier_history_is_not_written() {
        assert!(!is_written_after_a_change_of_history(None).await);
    }

    #[tokio::test]
    async fn twin_when_the_history_is_ignored_it_is_written() {
        assert!(is_written_after_a_change_of_history(Some(CheckpointBug::HistoryIgnored)).await);
    }

    /// A reader with an older memory writes its checkpoint last. Returns the position of the newest checkpoint.
    async fn after_an_older_reader(bug: Option<CheckpointBug>) -> i64 {
        let store = store().await;
        ten_things(&store).await;
        assert!(written(&store, &checkpoint(8, 2, 1)).await);
        let _ = checkpoints(bug).write(&store, (store.history(), None), &checkpoint(5, 2, 1)).await.unwrap();
        checkpoints(None).newest(&store).await.unwrap().unwrap().through.get()
    }

    #[tokio::test]
    async fn an_older_checkpoint_does_not_replace_a_newer_one() {
        assert_eq!(after_an_older_reader(None).await, 8);
    }

    #[tokio::test]
    async fn twin_when_newer_checkpoints_are_replaced_the_older_one_counts() {
        assert_eq!(after_an_older_reader(Some(CheckpointBug::NewerReplaced)).await, 5);
    }

    #[tokio::test]
    async fn a_checkpoint_for_a_lower_position_of_consumers_is_written_beside_a_newer_one() {
        let store = store().await;
        ten_things(&store).await;
        assert!(written(&store, &checkpoint(8, 5, 1)).await);
        assert!(written(&store, &checkpoint(8, 1, 2)).await);
        assert_eq!(checkpoints(None).newest(&store).await.unwrap(), Some(checkpoint(8, 1, 2)));
    }

    #[tokio::test]
    async fn of_two_readers_that_write_at_once_one_checkpoint_counts() {
        let store = store().await;
        ten_things(&store).await;
        let (checkpoints, one, other) = (checkpoints(None), checkpoint(8, 0, 1), checkpoint(9, 0, 2));
        let (first, second) = tokio::join!(
            checkpoints.write(&store, (store.history(), None), &one),
            checkpoints.write(&store, (store.history(), None), &other),
        );
        assert!(first.unwrap() | second.unwrap());
        let newest = checkpoints.newest(&store).await.unwrap().unwrap();
        assert!(newest == one || newest == other);
    }
}
