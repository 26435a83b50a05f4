//! Step streams: the progress of one thing, when several writers may advance it.
//!
//! Problem: several writers work on one thing (a call, a dead letter, a position), and each must know its state before
//! it changes the state. Fix: the thing has its own stream, whose messages are its steps. A writer reads the last step.
//! It appends the next one at the version that it has read, in the history in which it has read it. Why it is right: if
//! two writers have read the same step, the store accepts one append. The other writer learns that it was overtaken,
//! and reads again. After a lost answer, the id of the step shows whether it was written.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::Fence;
use crate::{
    Append, AppendRequest, Error, ExpectedVersion, History, Message, MessageRef, MessageStore, MessageStoreExt as _,
    NewMessage, Position, Result, StreamName, Version, variant,
};

/// The stream of one thing. `S` is the enum of its steps.
#[derive(Debug)]
pub(crate) struct StepStream<S> {
    store: Arc<dyn MessageStore>,
    stream: StreamName,
    fence: Option<Fence>,
    steps: PhantomData<fn() -> S>,
}

/// The end of a step stream, as a writer has read it. The next step is appended there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) version: Version,
    /// The store's history before the read.
    pub(crate) history: History,
}

/// The last step, as a writer has read it.
#[derive(Debug)]
pub(crate) struct LastStep<S> {
    pub(crate) step: S,
    pub(crate) message: Message,
}

/// A step that was appended, and the end of the stream after it.
#[derive(Debug)]
pub(crate) struct NewStep {
    pub(crate) message: MessageRef,
    pub(crate) end: End,
}

/// Another writer appended first: the stream no longer ends where this writer read it. Nothing was written.
#[derive(Debug)]
pub(crate) struct Overtaken {
    pub(crate) stream: StreamName,
    pub(crate) expected: ExpectedVersion,
    pub(crate) actual: Version,
}

impl End {
    /// The end after a message at this position.
    pub(crate) fn after(self, position: Position) -> Self {
        Self { version: Version::at(position), ..self }
    }
}

impl From<Overtaken> for Error {
    fn from(Overtaken { stream, expected, actual }: Overtaken) -> Self {
        Self::WrongExpectedVersion { stream, expected, actual }
    }
}

impl<S: Serialize + DeserializeOwned> StepStream<S> {
    pub(crate) fn new(store: &Arc<dyn MessageStore>, stream: StreamName) -> Self {
        Self { store: Arc::clone(store), stream, fence: None, steps: PhantomData }
    }

    /// Appends only while the owner of a slot has the slot.
    pub(crate) fn fenced_by(self, fence: Option<Fence>) -> Self {
        Self { fence, ..self }
    }

    pub(crate) fn store(&self) -> &Arc<dyn MessageStore> {
        &self.store
    }

    pub(crate) fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The end of a stream without messages. Ask for it before the stream is read: if the history changes between the
    /// two, the append is refused.
    pub(crate) fn start(&self) -> End {
        End { version: Version::NO_STREAM, history: self.store.history() }
    }

    /// The end. The last message need not be a step.
    pub(crate) async fn end(&self) -> Result<End> {
        Ok(self.last_message().await?.1)
    }

    /// The last step, or `None` for an empty stream, and the end.
    ///
    /// # Errors
    /// [`Error::Undecodable`] when the last message is not a step; the store's errors.
    pub(crate) async fn last(&self) -> Result<(Option<LastStep<S>>, End)> {
        let (message, end) = self.last_message().await?;
        let Some(message) = message else { return Ok((None, end)) };
        let no_step = || {
            let reason = format!("the steps of this stream are {}", variant::names::<S>().join(", "));
            message.undecodable(&reason)
        };
        let step = message.decode_variant()?.ok_or_else(no_step)?;
        Ok((Some(LastStep { step, message }), end))
    }

    /// Appends a step at this end.
    pub(crate) async fn append(&self, end: End, step: &S) -> Result<Result<NewStep, Overtaken>> {
        self.append_beside(end, NewMessage::from_variant(step)?, Vec::new()).await
    }

    /// Appends a step that is already a message, and other appends, atomically. A repeat with the same message id
    /// returns the first place of the step.
    pub(crate) async fn append_beside(
        &self,
        end: End,
        step: NewMessage,
        beside: Vec<Append>,
    ) -> Result<Result<NewStep, Overtaken>> {
        let id = step.id;
        let mut appends = vec![Append::to(self.stream.clone()).expecting(end.version).message(step)];
        appends.extend(beside);
        let request = self.fenced(appends.into()).in_history(end.history);
        match self.store.append_settled(request).await {
            Ok(appended) => {
                let written = appended.written[0];
                let (stream, position, global_position) =
                    (self.stream.clone(), written.position, written.global_position);
                let message = MessageRef { id, stream, position, global_position };
                Ok(Ok(NewStep { message, end: end.after(position) }))
            }
            Err(Error::WrongExpectedVersion { stream, expected, actual }) if stream == self.stream => {
                Ok(Err(Overtaken { stream, expected, actual }))
            }
            Err(error) => Err(error),
        }
    }

    /// Appends a step after `ours`, a step that this caller wrote. If the store has another history by now, the step is
    /// appended only if `ours` is still the last one there.
    pub(crate) async fn append_after(&self, ours: &NewStep, step: &S) -> Result<Result<NewStep, Overtaken>> {
        let mut end = ours.end;
        // Each change of the history needs another look at the last step.
        loop {
            match self.append(end, step).await {
                Err(Error::HistoryChanged { .. }) => {}
                result => return result,
            }
            let (last, now) = self.still_last(ours).await?;
            if last.is_none() {
                let (stream, expected, actual) = (self.stream.clone(), ours.end.version.into(), now.version);
                return Ok(Err(Overtaken { stream, expected, actual }));
            }
            end = now;
        }
    }

