//! The order of messages: the messages that may be handled now, and the position up to which all are handled.
//!
//! Problem: the messages of one entity must be handled in order, one at a time, and those of different entities should
//! not wait for each other. And a position may be saved only when all messages up to it are handled. Fix: each entity
//! has a queue, and only its first message is handled. A set contains the positions of all messages that are not
//! handled. Why it is right: a message is handed out only if no other message of its entity is under way, and the saved
//! position is below the lowest position that is not handled.
//!
//! The member of an elastic group has a position for each of its slots. Other consumers have one slot, for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::store::slot_of;
use crate::{GlobalPosition, Json, Message};

/// The messages that were read and are not handled.
#[derive(Debug)]
pub(super) struct Partitions {
    /// The number of slots of the group, or 1.
    count: u16,
    slots: BTreeMap<u16, Slot>,
    /// For each entity with a message that is ready or handed out: the messages that wait behind it.
    waiting: HashMap<String, VecDeque<Waiting>>,
    ready: VecDeque<HandedOut>,
    /// The number of messages that were read and are not handled.
    len: usize,
    /// The position up to which all messages were handled before the last slot was removed.
    without_slots: GlobalPosition,
}

/// The progress in one slot.
#[derive(Debug)]
struct Slot {
    epoch: i64,
    unhandled: BTreeSet<GlobalPosition>,
    read_through: GlobalPosition,
    handed_out_through: GlobalPosition,
    under_way: usize,
    /// No further message is handed out.
    is_releasing: bool,
}

/// A message, and the slot for which it is delivered.
#[derive(Debug)]
pub(super) struct HandedOut {
    pub(super) slot: u16,
    pub(super) epoch: i64,
    pub(super) message: Message,
    /// Whether the message has its data and metadata. Otherwise they must be read again.
    pub(super) is_whole: bool,
}

/// A message that waits behind another of its entity.
#[derive(Debug)]
struct Waiting {
    message: Message,
    is_whole: bool,
}

/// The number of messages of one entity that wait with their data and metadata. Of the others, only the places are kept.
const WHOLE: usize = 100;

impl Waiting {
    fn behind(others: usize, message: Message) -> Self {
        if others < WHOLE {
            return Self { message, is_whole: true };
        }
        Self { message: Message { data: Json::NULL, metadata: Json::NULL, ..message }, is_whole: false }
    }
}

/// The slots that one read serves, and the place where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cursor {
    /// The slots have been read up to this position.
    pub(super) after: GlobalPosition,
    /// The numbers and epochs of the slots.
    pub(super) slots: Vec<(u16, i64)>,
    /// Other slots have been read up to this position, so the read goes no further.
    pub(super) until: Option<GlobalPosition>,
}

impl Slot {
    fn at(epoch: i64, position: GlobalPosition) -> Self {
        let unhandled = BTreeSet::new();
        Self {
            epoch,
            unhandled,
            read_through: position,
            handed_out_through: position,
            under_way: 0,
            is_releasing: false,
        }
    }

    fn handled_through(&self) -> GlobalPosition {
        self.unhandled.first().map_or(self.read_through, |lowest| lowest.previous())
    }
}

/// The key of messages of the category's stream, which has no entity id. They are one partition. No id contains it.
const WITHOUT_ID: &str = "\0";

fn entity(message: &Message) -> &str {
    message.stream.cardinal_id().unwrap_or(WITHOUT_ID)
}

impl Partitions {
    /// No message is under way, and all up to `handled_through` are handled.
    pub(super) fn new(handled_through: GlobalPosition) -> Self {
        let mut new = Self::of_slots(1);
        new.add_slot(0, 0, handled_through);
        new
    }

    /// No slot yet, of `count`.
    pub(super) fn of_slots(count: u16) -> Self {
        Self {
            count,
            slots: BTreeMap::new(),
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            len: 0,
            without_slots: GlobalPosition::ZERO,
        }
    }

    /// Adds a slot. All its messages up to `handled_through` are handled.
    pub(super) fn add_slot(&mut self, slot: u16, epoch: i64, handled_through: GlobalPosition) {
        self.drop_slot(slot);
        self.slots.insert(slot, Slot::at(epoch, handled_through));
    }

    /// Removes a slot in this epoch, with its messages. The messages of it that are under way no longer count. Returns
    /// whether the slot was there.
    pub(super) fn remove_slot(&mut self, slot: u16, epoch: i64) -> bool {
        let is_there = self.epoch(slot) == Some(epoch);
        if is_there {
            self.drop_slot(slot);
        }
        is_there
    }

