//! The retry of an edited message: a new message takes the place of the one that could not be handled.

use super::letter::{DeadLetter, DeadLetters, LetterState};
use super::step::Step;
use crate::{Append, Error, MessageId, Metadata, NewMessage, Place, Result, derived_id};

impl DeadLetters {
    /// Writes `edited` to the stream of a letter's message, and discards the message, in one step. The new message names
    /// the letter as its cause, and carries the correlation, the reply stream, the properties, the trace context and the
    /// tags of the message, merged with the metadata of `edited`. Returns its place, or `None`, and writes nothing, if the
    /// letter has changed since it was read, or is not parked.
    ///
    /// The id of `edited` is not used: the id is derived from the letter. The new message is a later one of its entity
    /// than those that were sent since.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the message is no longer in the store, or `edited` cannot be stored or has metadata that only
    /// the runtime sets; the store's errors.
    pub async fn retry_edited(&self, letter: &DeadLetter, edited: NewMessage) -> Result<Option<Place>> {
        if letter.state != LetterState::Parked {
            return Ok(None);
        }
        let original = self.store.message(letter.message.id).await?;
        let original = original.ok_or_else(|| {
            Error::invalid("edited retry", format!("the message {} is no longer in the store", letter.message.id))
        })?;
        let cause = &letter.letter;
        let mut metadata = Metadata::follow(&original);
        metadata.causation_message_stream_name = Some(cause.stream.as_str().to_owned());
        metadata.causation_message_position = Some(cause.position);
        metadata.causation_message_global_position = Some(cause.global_position);
        let of_original = original.decode_metadata();
        metadata.tags = of_original.tags;
        // What is edited has the form of the message.
        if edited.message_type == original.message_type {
            metadata.type_version = of_original.type_version;
        }
        let metadata = metadata.merged_with(&edited.metadata)?.to_json()?;
        let id: MessageId = derived_id(cause.id, "deadLetter", "edited", &original.stream, 0);
        let edited = NewMessage { metadata, ..edited.with_id(id) };
        let discarded = Step::Discarded { why: format!("the edited message {id} takes its place") };
        let steps = self.steps(&cause.stream);
        let beside = vec![Append::to(original.stream).message(edited)];
        match steps.append_beside(letter.end, NewMessage::from_variant(&discarded)?, beside).await {
            Ok(Ok(_)) => {
                let written = self.store.message(id).await?;
                Ok(written
                    .map(|message| Place { position: message.position, global_position: message.global_position }))
            }
            Ok(Err(_)) => Ok(None),
            // Another call with the same letter has written its edited message.
            Err(Error::IdConflict { id: taken, .. }) if taken == id => Ok(None),
            Err(error) => Err(error),
        }
    }
}