    /// The step `ours`, a step that this caller wrote, if it is still the last one; and the end.
    pub(crate) async fn still_last(&self, ours: &NewStep) -> Result<(Option<LastStep<S>>, End)> {
        let (last, end) = self.last().await?;
        Ok((last.filter(|last| last.message.id == ours.message.id), end))
    }

    /// Appends a step that does not depend on the steps before it.
    pub(crate) async fn append_at_any_version(&self, step: &S) -> Result<()> {
        let append = Append::to(self.stream.clone()).message(NewMessage::from_variant(step)?);
        self.store.append_settled(self.fenced(append.into())).await.map(drop)
    }

    fn fenced(&self, request: AppendRequest) -> AppendRequest {
        match &self.fence {
            Some(fence) => request.fenced_by(fence.clone()),
            None => request,
        }
    }

    async fn last_message(&self) -> Result<(Option<Message>, End)> {
        let start = self.start();
        let last = self.store.last_message(&self.stream, None).await?;
        let end = last.as_ref().map_or(start, |last| start.after(last.position));
        Ok((last, end))
    }
}

#[cfg(all(test, feature = "testing", feature = "sqlite"))]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::testing::FaultyStore;
    use crate::{Json, connect};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Step {
        Begun { by: String },
        Ended {},
    }

    fn begun(by: &str) -> Step {
        Step::Begun { by: by.to_owned() }
    }

    async fn faulty() -> (Arc<FaultyStore>, StepStream<Step>) {
        let faulty = FaultyStore::new(&connect("sqlite::memory:").await.unwrap());
        let store: Arc<dyn MessageStore> = faulty.clone();
        (faulty, StepStream::new(&store, StreamName::new("thing-1").unwrap()))
    }

    #[tokio::test]
    async fn the_last_step_and_the_end_are_read_and_the_next_step_is_appended_there() {
        let (_, steps) = faulty().await;
        let (last, end) = steps.last().await.unwrap();
        assert!(last.is_none() && end == steps.start());
        let first = steps.append(end, &begun("us")).await.unwrap().unwrap();
        let second = steps.append(first.end, &Step::Ended {}).await.unwrap().unwrap();
        let (last, end) = steps.last().await.unwrap();
        let LastStep { step, message } = last.unwrap();
        assert_eq!((step, message.reference(), end), (Step::Ended {}, second.message, second.end));
    }

    #[tokio::test]
    async fn of_two_writers_that_have_read_the_same_step_one_is_overtaken() {
        let (_, steps) = faulty().await;
        let end = steps.end().await.unwrap();
        assert!(steps.append(end, &begun("them")).await.unwrap().is_ok());
        let overtaken = steps.append(end, &begun("us")).await.unwrap().unwrap_err();
        assert_eq!((overtaken.expected, overtaken.actual), (ExpectedVersion::NoStream, Version::at(Position::FIRST)));
        assert_eq!(steps.last().await.unwrap().0.unwrap().step, begun("them"));
    }

    #[tokio::test]
    async fn a_lost_answer_is_settled_and_a_repeat_returns_the_first_place() {
        let (faulty, steps) = faulty().await;
        faulty.lose_answers(1);
        let (start, message) = (steps.start(), NewMessage::from_variant(&begun("us")).unwrap());
        let first = steps.append_beside(start, message.clone(), Vec::new()).await.unwrap().unwrap();
        assert!(steps.append(first.end, &Step::Ended {}).await.unwrap().is_ok());
        let again = steps.append_beside(start, message, Vec::new()).await.unwrap().unwrap();
        assert_eq!((again.message, again.end), (first.message, first.end));
    }

    #[tokio::test]
    async fn a_step_that_was_read_in_another_history_gets_no_next_step() {
        let (faulty, steps) = faulty().await;
        let end = steps.end().await.unwrap();
        faulty.change_history();
        assert!(matches!(steps.append(end, &begun("us")).await, Err(Error::HistoryChanged { .. })));
        assert!(steps.append(steps.end().await.unwrap(), &begun("us")).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_step_follows_ours_in_another_history_only_while_ours_is_the_last() {
        let (faulty, steps) = faulty().await;
        let ours = steps.append(steps.start(), &begun("us")).await.unwrap().unwrap();
        faulty.change_history();
        let next = steps.append_after(&ours, &begun("us again")).await.unwrap().unwrap();
        faulty.change_history();
        let overtaken = steps.append_after(&ours, &Step::Ended {}).await.unwrap().unwrap_err();
        assert_eq!(overtaken.actual, next.end.version);
    }

    #[tokio::test]
    async fn a_last_message_that_is_no_step_is_an_error_that_names_the_steps() {
        let (_, steps) = faulty().await;
        let other = NewMessage::new("Other", Json::NULL);
        steps.store().append_to(steps.stream(), ExpectedVersion::Any, vec![other]).await.unwrap();
        let error = steps.last().await.unwrap_err().to_string();
        assert!(error.contains("Begun, Ended") && error.contains("thing-1"), "{error}");
        assert_eq!(steps.end().await.unwrap().version, Version::at(Position::FIRST));
    }
}
