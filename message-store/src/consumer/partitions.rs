//! The order of messages: the messages that may be handled now, and the position up to which all are handled.
//!
//! Problem: the messages of one entity must be handled in order, one at a time, and those of different entities should
//! not wait for each other. And a position may be saved only when all messages up to it are handled. Fix: each entity
//! has a queue, and only its first message is handled. A set contains the positions of all messages that are not
//! handled. Why it is right: a message is handed out only if no other message of its entity is under way, and the saved
//! position is below the lowest position that is not handled.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::{GlobalPosition, Message};

/// The messages that were read and are not handled.
#[derive(Debug)]
pub(super) struct Partitions {
    /// For each entity with a message that is ready or handed out: the messages that wait behind it.
    waiting: HashMap<String, VecDeque<Message>>,
    ready: VecDeque<Message>,
    unhandled: BTreeSet<GlobalPosition>,
    read_through: GlobalPosition,
    handed_out_through: GlobalPosition,
}

/// The messages of the category's stream, which has no entity id, are one partition.
fn entity(message: &Message) -> &str {
    message.stream.cardinal_id().unwrap_or_default()
}

impl Partitions {
    /// No message is under way, and all up to `handled_through` are handled.
    pub(super) fn new(handled_through: GlobalPosition) -> Self {
        Self {
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            unhandled: BTreeSet::new(),
            read_through: handled_through,
            handed_out_through: handled_through,
        }
    }

    /// Adds the messages of a read, in order. `looked_through` is the position up to which the read looked.
    pub(super) fn add(&mut self, messages: Vec<Message>, looked_through: GlobalPosition) {
        for message in messages {
            self.unhandled.insert(message.global_position);
            if let Some(waiting) = self.waiting.get_mut(entity(&message)) {
                waiting.push_back(message);
            } else {
                self.waiting.insert(entity(&message).to_owned(), VecDeque::new());
                self.ready.push_back(message);
            }
        }
        self.read_through = self.read_through.max(looked_through);
    }

    /// Hands out the next ready message.
    pub(super) fn next(&mut self) -> Option<Message> {
        let next = self.ready.pop_front()?;
        self.handed_out_through = self.handed_out_through.max(next.global_position);
        Some(next)
    }

    /// The ready message with the lowest position. If no message is handed out, no unhandled message is below it.
    pub(super) fn lowest_ready(&self) -> Option<&Message> {
        self.ready.iter().min_by_key(|message| message.global_position)
    }

    /// Hands out the message that [`lowest_ready`](Self::lowest_ready) returns.
    pub(super) fn next_in_order(&mut self) -> Option<Message> {
        let lowest = self.lowest_ready()?.global_position;
        let number = self.ready.iter().position(|message| message.global_position == lowest)?;
        let next = self.ready.remove(number)?;
        self.handed_out_through = self.handed_out_through.max(next.global_position);
        Some(next)
    }

    /// Whether a message can be handed out now.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Removes a message that was handled. The next one of its entity becomes ready.
    pub(super) fn done(&mut self, message: &Message) {
        self.unhandled.remove(&message.global_position);
        let waiting = self.waiting.get_mut(entity(message));
        match waiting.and_then(VecDeque::pop_front) {
            Some(next) => self.ready.push_back(next),
            None => {
                self.waiting.remove(entity(message));
            }
        }
    }

    /// The number of messages that were read and are not handled.
    pub(super) fn len(&self) -> usize {
        self.unhandled.len()
    }

    /// The position up to which the category was read.
    pub(super) fn read_through(&self) -> GlobalPosition {
        self.read_through
    }

    /// The highest position that was handed out.
    pub(super) fn handed_out_through(&self) -> GlobalPosition {
        self.handed_out_through
    }

    /// The position up to which all messages are handled.
    pub(super) fn handled_through(&self) -> GlobalPosition {
        self.unhandled.first().map_or(self.read_through, |lowest| lowest.previous())
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
    fn next_in_order_returns_the_lowest_message_of_all_entities() {
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
    fn the_position_stays_below_unhandled_messages() {
        let mut partitions = Partitions::new(GlobalPosition::ZERO);
        partitions.add(vec![message("a", 4), message("b", 6), message("c", 9)], GlobalPosition::new(12));
        assert_eq!(at(&partitions), 3);
        let (a, b, c) = (partitions.next().unwrap(), partitions.next().unwrap(), partitions.next().unwrap());
        partitions.done(&c);
        partitions.done(&b);
        assert_eq!(at(&partitions), 3, "4 is not handled");
        partitions.done(&a);
        assert_eq!(at(&partitions), 12, "filtered positions count as handled");
        assert_eq!(partitions.len(), 0);
        assert!(partitions.waiting.is_empty(), "an entity without messages needs no queue");
    }
}
