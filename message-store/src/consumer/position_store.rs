//! The position of a consumer, saved in the store itself, as Eventide does. It is in the stream
//! `{category}+position[-identifier]`. The last message names the position up to which all messages are handled.
//!
//! Each save expects the version of the save before it. So a position has one owner: a consumer that starts later takes
//! the position over, and the earlier one learns that at its next save, and stops.
//!
//! Problem: a save whose answer was lost may or may not be written. A second save at the same version would then
//! conflict with the first, as if another consumer had taken over. Fix: the consumer keeps a save without an answer,
//! with its message id, and appends it again before any other save. Why it is right: the store recognises the id, and
//! returns the place of the first append, whatever the expected version is.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use crate::consumer::PlantedBug;
use crate::consumer::counted::Counted;
use crate::consumer::outages::Outages;
use crate::consumer::pace::Pace;
use crate::planted::Planted;
use crate::store::{End, Overtaken, StepStream};
use crate::{
    Category, Error, GlobalPosition, GroupMember, History, Message, MessageId, MessageStore, MessageStoreExt as _,
    NewMessage, Position, Read, Result, StreamName, StreamRead, Timestamp,
};

/// The number of attempts to take a position over from a consumer that keeps saving it. That consumer stops at its next
/// save.
const MAX_TAKE_OVER_ATTEMPTS: u32 = 10;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum PositionMessage {
    Recorded(Progress),
}

/// The progress of a consumer, as it is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    /// The global position up to which all messages are handled.
    pub(super) position: GlobalPosition,
    /// The highest position that was handed out, if it is above `position`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) handed_out_through: Option<GlobalPosition>,
    /// The suspect that is handed out. While it is present, no other suspect is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) suspect: Option<Suspect>,
    /// After a crash, while the consumer looks for its cause: the messages that may be under way. All others are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) under_way: Vec<MessageId>,
    /// Another consumer has taken the position over, and has saved no progress of its own yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) taken_over: bool,
    /// The consumer has stopped normally, so no message was under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) stopped: bool,
    /// The outcomes until now.
    #[serde(default, skip_serializing_if = "Counted::is_empty")]
    pub(super) counted: Counted,
}

impl Progress {
    /// All messages up to `position` are handled, and none above it was handed out.
    pub(super) fn at(position: GlobalPosition) -> Self {
        Self {
            position,
            handed_out_through: None,
            suspect: None,
            under_way: Vec::new(),
            taken_over: false,
            stopped: false,
            counted: Counted::default(),
        }
    }

    /// A consumer has stopped here, or has never run, so no message was under way.
    pub(super) fn stopped_at(position: GlobalPosition) -> Self {
        Self { stopped: true, ..Self::at(position) }
    }

