//! Where a consumer's position is kept: in the store itself, as Eventide does, in the stream
//! `{category}+position[-identifier]`, whose last message says how far all is handled.
//!
//! Each save expects the version of the one before. So a position has one owner: a consumer that starts later takes it
//! over, and the earlier one learns of it at its next save, and stops.
//!
//! Problem: a save whose answer was lost may be written, and a second save at the same version would conflict with it:
//! the consumer would take itself for another. Fix: a save that was not answered is kept, with its message id, and is
//! appended again before anything else is saved. Why it is right: the store knows the id, and answers with the first
//! place, whatever version was expected.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::consumer::PlantedBug;
use crate::consumer::pace::Pace;
use crate::consumer::pause::Pause;
use crate::store::{End, Overtaken, StepStream};
use crate::{
    Category, Error, GlobalPosition, History, Message, MessageId, MessageStore, NewMessage, Result, StreamName,
    StreamRead,
};

/// How often a position is taken over from a consumer that keeps saving it: it stops at its next save.
const TAKE_OVERS: u32 = 10;

#[derive(Debug, Serialize, Deserialize)]
enum PositionMessage {
    Recorded(Progress),
}

/// How far a consumer has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    /// Everything up to here is handled.
    pub(super) position: GlobalPosition,
    /// The highest position that was handed to the handler, where that is above `position`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) handed_out_through: Option<GlobalPosition>,
    /// The message that is about to be handled, and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) suspect: Option<Suspect>,
    /// The consumer has stopped in good order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) stopped: bool,
}

impl Progress {
    /// Up to here, and nothing beyond it.
    pub(super) fn at(position: GlobalPosition) -> Self {
        Self { position, handed_out_through: None, suspect: None, stopped: false }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A message that may end the process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Suspect {
    pub(super) message_id: MessageId,
    /// How often it was handed out with no other message under way; this time is counted, while none is.
    pub(super) attempts: u32,
    /// How often it was handed out beside others, or others began before it was done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) given_up: u32,
}

/// The type of the messages that say how far a consumer has come.
const RECORDED: &str = "Recorded";

#[derive(Debug)]
pub(super) struct PositionStore {
    steps: StepStream<PositionMessage>,
    /// As the position was read, or saved last.
    end: End,
    /// What the consumer before this one saved last.
    found: Progress,
    saved: Progress,
    /// A save that has not been answered.
    pending: Option<Pending>,
    retries: u32,
    planted: Option<PlantedBug>,
}

#[derive(Debug)]
struct Pending {
    message: NewMessage,
    progress: Progress,
}

/// What was recorded last in this store: another program may have written to the stream too, and a position that was
/// copied from another store says nothing here.
async fn last_recorded(steps: &StepStream<PositionMessage>) -> Result<Option<Progress>> {
    let (store, stream) = (steps.store(), steps.stream());
    let is_copy = |message: &Message| message.decode_metadata().origin.is_some();
    let Some(mut last) = store.last_message(stream, Some(RECORDED)).await? else { return Ok(None) };
    while is_copy(&last) {
        tracing::warn!(%stream, "a position that was copied from another store is passed over: it says nothing here");
        let before = store.read_stream(stream, StreamRead::backwards_from(last.position)).await?;
        let is_native = |message: &&Message| message.message_type == RECORDED && !is_copy(message);
        match (before.iter().find(is_native), before.last()) {
            (Some(native), _) => last = native.clone(),
            (None, Some(lowest)) if lowest.position < last.position => last = lowest.clone(),
            (None, _) => return Ok(None),
        }
    }
    Ok(last.decode_variant()?.map(|PositionMessage::Recorded(progress)| progress))
}

impl PositionStore {
    /// The stream of a consumer's position.
    pub(super) fn stream_name(category: &Category, identifier: Option<&str>) -> Result<StreamName> {
        let category = Category::new(format!("{category}+position"))?;
        match identifier {
            Some(identifier) => category.stream(identifier),
            None => StreamName::new(category.as_str()),
        }
    }

    /// Reads the position, and takes it over: also from a consumer that is just saving it.
    pub(super) async fn take_over(store: &Arc<dyn MessageStore>, stream: StreamName, pace: &Pace) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut positions = Self::read(store, &stream, pace).await?;
            let taken = Progress { stopped: false, ..positions.found };
            match positions.record(taken).await {
                Err(Error::PositionTaken { .. }) if attempt < TAKE_OVERS => attempt += 1,
                result => return result.map(|()| positions),
            }
        }
    }