    fn drop_slot(&mut self, slot: u16) {
        self.without_slots = self.handled_through();
        let Some(dropped) = self.slots.remove(&slot) else { return };
        self.len -= dropped.unhandled.len();
        self.drop_queued(slot);
    }

    /// Hands out no further message of a slot. Its messages that are not handed out stay unhandled.
    pub(super) fn begin_release(&mut self, slot: u16) {
        if let Some(slot) = self.slots.get_mut(&slot) {
            slot.is_releasing = true;
        }
        self.drop_queued(slot);
    }

    fn drop_queued(&mut self, slot: u16) {
        let count = self.count;
        self.ready.retain(|ready| ready.slot != slot);
        let slot_of_entity =
            |entity: &str| slot_of((entity != WITHOUT_ID).then(|| crate::hash::hash_64(entity)), count);
        self.waiting.retain(|entity, _| slot_of_entity(entity) != slot);
    }

    /// The slots that are being released, with no message under way. `waits` is false if a test has turned that off.
    pub(super) fn drained(&self, waits: bool) -> impl Iterator<Item = u16> {
        let is_drained = move |slot: &Slot| slot.is_releasing && (slot.under_way == 0 || !waits);
        self.slots.iter().filter(move |(_, slot)| is_drained(slot)).map(|(number, _)| *number)
    }

