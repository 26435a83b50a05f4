//! How the letters of messages stand that may still be delivered by their position.
//!
//! Problem: a position is delivered again when the size of its group has changed, after a reset, or by another process;
//! and its message may have been set aside before, and given up. A look-up for each message would tell, and cost as
//! much as the message. Fix: the consumer reads the letters once when it starts, and then what is new among them, once
//! for each batch of messages, after the batch. Why it is right: what an operator has decided before the batch was read
//! is known before a message of it is delivered. Why it is little: there are few letters, and those of messages that
//! the consumer has passed are forgotten.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt as _;

use super::letter::{DeadLetter, DeadLetters};
use super::step::{Step, is_copy};
use crate::{
    GlobalPosition, GroupMember, Message, MessageId, MessageRef, MessageStoreExt as _, Read, Result, StreamName,
};

/// The letter of a message that is not to be delivered.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Where its message stands; `None` as long as it is not here: it is still to be copied.
    pub(super) message: Option<GlobalPosition>,
    id: MessageId,
    /// Where it was last set aside.
    pub(super) letter: MessageRef,
    pub(super) is_discarded: bool,
    pub(super) holds: bool,
}

impl Standing {
    /// What a whole letter says.
    fn of(letter: DeadLetter) -> Self {
        let is_discarded = letter.is_discarded();
        let DeadLetter { message, letter, is_here, holds, .. } = letter;
        let place = is_here.then_some(message.global_position);
        Self { message: place, id: message.id, letter, is_discarded, holds }
    }
}

/// Letters that are open, or discarded.
#[derive(Debug)]
pub(super) struct Standings {
    by_stream: HashMap<StreamName, Standing>,
    /// Everything up to here is in `by_stream`, also when the rest could not be read.
    read_through: GlobalPosition,
    /// Letters with something new, until that is told.
    changed: Vec<StreamName>,
    /// Copied letters that are open and whose messages are here, also those that the consumer has passed: under
    /// [`OnFailure::Stop`](super::OnFailure::Stop) it passes them and asks for nothing.
    arrived: HashSet<StreamName>,
    member: Option<GroupMember>,
}

impl Standings {
    /// Nothing is known yet.
    pub(super) fn new(member: Option<GroupMember>) -> Self {
        Self {
            by_stream: HashMap::new(),
            read_through: GlobalPosition::ZERO,
            changed: Vec::new(),
            arrived: HashSet::new(),
            member,
        }
    }

    /// Reads what is new, and forgets the letters of messages up to `handled_through`. Returns the open letters, of
    /// those with something new, that later messages wait behind: the name of their entity, and where their message
    /// stands.
    pub(super) async fn refresh(
        &mut self,
        letters: &DeadLetters,
        handled_through: GlobalPosition,
    ) -> Result<Vec<(String, GlobalPosition)>> {
        let read = Read::from(self.read_through.next());
        let mut steps = std::pin::pin!(letters.store.category_messages(&letters.category, read));
        while let Some(step) = steps.try_next().await? {
            self.take(letters, &step).await?;
            // Only now: what could not be learned is read again.
            self.read_through = step.global_position;
            self.changed.push(step.stream);
        }
        for (stream, standing) in self.by_stream.iter_mut().filter(|(_, standing)| standing.message.is_none()) {
            let message = letters.store.message(standing.id).await?;
            standing.message = message.map(|message| message.global_position);
            if standing.message.is_some() && !standing.is_discarded {
                self.arrived.insert(stream.clone());
            }
            self.changed.push(stream.clone());
        }
        let changed = std::mem::take(&mut self.changed);
        let holding = changed.iter().filter_map(|stream| {
            let standing = self.by_stream.get(stream).filter(|standing| standing.holds && !standing.is_discarded)?;
            // One that is not here holds back nothing that is: the later messages of its entity are copied after it.
            Some((stream.cardinal_id().unwrap_or_default().to_owned(), standing.message?))
        });
        let holding = holding.collect();
        self.by_stream.retain(|_, standing| standing.message.is_none_or(|message| message > handled_through));
        Ok(holding)
    }

    /// Takes in a step.
    async fn take(&mut self, letters: &DeadLetters, step: &Message) -> Result<()> {
        match Step::of(step) {
            // By the message: the name of its letter may be shortened, and then belongs to another member.
            Some(Step::Parked { message, .. }) if !is_own(self.member, &message.stream) => {}
            Some(Step::Parked { message, holds, .. }) => {
                let (place, id, letter) = (Some(message.global_position), message.message_id, step.reference());
                let mut standing = Standing { message: place, id, letter, is_discarded: false, holds };
                // A copied letter may have been discarded here before, and says where its message was in another store.
                if is_copy(step)
                    && let Some(whole) = letters.read(&step.stream).await?.letter
                {
                    if whole.is_here && whole.is_open() {
                        self.arrived.insert(step.stream.clone());
                    }
                    standing = Standing { letter: standing.letter, holds, ..Standing::of(whole) };
                }
                self.by_stream.insert(step.stream.clone(), standing);
            }
            Some(Step::Discarded { .. }) => match self.by_stream.get_mut(&step.stream) {
                Some(standing) => standing.is_discarded = true,
                // A copied delivery may have closed the letter before. The discard is final all the same.
                None if is_copy(step) => {
                    let letter = letters.read(&step.stream).await?.letter;
                    if let Some(letter) = letter.filter(|letter| is_own(self.member, &letter.message.stream)) {
                        self.by_stream.insert(step.stream.clone(), Standing::of(letter));
                    }
                }
                None => {}
            },
            Some(Step::Resolved { .. }) => {
                // A discard is final. After a move, a delivery in the other store may stand behind it.
                if self.by_stream.get(&step.stream).is_some_and(|standing| !standing.is_discarded) {
                    self.by_stream.remove(&step.stream);
                }
            }
            Some(Step::Attempted { .. } | Step::NotAlone {} | Step::RetryRequested {}) | None => {}
        }
        Ok(())
    }

    /// Whether messages of letters are still to be copied here.
    pub(super) fn wait_for_messages(&self) -> bool {
        self.by_stream.values().any(|standing| standing.message.is_none())
    }

    /// The copied letters that are open and whose messages are here, until that is done which is due of them.
    pub(super) fn arrived(&self) -> &HashSet<StreamName> {
        &self.arrived
    }

    pub(super) fn arrived_are_done(&mut self) {
        self.arrived.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_stream.is_empty()
    }

    pub(super) fn get(&self, stream: &StreamName) -> Option<&Standing> {
        self.by_stream.get(stream)
    }
}

/// Whether a member of a group, or a consumer that is in none, has the messages of a stream.
pub(super) fn is_own(member: Option<GroupMember>, stream: &StreamName) -> bool {
    member.is_none_or(|member| stream.cardinal_hash().is_some_and(|hash| member.takes(hash)))
}