    /// The consumer has stopped, and no message is under way. If a suspect has not been handled yet, the next consumer must
    /// know it, so the record stays as after a crash.
    pub(super) fn stop(&mut self) {
        self.stopped = self.suspect.is_none() && self.under_way.is_empty();
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A message that may have ended the process, and the number of times that it was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Suspect {
    pub(super) message_id: MessageId,
    /// The number of times that it was handed out and was alone in the process until the end. The present time is
    /// included while the message is alone.
    pub(super) attempts: u32,
    /// The number of times that it was handed out beside other messages, or that others began before it was handled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) given_up: u32,
}

impl Suspect {
    /// The message, and the times that it was alone in the process at the end.
    pub(super) fn in_short(self) -> (MessageId, u32) {
        (self.message_id, self.attempts)
    }
}

/// The message type of [`PositionMessage::Recorded`].
const RECORDED: &str = "Recorded";

#[derive(Debug)]
pub(super) struct PositionStore {
    steps: StepStream<PositionMessage>,
    /// The end of the stream, as it was last read or saved.
    end: End,
    /// The progress that the previous consumer saved last.
    previous: Progress,
    saved: Progress,
    /// A save without an answer.
    pending: Option<Pending>,
    outages: Outages,
    planted: Planted<PlantedBug>,
}

#[derive(Debug)]
struct Pending {
    message: NewMessage,
    progress: Progress,
}

/// The progress that was recorded last in this store. Messages of other programs are ignored, and so is a position that
/// was copied from another store, because it has no meaning here.
pub(super) async fn last_recorded(steps: &StepStream<PositionMessage>) -> Result<Option<(Progress, Message)>> {
    last_recorded_where(steps, |_| true).await
}

/// The time at which a consumer last saved progress of its own in this position. `None` if it never did.
pub(super) async fn last_own_save(
    steps: &StepStream<PositionMessage>,
    take_overs_count: bool,
) -> Result<Option<Timestamp>> {
    let found = last_recorded_where(steps, |progress| !progress.taken_over || take_overs_count).await?;
    Ok(found.map(|(_, message)| message.time))
}

async fn last_recorded_where(
    steps: &StepStream<PositionMessage>,
    is_wanted: impl Fn(&Progress) -> bool,
) -> Result<Option<(Progress, Message)>> {
    let (store, stream) = (steps.store(), steps.stream());
    let Some(last) = store.last_message(stream, Some(RECORDED)).await? else { return Ok(None) };
    if let Some(progress) = progress_in(&last).filter(&is_wanted) {
        return Ok(Some((progress, last)));
    }
    let mut from = last.position;
    loop {
        let before = store.read_stream(stream, StreamRead::backwards_from(from)).await?;
        let recorded = before.iter().filter(|message| message.message_type == RECORDED);
        let mut found =
            recorded.filter_map(|message| Some((progress_in(message).filter(&is_wanted)?, message.clone())));
        if let Some(found) = found.next() {
            return Ok(Some(found));
        }
        match before.last() {
            Some(lowest) if lowest.position > Position::FIRST => from = Position::new(lowest.position.get() - 1),
            _ => return Ok(None),
        }
    }
}

/// The progress that a message records. `None` for one that is ignored.
fn progress_in(message: &Message) -> Option<Progress> {
    if message.decode_metadata().origin.is_some() {
        tracing::warn!(target: "message_store::consumer", stream = %message.stream, "ignoring a position that was copied from another store, because it has no meaning here");
        return None;
    }
    match message.decode_variant() {
        Ok(Some(PositionMessage::Recorded(progress))) if progress.position >= GlobalPosition::ZERO => Some(progress),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(target: "message_store::consumer", stream = %message.stream, %error, "ignoring a position that another program has written");
            None
        }
    }
}

/// The streams of all positions that were ever saved in this category of positions. Reads all saves.
pub(super) async fn position_streams(store: &dyn MessageStore, positions: &Category) -> Result<BTreeSet<StreamName>> {
    store.category_messages(positions, Read::default()).map_ok(|save| save.stream).try_collect().await
}

/// The identifier of the consumer that saves its position in this stream, and the member of a group. The members share
/// the identifier.
pub(super) fn identifier_in(positions: &StreamName) -> (Option<&str>, Option<GroupMember>) {
    let Some(id) = positions.id() else { return (None, None) };
    let mut parts = id.rsplitn(3, '+');
    let mut number = || parts.next().and_then(|part| part.parse::<u16>().ok());
    let (size, member) = (number(), number());
    match (parts.next(), member.zip(size).and_then(|(member, size)| GroupMember::new(member, size).ok())) {
        (Some(identifier), Some(member)) => (Some(identifier), Some(member)),
        _ => (Some(id), None),
    }
}

impl PositionStore {
    /// The name of the stream with a consumer's position.
    pub(super) fn stream_name(category: &Category, identifier: Option<&str>) -> Result<StreamName> {
        let category = Category::new(format!("{category}+position"))?;
        match identifier {
            Some(identifier) => category.stream(identifier),
            None => StreamName::new(category.as_str()),
        }
    }

    /// The name of the stream with the position of a consumer, or of a member of a group.
    pub(super) fn stream_of(
        category: &Category,
        identifier: Option<&str>,
        member: Option<GroupMember>,
    ) -> Result<StreamName> {
        match (identifier, member) {
            (None, Some(_)) => {
                let reason =
                    "its members need a common identifier, because the names of the members' positions contain it";
                Err(Error::invalid("consumer group", reason))
            }
            (Some(name), Some(member)) => {
                Self::stream_name(category, Some(&format!("{name}+{}+{}", member.number(), member.size())))
            }
            (name, None) => Self::stream_name(category, name),
        }
    }

