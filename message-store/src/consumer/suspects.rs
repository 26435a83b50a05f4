//! Suspects: messages that may have ended the process.
//!
//! Problem: a message that ends the process in each delivery must be set aside, and a message that was only under way
//! beside it must not. The messages that were under way do not show which of them ended the process. And most crashes have
//! no such cause: the process was killed, and a thousand messages may have been under way.
//!
//! Fix: after a crash, the consumer looks for the cause in two steps. First it hands the messages out as always, but it
//! saves the ids of those that are under way before it hands them out (a *round*). If the process ends again, these few are
//! handed out one at a time, in order, and the id of each is saved before. Why it is right: a message is blamed for a crash
//! only if it was the last recorded one and was recorded as alone in the process (see [`super::process`]), so no other
//! message was under way. When it is handled, the next save replaces the record. Without a crash, no message is recorded.
//! Why a crash from outside costs little: the first step saves once for a whole round, and the second delivers at most a
//! round one at a time.

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
    /// The suspects that are handed out one at a time, with their slots, until they are handled: those that were under way
    /// in a second crash.
    one_at_a_time: BTreeMap<MessageId, u16>,
    /// The suspects that are under way together.
    round: BTreeMap<MessageId, u16>,
    /// The suspects that were recorded last before the crashes, with their slots, until they are handled.
    previous: Vec<(u16, Suspect)>,
    /// The suspect that each save of its slot records.
    recorded: Option<(u16, Suspect)>,
    /// The suspect that was handed out by itself and is under way, with its slot.
    handed_out: Option<(u16, MessageId)>,
}

impl Suspects {
    /// `previous` is the progress that the previous consumer saved last in a slot. Up to `unsaved` messages may have been
    /// handed out after that save. `None` if the previous consumer stopped normally.
    pub(super) fn of_previous(slot: u16, previous: &Progress, unsaved: u64) -> Option<Self> {
        let through = previous.handed_out_through.unwrap_or(previous.position);
        let suspect = previous.suspect;
        let under_way = previous.under_way.iter().copied().chain(suspect.map(|suspect| suspect.message_id));
        (!previous.stopped).then(|| Self {
            through: BTreeMap::from([(slot, through)]),
            unsaved,
            one_at_a_time: under_way.map(|id| (id, slot)).collect(),
            round: BTreeMap::new(),
            previous: suspect.map(|suspect| (slot, suspect)).into_iter().collect(),
            recorded: suspect.map(|suspect| (slot, suspect)),
            handed_out: None,
        })
    }

    /// Adds the suspects of another slot.
    pub(super) fn add(&mut self, other: Self) {
        self.through.extend(other.through);
        self.unsaved = self.unsaved.max(other.unsaved);
        self.one_at_a_time.extend(other.one_at_a_time);
        self.previous.extend(other.previous);
        self.recorded = self.recorded.or(other.recorded);
    }