    /// The numbers and epochs of the slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u16, i64)> {
        self.slots.iter().map(|(number, slot)| (*number, slot.epoch))
    }

    fn epoch(&self, slot: u16) -> Option<i64> {
        self.slots.get(&slot).map(|slot| slot.epoch)
    }

    pub(super) fn slot_of(&self, message: &Message) -> u16 {
        if self.count == 1 { 0 } else { slot_of(message.stream.cardinal_hash(), self.count) }
    }

    /// The next read: of the slots that have been read least. `None` if there is no slot to read.
    pub(super) fn next_read(&self) -> Option<Cursor> {
        let read = || self.slots.iter().filter(|(_, slot)| !slot.is_releasing);
        let after = read().map(|(_, slot)| slot.read_through).min()?;
        let until = read().map(|(_, slot)| slot.read_through).filter(|through| *through > after).min();
        let slots = read().filter(|(_, slot)| slot.read_through == after).map(|(number, slot)| (*number, slot.epoch));
        Some(Cursor { after, slots: slots.collect(), until })
    }

    /// Adds the messages of a read, in order. `looked_through` is the position up to which the read looked.
    pub(super) fn add(&mut self, messages: Vec<Message>, looked_through: GlobalPosition, cursor: &Cursor) {
        let looked_through = cursor.until.map_or(looked_through, |until| until.min(looked_through));
        let is_read = |slots: &BTreeMap<u16, Slot>, number: u16| {
            let slot = slots.get(&number).filter(|slot| !slot.is_releasing && slot.read_through == cursor.after);
            slot.is_some_and(|slot| cursor.slots.contains(&(number, slot.epoch)))
        };
        for message in messages {
            if message.global_position > looked_through {
                break;
            }
            let slot = self.slot_of(&message);
            if is_read(&self.slots, slot) {
                self.queue(slot, message);
            }
        }
        for (number, _) in &cursor.slots {
            if is_read(&self.slots, *number)
                && let Some(slot) = self.slots.get_mut(number)
            {
                slot.read_through = slot.read_through.max(looked_through);
            }
        }
    }

    /// Adds a message that was read before.
    pub(super) fn add_again(&mut self, message: Message) {
        let slot = self.slot_of(&message);
        self.queue(slot, message);
    }

    fn queue(&mut self, number: u16, message: Message) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        self.len += usize::from(slot.unhandled.insert(message.global_position));
        if let Some(waiting) = self.waiting.get_mut(entity(&message)) {
            waiting.push_back(Waiting::behind(waiting.len(), message));
        } else {
            self.waiting.insert(entity(&message).to_owned(), VecDeque::new());
            self.ready.push_back(HandedOut { slot: number, epoch: slot.epoch, message, is_whole: true });
        }
    }

    /// Hands out the next ready message.
    pub(super) fn next(&mut self) -> Option<HandedOut> {
        let next = self.ready.pop_front()?;
        self.hand_out(&next);
        Some(next)
    }

    fn hand_out(&mut self, next: &HandedOut) {
        if let Some(slot) = self.slots.get_mut(&next.slot) {
            slot.under_way += 1;
            slot.handed_out_through = slot.handed_out_through.max(next.message.global_position);
        }
    }

    /// The ready message with the lowest position. If no message is handed out, no unhandled message is below it.
    pub(super) fn lowest_ready(&self) -> Option<&Message> {
        self.ready.iter().map(|ready| &ready.message).min_by_key(|message| message.global_position)
    }

    /// Hands out the message that [`lowest_ready`](Self::lowest_ready) returns.
    pub(super) fn next_in_order(&mut self) -> Option<HandedOut> {
        let lowest = self.lowest_ready()?.global_position;
        let number = self.ready.iter().position(|ready| ready.message.global_position == lowest)?;
        let next = self.ready.remove(number)?;
        self.hand_out(&next);
        Some(next)
    }

    /// Whether a message can be handed out now.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Removes a message that was handled. The next one of its entity becomes ready. Returns `false`, and removes nothing,
    /// if its slot is gone.
    pub(super) fn done(&mut self, number: u16, epoch: i64, message: &Message) -> bool {
        let Some(slot) = self.slots.get_mut(&number).filter(|slot| slot.epoch == epoch) else { return false };
        slot.under_way = slot.under_way.saturating_sub(1);
        self.len -= usize::from(slot.unhandled.remove(&message.global_position));
        let waiting = self.waiting.get_mut(entity(message));
        match waiting.and_then(VecDeque::pop_front) {
            Some(Waiting { message, is_whole }) => {
                self.ready.push_back(HandedOut { slot: number, epoch, message, is_whole });
            }
            None => {
                self.waiting.remove(entity(message));
            }
        }
        true
    }

    /// A message that was handed out is no longer under way, and was not handled.
    pub(super) fn not_handled(&mut self, number: u16, epoch: i64) {
        if let Some(slot) = self.slots.get_mut(&number).filter(|slot| slot.epoch == epoch) {
            slot.under_way = slot.under_way.saturating_sub(1);
        }
    }

    /// The number of messages that were read and are not handled.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The position up to which the category was read, in the slot that was read most.
    pub(super) fn read_through(&self) -> GlobalPosition {
        self.slots.values().map(|slot| slot.read_through).max().unwrap_or(self.without_slots)
    }

    /// The highest position that was handed out of a slot.
    pub(super) fn handed_out_through(&self, slot: u16) -> GlobalPosition {
        self.slots.get(&slot).map_or(self.without_slots, |slot| slot.handed_out_through)
    }

    /// The position up to which all messages of a slot are handled.
    pub(super) fn handled_through_in(&self, slot: u16) -> GlobalPosition {
        self.slots.get(&slot).map_or(self.without_slots, Slot::handled_through)
    }

    /// The position up to which all messages of all slots are handled.
    pub(super) fn handled_through(&self) -> GlobalPosition {
        self.slots.values().map(Slot::handled_through).min().unwrap_or(self.without_slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Json, MessageId, Position, StreamName};

    fn message(entity: &str, global_position: i64) -> Message {
        Message {
            id: MessageId::new(),
            stream: StreamName::new(format!("c-{entity}")).unwrap(),
            message_type: "T".into(),
            position: Position::FIRST,
            global_position: GlobalPosition::new(global_position),
            data: Json::NULL,
            metadata: Json::NULL,
            time: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn add(partitions: &mut Partitions, messages: Vec<Message>, looked_through: i64) {
        let cursor = partitions.next_read().unwrap();
        partitions.add(messages, GlobalPosition::new(looked_through), &cursor);
    }

    fn next(partitions: &mut Partitions) -> Message {
        partitions.next().unwrap().message
    }

    fn done(partitions: &mut Partitions, message: &Message) {
        assert!(partitions.done(0, 0, message));
    }

    fn at(partitions: &Partitions) -> i64 {
        partitions.handled_through().get()
    }

    #[test]
    fn an_entity_has_one_message_under_way_and_others_do_not_wait_for_it() {
        let mut partitions = Partitions::new(GlobalPosition::ZERO);
        add(&mut partitions, vec![message("a", 1), message("a", 2), message("b", 3)], 3);
        let first = next(&mut partitions);
        let other = next(&mut partitions);
        assert_eq!((first.global_position.get(), other.global_position.get()), (1, 3));
        assert!(partitions.next().is_none(), "the second message of a waits for the first");
        done(&mut partitions, &first);
        assert_eq!(next(&mut partitions).global_position.get(), 2);
    }

    #[test]
    fn next_in_order_returns_the_lowest_message_of_all_entities() {
        let mut partitions = Partitions::new(GlobalPosition::ZERO);
        add(&mut partitions, vec![message("a", 1), message("a", 2), message("b", 3)], 3);
        for expected in 1..=3 {
            let next = partitions.next_in_order().unwrap().message;
            assert_eq!(next.global_position.get(), expected);
            done(&mut partitions, &next);
            assert_eq!(at(&partitions), expected);
        }
        assert!(!partitions.is_ready());
    }

    #[test]
    fn the_position_stays_below_unhandled_messages() {
        let mut partitions = Partitions::new(GlobalPosition::ZERO);
        add(&mut partitions, vec![message("a", 4), message("b", 6), message("c", 9)], 12);
        assert_eq!(at(&partitions), 3);
        let (a, b, c) = (next(&mut partitions), next(&mut partitions), next(&mut partitions));
        done(&mut partitions, &c);
        done(&mut partitions, &b);
        assert_eq!(at(&partitions), 3, "4 is not handled");
        done(&mut partitions, &a);
        assert_eq!(at(&partitions), 12, "filtered positions count as handled");
        assert_eq!(partitions.len(), 0);
        assert!(partitions.waiting.is_empty(), "an entity without messages needs no queue");
    }

    const COUNT: u16 = 8;

    /// Two entities in different slots, and these slots.
    fn two_entities() -> [(String, u16); 2] {
        let slot = |entity: &str| slot_of(StreamName::new(format!("c-{entity}")).unwrap().cardinal_hash(), COUNT);
        let mut entities = (0..).map(|number: i32| number.to_string());
        let first = entities.next().unwrap();
        let other = entities.find(|other| slot(other) != slot(&first)).unwrap();
        [first, other].map(|entity| (entity.clone(), slot(&entity)))
    }

    fn of_two_slots(first: i64, other: i64) -> Partitions {
        let [(_, a), (_, b)] = two_entities();
        let mut partitions = Partitions::of_slots(COUNT);
        partitions.add_slot(a, 1, GlobalPosition::new(first));
        partitions.add_slot(b, 2, GlobalPosition::new(other));
        partitions
    }

    #[test]
    fn a_slot_that_is_behind_is_read_by_itself_up_to_the_others() {
        let [(one, a), (other, b)] = two_entities();
        let mut partitions = of_two_slots(10, 20);
        let cursor = partitions.next_read().unwrap();
        assert_eq!(
            cursor,
            Cursor { after: GlobalPosition::new(10), slots: vec![(a, 1)], until: Some(GlobalPosition::new(20)) }
        );
        add(&mut partitions, vec![message(&one, 12), message(&one, 25)], 25);
        assert_eq!((partitions.len(), partitions.handled_through_in(a).get()), (1, 11));
        let cursor = partitions.next_read().unwrap();
        assert_eq!((cursor.after.get(), cursor.slots.len(), cursor.until), (20, 2, None));
        add(&mut partitions, vec![message(&other, 24), message(&one, 25)], 25);
        assert_eq!((partitions.len(), partitions.handled_through_in(b).get(), at(&partitions)), (3, 23, 11));
    }

    #[test]
    fn a_read_adds_nothing_to_a_slot_that_was_removed_or_claimed_again() {
        let [(one, a), (other, b)] = two_entities();
        let mut partitions = of_two_slots(10, 10);
        let cursor = partitions.next_read().unwrap();
        partitions.remove_slot(a, 1);
        partitions.add_slot(b, 5, GlobalPosition::new(3));
        partitions.add(vec![message(&one, 12), message(&other, 13)], GlobalPosition::new(13), &cursor);
        assert_eq!((partitions.len(), at(&partitions)), (0, 3));
    }

    #[test]
    fn a_slot_that_is_released_keeps_its_unhandled_messages_and_hands_none_out() {
        let [(one, a), (other, b)] = two_entities();
        let mut partitions = of_two_slots(0, 0);
        add(&mut partitions, vec![message(&one, 1), message(&one, 2), message(&other, 3)], 3);
        let under_way = partitions.next().unwrap();
        assert_eq!(under_way.slot, a);
        partitions.begin_release(a);
        assert_eq!(partitions.drained(true).count(), 0, "a message is under way");
        assert_eq!(partitions.next().unwrap().slot, b);
        assert!(partitions.next().is_none());
        assert!(partitions.done(a, 1, &under_way.message));
        assert_eq!(partitions.drained(true).collect::<Vec<_>>(), [a]);
        assert!(!partitions.is_ready());
        assert_eq!(partitions.handled_through_in(a).get(), 1, "the second message was not handled");
        assert!(!partitions.done(a, 0, &under_way.message), "of an earlier epoch");
    }
}
