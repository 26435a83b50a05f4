//! How the letters of messages stand that may still be delivered by their position.
//!
//! Problem: a position is delivered again when the size of its group has changed, after a reset, or by another process; and its message may
//! have been set aside before, and given up. A look-up for each message would tell, and cost as much as the message. Fix: the
//! consumer reads what is new in the category of the letters, once for each batch of messages, after the batch. Why it is right: what an
//! operator has decided before the batch was read is known before a message of it is delivered. Why it is little: the letter of a message
//! stands above the message, so a consumer that starts reads the letters above its position, and forgets those that it has passed.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;

use super::letter::{DeadLetters, Step};
use crate::{GlobalPosition, GroupMember, MessageRef, MessageStoreExt as _, Read, Result, StreamName};

/// The letter of a message that is not to be delivered.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Where its message stands.
    pub(super) message: GlobalPosition,
    /// Where it was last set aside.
    pub(super) letter: MessageRef,
    pub(super) is_discarded: bool,
    pub(super) holds: bool,
}

/// Letters that are open, or discarded.
#[derive(Debug)]
pub(super) struct Standings {
    by_stream: HashMap<StreamName, Standing>,
    read_through: GlobalPosition,
    member: Option<GroupMember>,
}

impl Standings {
    /// Nothing is known yet; messages up to here are not delivered again.
    pub(super) fn new(handled_through: GlobalPosition, member: Option<GroupMember>) -> Self {
        Self { by_stream: HashMap::new(), read_through: handled_through, member }
    }

    /// Reads what is new, and forgets the letters of messages up to `handled_through`. Returns the streams with something new.
    pub(super) async fn refresh(
        &mut self,
        letters: &DeadLetters,
        handled_through: GlobalPosition,
    ) -> Result<Vec<StreamName>> {
        let read = Read::from(self.read_through.next());
        let mut changed = Vec::new();
        let mut steps = std::pin::pin!(letters.store.category_messages(&letters.category, read));
        while let Some(step) = steps.try_next().await? {
            self.read_through = step.global_position;
            match step.decode_variant()? {
                // By the message: the name of its letter may be shortened, and then belongs to another member.
                Some(Step::Parked { stream, .. }) if !self.is_own(&stream) => continue,
                Some(Step::Parked { global_position, holds, .. }) => {
                    let (message, letter) = (global_position, step.reference());
                    let standing = Standing { message, letter, is_discarded: false, holds };
                    self.by_stream.insert(step.stream.clone(), standing);
                }
                Some(Step::Discarded { .. }) => {
                    if let Some(standing) = self.by_stream.get_mut(&step.stream) {
                        standing.is_discarded = true;
                    }
                }
                Some(Step::Resolved { .. }) => drop(self.by_stream.remove(&step.stream)),
                Some(Step::Attempted {} | Step::RetryRequested {}) | None => {}
            }
            changed.push(step.stream);
        }
        self.by_stream.retain(|_, standing| standing.message > handled_through);
        Ok(changed)
    }

    fn is_own(&self, message: &StreamName) -> bool {
        self.member.is_none_or(|member| message.cardinal_hash().is_some_and(|hash| member.takes(hash)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_stream.is_empty()
    }

    pub(super) fn get(&self, stream: &StreamName) -> Option<&Standing> {
        self.by_stream.get(stream)
    }
}
