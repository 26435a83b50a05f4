//! Which message may be handled now, and up to where all are handled.
//!
//! Problem: messages of one entity must be handled in order, one at a time, while those of different entities should
//! not wait for each other; and a position may be stored only when nothing below it is still to be done. Fix: a queue
//! per entity, of which the front is being handled, and the set of all positions that are not done. Why it is right: a
//! message is handed out only when its entity has none under way, and the stored position lies below the lowest
//! position that is not done, however far others have come.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::{GlobalPosition, Message};

/// Messages that were read and are not done.
#[derive(Debug)]
pub(super) struct Partitions {
    /// Per entity with a message handed out or ready: what waits behind it.
    waiting: HashMap<String, VecDeque<Message>>,
    ready: VecDeque<Message>,
    not_done: BTreeSet<GlobalPosition>,
    read_through: GlobalPosition,
    handed_out_through: GlobalPosition,
}

/// Messages without an entity id are kept in order by category: they share one partition.
fn entity(message: &Message) -> &str {
    message.stream.cardinal_id().unwrap_or_default()
}

impl Partitions {
    /// Nothing is under way, and all up to here is handled.
    pub(super) fn new(handled_through: GlobalPosition) -> Self {
        Self {
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            not_done: BTreeSet::new(),
            read_through: handled_through,
            handed_out_through: handled_through,
        }
    }

    /// Takes in what was read, in order, and how far was looked.
    pub(super) fn add(&mut self, messages: Vec<Message>, looked_through: GlobalPosition) {
        for message in messages {
            self.not_done.insert(message.global_position);
            if let Some(waiting) = self.waiting.get_mut(entity(&message)) {
                waiting.push_back(message);
            } else {
                self.waiting.insert(entity(&message).to_owned(), VecDeque::new());
                self.ready.push_back(message);
            }
        }
        self.read_through = self.read_through.max(looked_through);
    }

    /// The next message that may be handled, if there is one.
    pub(super) fn next(&mut self) -> Option<Message> {
        let next = self.ready.pop_front()?;
        self.handed_out_through = self.handed_out_through.max(next.global_position);
        Some(next)
    }

    /// The lowest message that may be handled now: of all that are not done, when none is handed out.
    pub(super) fn lowest_ready(&self) -> Option<&Message> {
        self.ready.iter().min_by_key(|message| message.global_position)
    }

    /// Takes that one.
    pub(super) fn next_in_order(&mut self) -> Option<Message> {
        let lowest = self.lowest_ready()?.global_position;
        let number = self.ready.iter().position(|message| message.global_position == lowest)?;
        let next = self.ready.remove(number)?;
        self.handed_out_through = self.handed_out_through.max(next.global_position);
        Some(next)
    }

    /// Whether a message may be handed out.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A message that was handed out is done.
    pub(super) fn done(&mut self, message: &Message) {
        self.not_done.remove(&message.global_position);
        let waiting = self.waiting.get_mut(entity(message));
        match waiting.and_then(VecDeque::pop_front) {
            Some(next) => self.ready.push_back(next),
            None => {
                self.waiting.remove(entity(message));
            }
        }
    }

    /// How many messages are not done.
    pub(super) fn len(&self) -> usize {
        self.not_done.len()
    }

    /// Everything up to here was read.
    pub(super) fn read_through(&self) -> GlobalPosition {
        self.read_through
    }

    /// No message above this was handed out.
    pub(super) fn handed_out_through(&self) -> GlobalPosition {
        self.handed_out_through
    }

    /// Everything up to here is done.
    pub(super) fn handled_through(&self) -> GlobalPosition {
        self.not_done.first().map_or(self.read_through, |lowest| lowest.previous())
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

    fn at(partitions: &Partitions) -> i64 {
        partitions.handled_through().get()
    }

    #[test]
    fn an_entity_has_one_message_under_way_and_others_do_not_wait_for_it() {
        let mut partitions = Partitions::new(GlobalPosition::ZERO);
        partitions.add(vec![message("a", 1), message("a", 2), message("b", 3)], GlobalPosition::new(3));
        let first = partitions.next().unwrap();
        let other = partitions.next().unwrap();
        assert_eq!((first.global_position.get(), other.global_position.get()), (1, 3));
        assert!(partitions.next().is_none(), "the second message of a waits for the first");
        partitions.done(&first);
        assert_eq!(partitions.next().unwrap().global_position.get(), 2);
    }

    #[test]
    fn in_order_the_lowest_comes_first_whatever_its_entity() {
        let mut partitions = Partitions::new(GlobalPosition::ZERO);
        partitions.add(vec![message("a", 1), message("a", 2), message("b", 3)], GlobalPosition::new(3));
        for expected in 1..=3 {
            let next = partitions.next_in_order().unwrap();
            assert_eq!(next.global_position.get(), expected);
            partitions.done(&next);
            assert_eq!(at(&partitions), expected);
        }
        assert!(!partitions.is_ready());
    }

    #[test]
    fn the_position_stays_below_what_is_not_done() {
        let mut partitions = Partitions::new(GlobalPosition::ZERO);
        partitions.add(vec![message("a", 4), message("b", 6), message("c", 9)], GlobalPosition::new(12));
        assert_eq!(at(&partitions), 3);
        let (a, b, c) = (partitions.next().unwrap(), partitions.next().unwrap(), partitions.next().unwrap());
        partitions.done(&c);
        partitions.done(&b);
        assert_eq!(at(&partitions), 3, "4 is not done");
        partitions.done(&a);
        assert_eq!(at(&partitions), 12, "what the filter left out is passed as well");
        assert_eq!(partitions.len(), 0);
        assert!(partitions.waiting.is_empty(), "nothing is remembered of entities at rest");
    }
}