    /// Reads the position, and takes it over, also from a running consumer.
    pub(super) async fn take_over(
        store: &Arc<dyn MessageStore>,
        stream: StreamName,
        pace: &Pace,
        outages: &Outages,
    ) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut positions = Self::read(store, &stream, pace, outages).await?;
            let taken = Progress { stopped: false, taken_over: true, ..positions.previous.clone() };
            match positions.save_unconditionally(taken).await {
                Err(Error::PositionTaken { .. }) if attempt < MAX_TAKE_OVER_ATTEMPTS => attempt += 1,
                result => return result.map(|()| positions),
            }
        }
    }

    async fn read(store: &Arc<dyn MessageStore>, stream: &StreamName, pace: &Pace, outages: &Outages) -> Result<Self> {
        let steps = StepStream::new(store, stream.clone());
        let end = steps.end().await?;
        // If no position was saved, no earlier consumer can have crashed.
        let never_run = Progress::stopped_at(GlobalPosition::ZERO);
        let previous = last_recorded(&steps).await?.map_or(never_run, |(progress, _)| progress);
        let (outages, planted) = (outages.clone(), pace.planted);
        let saved = previous.clone();
        Ok(Self { steps, end, previous, saved, pending: None, outages, planted })
    }

    /// The progress that the previous consumer saved last. That consumer crashed unless `stopped` is set.
    pub(super) fn previous(&self) -> &Progress {
        &self.previous
    }

    /// The history of the store to which the position belongs.
    pub(super) fn history(&self) -> History {
        self.end.history
    }

    /// The position that was last saved.
    pub(super) fn saved(&self) -> GlobalPosition {
        self.saved.position
    }

    /// Whether this progress is saved, and no save is without an answer.
    pub(super) fn is_saved(&self, progress: &Progress) -> bool {
        self.pending.is_none() && *progress == self.saved
    }

    /// Whether the saved progress names a suspect.
    pub(super) fn has_suspect(&self) -> bool {
        self.saved.suspect.is_some()
    }

    pub(super) fn stream(&self) -> &StreamName {
        self.steps.stream()
    }

    /// Saves the progress if it has changed. An outage is waited out.
    pub(super) async fn save(&mut self, progress: &Progress) -> Result<()> {
        let outages = self.outages.clone();
        let mut call = outages.call();
        loop {
            match self.save_once(progress).await {
                Err(error @ Error::HistoryChanged { .. }) => return Err(error),
                Err(error) if error.is_transient() && call.again(&error).await => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    call.answered();
                    return Ok(());
                }
            }
        }
    }

    async fn save_once(&mut self, progress: &Progress) -> Result<()> {
        self.repeat_pending().await?;
        if *progress == self.saved { Ok(()) } else { self.append_new(progress.clone()).await }
    }

    /// Saves the progress even if it has not changed. Repeats the save until its answer is known, or the outage has
    /// reached its limit.
    async fn save_unconditionally(&mut self, progress: Progress) -> Result<()> {
        let mut recorded = self.append_new(progress).await;
        let outages = self.outages.clone();
        let mut call = outages.call();
        while self.pending.is_some()
            && let Err(error) = &recorded
            && error.is_transient()
            && call.again(error).await
        {
            recorded = self.repeat_pending().await;
        }
        recorded
    }

    async fn append_new(&mut self, progress: Progress) -> Result<()> {
        let message = NewMessage::from_variant(&PositionMessage::Recorded(progress.clone()))?;
        self.append(Pending { message, progress }, false).await
    }

    /// Appends a save without an answer again.
    async fn repeat_pending(&mut self) -> Result<()> {
        match self.pending.take() {
            Some(mut pending) => {
                if self.planted.is(PlantedBug::NewIdAtEachSave) {
                    pending.message.id = MessageId::new();
                }
                self.append(pending, true).await
            }
            None => Ok(()),
        }
    }

    async fn append(&mut self, pending: Pending, was_sent: bool) -> Result<()> {
        let mut end = self.end;
        if self.planted.is(PlantedBug::HistoryIgnored) {
            end.history = self.steps.store().history();
        }
        match self.steps.append_beside(end, pending.message.clone(), Vec::new()).await {
            Ok(Ok(step)) => {
                self.end = step.end;
                self.saved = pending.progress;
                Ok(())
            }
            Ok(Err(Overtaken { stream, expected, actual })) => {
                self.assert_store_is_not_behind(self.saved.position).await?;
                Err(Overtaken { stream, expected, actual }.position_taken())
            }
            Err(error) => {
                if was_sent || matches!(error, Error::CommitUnknown { .. }) {
                    self.pending = Some(pending);
                }
                Err(error)
            }
        }
    }

    /// Fails if the store has not given out the position `handled`.
    pub(super) async fn assert_store_is_not_behind(&self, handled: GlobalPosition) -> Result<()> {
        if self.planted.is(PlantedBug::PositionUnchecked) {
            return Ok(());
        }
        assert_store_is_not_behind(&**self.steps.store(), self.stream(), handled).await
    }
}

/// Fails if the store has not given out the position `handled`. The consumer with this position stream has read that
/// position, so the store has lost its latest messages. Positions of deleted messages count as given out.
pub(super) async fn assert_store_is_not_behind(
    store: &dyn MessageStore,
    consumer: &StreamName,
    handled: GlobalPosition,
) -> Result<()> {
    let own = consumer.category();
    let read = own.as_str().strip_suffix("+position").map(Category::new).transpose()?;
    if store.given_out(read.as_ref()).await? < handled {
        return Err(Error::StoreBehind { consumer: consumer.clone(), handled, store: store.describe() });
    }
    Ok(())
}

impl Overtaken {
    /// The error of a consumer or an operator that no longer has the last version of a position.
    pub(super) fn position_taken(self) -> Error {
        let Self { stream, expected, actual } = self;
        Error::PositionTaken { consumer: stream, expected, actual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_group_have_one_identifier() {
        let of = |stream: &str| identifier_in(&StreamName::new(stream).unwrap()).0.map(str::to_owned);
        assert_eq!(of("c+position"), None);
        for (id, identifier) in
            [("g", "g"), ("g+0+12", "g"), ("a-b+c+1+2", "a-b+c"), ("g+1", "g+1"), ("g+x+1", "g+x+1")]
        {
            assert_eq!(of(&format!("c+position-{id}")).as_deref(), Some(identifier));
        }
    }
}