    /// Forgets the suspects of a slot, which has another owner.
    pub(super) fn drop_slot(&mut self, slot: u16) {
        self.through.remove(&slot);
        self.one_at_a_time.retain(|_, of| *of != slot);
        self.round.retain(|_, of| *of != slot);
        self.previous.retain(|(of, _)| *of != slot);
        self.recorded.take_if(|(of, _)| *of == slot);
        self.handed_out.take_if(|(of, _)| *of == slot);
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

    /// The messages that a save of this slot records: those that are under way, and those that are still to be handed out
    /// one at a time.
    pub(super) fn under_way(&self, slot: u16) -> Vec<MessageId> {
        let all = self.one_at_a_time.iter().chain(&self.round);
        all.filter(|(_, of)| **of == slot).map(|(id, _)| *id).collect()
    }

    /// Whether a message is handed out alone.
    pub(super) fn is_one_at_a_time(&self, message: MessageId) -> bool {
        self.one_at_a_time.contains_key(&message)
    }

    /// Whether a suspect that was handed out by itself is under way.
    pub(super) fn is_one_under_way(&self) -> bool {
        self.handed_out.is_some()
    }

    /// Whether a save records a suspect.
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

    /// Records that a message is about to be handed out beside others. The caller saves the progress before the delivery.
    pub(super) fn hand_out_in_round(&mut self, slot: u16, message: &Message) {
        self.count(slot, message);
        self.round.insert(message.id, slot);
    }

    /// Records that a message is about to be handed out. The caller saves the progress before the delivery.
    pub(super) fn hand_out(&mut self, slot: u16, message: &Message, is_alone: bool) {
        self.count(slot, message);
        self.handed_out = Some((slot, message.id));
        let Suspect { message_id, attempts, given_up } = self.record_of(message.id);
        let suspect = if is_alone {
            Suspect { message_id, attempts: attempts + 1, given_up }
        } else {
            Suspect { message_id, attempts, given_up: given_up + 1 }
        };
        self.recorded = Some((slot, suspect));
    }

    fn count(&mut self, slot: u16, message: &Message) {
        if message.global_position > self.through(slot) {
            self.unsaved = self.unsaved.saturating_sub(1);
        }
    }

    /// Records that the suspect is no longer alone.
    pub(super) fn others_began(&mut self) {
        if let Some((_, recorded)) = &mut self.recorded {
            recorded.attempts = recorded.attempts.saturating_sub(1);
            recorded.given_up += 1;
        }
    }

    /// Records that the process goes on without the suspect that is under way, so its end is no crash.
    pub(super) fn leave_behind(&mut self) {
        if self.handed_out.take().is_some() {
            self.others_began();
        }
        self.round.clear();
    }

    /// Removes the record, because the suspect was handled. Returns whether there may be further suspects.
    pub(super) fn handled(&mut self, message: MessageId) -> bool {
        self.previous.retain(|(_, previous)| previous.message_id != message);
        self.one_at_a_time.remove(&message);
        if self.round.remove(&message).is_none() {
            (self.recorded, self.handed_out) = (None, None);
        }
        self.unsaved > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Json, NewMessage, Position, StreamName, Timestamp};

    fn message(position: i64) -> Message {
        let (stream, new) = (StreamName::new("c-1").unwrap(), NewMessage::new("Deposit", Json::NULL));
        new.written(stream, Position::FIRST, GlobalPosition::new(position), Timestamp::UNIX_EPOCH)
    }

    /// A process ended with these messages in a round, and was looking for the cause.
    fn after_a_round(slot: u16, messages: &[&Message]) -> Suspects {
        let under_way = messages.iter().map(|message| message.id).collect();
        let previous = Progress { under_way, ..Progress::at(GlobalPosition::ZERO) };
        Suspects::of_previous(slot, &previous, 1_000).unwrap()
    }

    #[test]
    fn only_those_of_a_round_that_ended_the_process_are_handed_out_one_at_a_time() {
        let (one, two, other) = (message(1), message(2), message(3));
        let mut suspects = after_a_round(0, &[&one, &two]);
        assert!(suspects.is_one_at_a_time(one.id) && !suspects.is_one_at_a_time(other.id));
        suspects.hand_out(0, &one, true);
        assert!(suspects.is_one_under_way());
        assert_eq!(suspects.recorded(0).unwrap().attempts, 1);
        // The second one is still to be handed out, so a later process must know it.
        assert!(suspects.handled(one.id));
        assert_eq!(suspects.under_way(0), [two.id]);
        assert!(!suspects.is_one_under_way());
        suspects.handled(two.id);
        suspects.hand_out_in_round(0, &other);
        assert_eq!((suspects.under_way(0), suspects.is_one_under_way()), (vec![other.id], false));
        suspects.handled(other.id);
        assert!(suspects.under_way(0).is_empty());
    }

    #[test]
    fn the_suspects_of_a_slot_that_is_lost_hold_nothing_up() {
        let (ours, theirs) = (message(1), message(2));
        let mut suspects = after_a_round(1, &[&ours]);
        suspects.add(after_a_round(2, &[&theirs]));
        suspects.hand_out(2, &theirs, true);
        suspects.drop_slot(2);
        assert!(!suspects.is_one_under_way() && suspects.recorded(2).is_none());
        assert!(suspects.is_one_at_a_time(ours.id) && !suspects.is_one_at_a_time(theirs.id));
        assert!(suspects.under_way(2).is_empty());
    }

    #[test]
    fn a_suspect_that_is_left_behind_at_a_stop_ended_no_process() {
        let one = message(1);
        let mut suspects = after_a_round(0, &[&one]);
        suspects.hand_out(0, &one, true);
        suspects.leave_behind();
        let recorded = suspects.recorded(0).unwrap();
        assert_eq!((recorded.attempts, recorded.given_up), (0, 1));
    }

    #[test]
    fn without_a_crash_there_are_no_suspects() {
        assert!(Suspects::of_previous(0, &Progress::stopped_at(GlobalPosition::ZERO), 1_000).is_none());
    }
}
