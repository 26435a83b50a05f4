//! A projection whose state shows an event that was applied twice, not at all, or in another order.

use std::collections::BTreeMap;
use std::sync::Arc;

use message_store::entity::{EntityStore, Projection, SnapshotPolicy};
use message_store::handling::{CommandHandler, Decider};
use message_store::{Append, Message, MessageStore, NewMessage, StreamName};
use serde::{Deserialize, Serialize};

pub(super) type Store = Arc<dyn MessageStore>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Command {
    Add { number: i64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Event {
    Added { number: i64 },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) sum: i128,
    digest: u64,
    last: Option<i64>,
    counts: BTreeMap<String, u64>,
}

impl Projection for Tally {
    const CATEGORY: &'static str = "tally";
    type Event = Event;
    fn ignores(message_type: &str) -> bool {
        message_type == "Noted"
    }
    fn apply(&mut self, Event::Added { number }: &Event) {
        self.sum += i128::from(*number);
        self.digest = self.digest.wrapping_mul(0x0100_0000_01b3).wrapping_add(number.unsigned_abs());
        self.last = Some(*number);
        *self.counts.entry(format!("{}", number % 3)).or_default() += 1;
    }
}

impl Decider for Tally {
    type Command = Command;
    fn decide(&self, Command::Add { number }: &Command) -> Vec<Event> {
        (0..=number % 2).map(|more| Event::Added { number: number + more }).collect()
    }
}

/// A process of its own.
pub(super) fn handler(store: &Store, every: Option<u32>) -> CommandHandler<Tally> {
    let handler = CommandHandler::new(store);
    match every {
        Some(every) => handler.snapshots(SnapshotPolicy::every(every)),
        None => handler,
    }
}

/// The entities of a process that has just started.
pub(super) fn entities(store: &Store, every: u32) -> EntityStore<Tally> {
    EntityStore::new(store).snapshots(SnapshotPolicy::every(every))
}

pub(super) async fn send(store: &Store, id: &str, number: i64) -> Message {
    let command = NewMessage::from_variant(&Command::Add { number }).unwrap();
    let message = command.id;
    let stream = StreamName::new(format!("tally:command-{id}")).unwrap();
    store.append(Append::to(stream).message(command).into()).await.unwrap();
    store.message(message).await.unwrap().unwrap()
}

/// Handles new commands with these numbers, and waits for the snapshots.
pub(super) async fn add(store: &Store, handler: &CommandHandler<Tally>, id: &str, numbers: &[i64]) -> Vec<Message> {
    let mut sent = Vec::new();
    for number in numbers {
        let command = send(store, id, *number).await;
        let _ = handler.carry_out(&command).await.unwrap();
        sent.push(command);
    }
    handler.entities().snapshots_written().await;
    sent
}