    async fn read(store: &Arc<dyn MessageStore>, stream: &StreamName, pace: &Pace) -> Result<Self> {
        let steps = StepStream::new(store, stream.clone());
        let end = steps.end().await?;
        // A consumer that has never run was not broken off.
        let never_run = Progress { stopped: true, ..Progress::at(GlobalPosition::ZERO) };
        let found = last_recorded(&steps).await?.unwrap_or(never_run);
        let (retries, planted) = (pace.retries, pace.planted);
        Ok(Self { steps, end, found, saved: found, pending: None, retries, planted })
    }

    /// What the consumer before this one saved last; it was broken off unless it says that it has stopped.
    pub(super) fn found(&self) -> &Progress {
        &self.found
    }

    /// The history of the store that the position belongs to.
    pub(super) fn history(&self) -> History {
        self.end.history
    }

    /// Everything up to here was handled, when it was last saved.
    pub(super) fn saved(&self) -> GlobalPosition {
        self.saved.position
    }

    /// Whether there is nothing to save.
    pub(super) fn is_saved(&self, progress: Progress) -> bool {
        self.pending.is_none() && progress == self.saved
    }

    /// Whether a message is noted as one that may end the process.
    pub(super) fn has_suspect(&self) -> bool {
        self.saved.suspect.is_some()
    }

    pub(super) fn stream(&self) -> &StreamName {
        self.steps.stream()
    }

    /// Saves how far the consumer has come, if that has changed. Tries again as often as the consumer does.
    pub(super) async fn save(&mut self, progress: Progress) -> Result<()> {
        let mut pause = Pause::new(self.retries);
        loop {
            match self.save_once(progress).await {
                Err(error @ Error::HistoryChanged { .. }) => return Err(error),
                Err(error) if error.is_transient() && pause.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn save_once(&mut self, progress: Progress) -> Result<()> {
        self.settle().await?;
        if progress == self.saved { Ok(()) } else { self.begin(progress).await }
    }

    /// Saves also what has not changed, and goes on until a lost answer is settled.
    async fn record(&mut self, progress: Progress) -> Result<()> {
        let mut recorded = self.begin(progress).await;
        let mut pause = Pause::new(self.retries);
        while self.pending.is_some()
            && let Err(error) = &recorded
            && error.is_transient()
            && pause.again(error).await
        {
            recorded = self.settle().await;
        }
        recorded
    }

    async fn begin(&mut self, progress: Progress) -> Result<()> {
        let message = NewMessage::from_variant(&PositionMessage::Recorded(progress))?;
        self.append(Pending { message, progress }, false).await
    }

    /// Appends again what was not answered.
    async fn settle(&mut self) -> Result<()> {
        match self.pending.take() {
            Some(mut pending) => {
                if self.planted == Some(PlantedBug::NewIdAtEachSave) {
                    pending.message.id = MessageId::new();
                }
                self.append(pending, true).await
            }
            None => Ok(()),
        }
    }

    async fn append(&mut self, pending: Pending, was_sent: bool) -> Result<()> {
        let mut end = self.end;
        if self.planted == Some(PlantedBug::HistoryIgnored) {
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
                Err(Error::PositionTaken { consumer: stream, expected, actual })
            }
            Err(error) => {
                if was_sent || matches!(error, Error::CommitUnknown { .. }) {
                    self.pending = Some(pending);
                }
                Err(error)
            }
        }
    }

    /// What is handled was read from the store, which has given out its position: unless it has lost its latest
    /// messages. What was deleted since was given out all the same.
    pub(super) async fn assert_store_is_not_behind(&self, handled: GlobalPosition) -> Result<()> {
        if self.planted == Some(PlantedBug::PositionUnchecked) {
            return Ok(());
        }
        let store = self.steps.store();
        let own = self.stream().category();
        let read = own.as_str().strip_suffix("+position").map(Category::new).transpose()?;
        if store.given_out(read.as_ref()).await? < handled {
            let (consumer, store) = (self.stream().clone(), store.describe());
            return Err(Error::StoreBehind { consumer, handled, store });
        }
        Ok(())
    }
}
