//! Suspects: messages that may have ended the process.
//!
//! Problem: a message that ends the process in each delivery must be set aside, and a message that was only under way
//! beside it must not. The messages that were under way do not show which of them ended the process. Fix: after a
//! crash, the consumer hands out all messages that may have been under way one at a time, in order. It saves the id of
//! each with the position before it hands the message out. Why it is right: a message is blamed for a crash only if it
//! was the last recorded one and was recorded as alone in the process (see [`super::process`]), so no other message was
//! under way. When it is handled, the next save replaces the record. Without a crash, no message is recorded.

use std::collections::BTreeMap;

use crate::consumer::position_store::{Progress, Suspect};
use crate::{GlobalPosition, Message, MessageId};

/// The messages that may have been under way when the previous consumer crashed, or the previous owners of slots.
#[derive(Debug)]
pub(super) struct Suspects {
    /// For each slot: all messages up to this position are suspects.
    through: BTreeMap<u16, GlobalPosition>,
    /// The number of messages above `through` that are suspects too.
    unsaved: u64,
    /// The suspects that were recorded last before the crashes, with their slots, until they are handled.
    previous: Vec<(u16, Suspect)>,
    /// The suspect that each save of its slot records.
    recorded: Option<(u16, Suspect)>,
}

impl Suspects {
    /// `previous` is the progress that the previous consumer saved last in a slot. Up to `unsaved` messages may have been
    /// handed out after that save. `None` if the previous consumer stopped normally.
    pub(super) fn of_previous(slot: u16, previous: &Progress, unsaved: u64) -> Option<Self> {
        let through = previous.handed_out_through.unwrap_or(previous.position);
        (!previous.stopped).then(|| Self {
            through: BTreeMap::from([(slot, through)]),
            unsaved,
            previous: previous.suspect.map(|suspect| (slot, suspect)).into_iter().collect(),
            recorded: previous.suspect.map(|suspect| (slot, suspect)),
        })
    }

    /// Adds the suspects of another slot.
    pub(super) fn add(&mut self, other: Self) {
        self.through.extend(other.through);
        self.unsaved = self.unsaved.max(other.unsaved);
        self.previous.extend(other.previous);
        self.recorded = self.recorded.or(other.recorded);
    }

    /// The messages of a slot up to this position are suspects, for this consumer, and for the next one if this one
    /// crashes.
    pub(super) fn through(&self, slot: u16) -> GlobalPosition {
        self.through.get(&slot).copied().unwrap_or(GlobalPosition::ZERO)
    }

    /// The suspect that a save of this slot records: the one that is handed out, or was before the crash.
    pub(super) fn recorded(&self, slot: u16) -> Option<Suspect> {
        let of_slot = |(of, suspect): &(u16, Suspect)| (*of == slot).then_some(*suspect);
        self.recorded.as_ref().and_then(of_slot).or_else(|| self.previous.iter().find_map(of_slot))
    }

    /// Whether a suspect is handed out.
    pub(super) fn is_recorded(&self) -> bool {
        self.recorded.is_some()
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
        let mut previous = self.previous.iter().map(|(_, suspect)| suspect);
        previous.find(|previous| previous.message_id == message_id).copied().unwrap_or(none)
    }

    /// Records that a message is about to be handed out. The caller saves the progress before the delivery.
    pub(super) fn hand_out(&mut self, slot: u16, message: &Message, is_alone: bool) {
        if message.global_position > self.through(slot) {
            self.unsaved = self.unsaved.saturating_sub(1);
        }
        let Suspect { message_id, attempts, given_up } = self.record_of(message.id);
        let suspect = if is_alone {
            Suspect { message_id, attempts: attempts + 1, given_up }
        } else {
            Suspect { message_id, attempts, given_up: given_up + 1 }
        };
        self.recorded = Some((slot, suspect));
    }

    /// Records that the suspect is no longer alone.
    pub(super) fn others_began(&mut self) {
        if let Some((_, recorded)) = &mut self.recorded {
            recorded.attempts = recorded.attempts.saturating_sub(1);
            recorded.given_up += 1;
        }
    }

    /// Removes the record, because the suspect was handled. Returns whether there may be further suspects.
    pub(super) fn handled(&mut self, message: MessageId) -> bool {
        self.previous.retain(|(_, previous)| previous.message_id != message);
        self.recorded = None;
        self.unsaved > 0
    }
}
