//! Messages that may have ended the process.
//!
//! Problem: a message that ends the process each time it is delivered has to be set aside, and one that happened to be
//! under way beside it has not. What stood around them does not tell which of them it was. Fix: after a crash, all
//! messages that may have been under way are handed out one at a time, in order, and what is about to be handed out is
//! noted with the position. Why it is right: a message is blamed for a crash only when it is the one that was noted
//! last, as alone in the process (see [`super::process`]), and then no other was under way; and when it is done, the
//! next note, or the next position, takes its place. Nothing is noted while no crash has to be explained.

use crate::consumer::position_store::{Progress, Suspect};
use crate::{GlobalPosition, Message, MessageId};

/// What was under way when the consumer before this one was broken off.
#[derive(Debug)]
pub(super) struct Suspects {
    /// Messages up to here, and some more.
    through: GlobalPosition,
    more: u64,
    /// What was noted last before the crash.
    found: Option<Suspect>,
    /// What a save has to say until that changes.
    noted: Option<Suspect>,
}

impl Suspects {
    /// `found` is what was saved last; up to `more` messages may have been handed out after that.
    pub(super) fn after(found: &Progress, more: u64) -> Option<Self> {
        let through = found.handed_out_through.unwrap_or(found.position);
        (!found.stopped).then_some(Self { through, more, found: found.suspect, noted: found.suspect })
    }

    /// Messages up to here are suspects, for this consumer and for the next, should this one be broken off as well.
    pub(super) fn through(&self) -> GlobalPosition {
        self.through
    }

    /// The message that is handed out, alone.
    pub(super) fn noted(&self) -> Option<Suspect> {
        self.noted
    }

    /// In how many crashes this message was under way, alone.
    pub(super) fn crashes(&self, message: MessageId) -> u32 {
        self.found_of(message).attempts
    }

    /// How often this message was handed out and was not alone, or not for long.
    pub(super) fn given_up(&self, message: MessageId) -> u32 {
        self.found_of(message).given_up
    }

    fn found_of(&self, message_id: MessageId) -> Suspect {
        let none = Suspect { message_id, attempts: 0, given_up: 0 };
        self.found.filter(|found| found.message_id == message_id).unwrap_or(none)
    }

    /// Takes a message out, to be noted before it is delivered.
    pub(super) fn hand_out(&mut self, message: &Message, is_alone: bool) {
        if message.global_position > self.through {
            self.more = self.more.saturating_sub(1);
        }
        let Suspect { message_id, attempts, given_up } = self.found_of(message.id);
        self.noted = Some(if is_alone {
            Suspect { message_id, attempts: attempts + 1, given_up }
        } else {
            Suspect { message_id, attempts, given_up: given_up + 1 }
        });
    }

    /// The message that was handed out is not alone any more.
    pub(super) fn is_not_alone(&mut self) {
        if let Some(noted) = &mut self.noted {
            noted.attempts = noted.attempts.saturating_sub(1);
            noted.given_up += 1;
        }
    }

    /// The message that was handed out is done. Whether others are left.
    pub(super) fn done(&mut self) -> bool {
        self.noted = None;
        self.more > 0
    }
}
