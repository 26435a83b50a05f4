//! Suspects: messages that may have ended the process.
//!
//! Problem: a message that ends the process in each delivery must be set aside, and a message that was only under way
//! beside it must not. The messages that were under way do not show which of them ended the process. Fix: after a
//! crash, the consumer hands out all messages that may have been under way one at a time, in order. It saves the id of
//! each with the position before it hands the message out. Why it is right: a message is blamed for a crash only if it
//! was the last recorded one and was recorded as alone in the process (see [`super::process`]), so no other message was
//! under way. When it is handled, the next save replaces the record. Without a crash, no message is recorded.

use crate::consumer::position_store::{Progress, Suspect};
use crate::{GlobalPosition, Message, MessageId};

/// The messages that may have been under way when the previous consumer crashed.
#[derive(Debug)]
pub(super) struct Suspects {
    /// All messages up to this position are suspects.
    through: GlobalPosition,
    /// The number of messages above `through` that are suspects too.
    unsaved: u64,
    /// The suspect that was recorded last before the crash.
    previous: Option<Suspect>,
    /// The suspect that each save records.
    recorded: Option<Suspect>,
}

impl Suspects {
    /// `previous` is the progress that the previous consumer saved last. Up to `unsaved` messages may have been handed
    /// out after that save. `None` if the previous consumer stopped normally.
    pub(super) fn of_previous(previous: &Progress, unsaved: u64) -> Option<Self> {
        let through = previous.handed_out_through.unwrap_or(previous.position);
        (!previous.stopped).then_some(Self { through, unsaved, previous: previous.suspect, recorded: previous.suspect })
    }

    /// The messages up to this position are suspects, for this consumer, and for the next one if this one crashes.
    pub(super) fn through(&self) -> GlobalPosition {
        self.through
    }

    /// The suspect that is handed out.
    pub(super) fn recorded(&self) -> Option<Suspect> {
        self.recorded
    }

    /// The number of crashes in which this message was under way alone.
    pub(super) fn crashes(&self, message: MessageId) -> u32 {
        self.record_of(message).attempts
    }

    /// The number of times that this message was handed out and others were under way before it was handled.
    pub(super) fn given_up(&self, message: MessageId) -> u32 {
        self.record_of(message).given_up
    }

    fn record_of(&self, message_id: MessageId) -> Suspect {
        let none = Suspect { message_id, attempts: 0, given_up: 0 };
        self.previous.filter(|previous| previous.message_id == message_id).unwrap_or(none)
    }

    /// Records that a message is about to be handed out. The caller saves the progress before the delivery.
    pub(super) fn hand_out(&mut self, message: &Message, is_alone: bool) {
        if message.global_position > self.through {
            self.unsaved = self.unsaved.saturating_sub(1);
        }
        let Suspect { message_id, attempts, given_up } = self.record_of(message.id);
        self.recorded = Some(if is_alone {
            Suspect { message_id, attempts: attempts + 1, given_up }
        } else {
            Suspect { message_id, attempts, given_up: given_up + 1 }
        });
    }

    /// Records that the suspect is no longer alone.
    pub(super) fn others_began(&mut self) {
        if let Some(recorded) = &mut self.recorded {
            recorded.attempts = recorded.attempts.saturating_sub(1);
            recorded.given_up += 1;
        }
    }

    /// Removes the record, because the suspect was handled. Returns whether there may be further suspects.
    pub(super) fn handled(&mut self) -> bool {
        self.recorded = None;
        self.unsaved > 0
    }
}
