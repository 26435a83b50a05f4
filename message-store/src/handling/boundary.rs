//! The boundary of a command: the messages of any entity that match its query, and the condition under which a decision
//! on them is written.
//!
//! Problem: a rule may concern messages of other entities, such as "no other user has this address". The expected version
//! of the command's own stream says nothing about them. Fix: the decision is written on the condition that no message
//! matches. If one does, the messages are read, the command is decided again on them, and that decision is written on the
//! condition that no other message matches. Why it ends: each condition that fails shows a message that was not known
//! before, so another writer has made progress.

use super::behaviour::{Arrival, Behaviour};
use super::protections::Protections;
use crate::store::{Condition, LookedThrough, Query};
use crate::{Error, History, Message, MessageStore, Result};

/// What is known of the messages that match the query of a command.
#[derive(Default)]
pub(super) struct Boundary {
    known: Option<Known>,
}

/// The messages that match a query, as they were read in a history of the store.
struct Known {
    query: Query,
    history: History,
    messages: Vec<Message>,
    looked_through: LookedThrough,
}

impl Boundary {
    /// What is known of a query in a history. The query depends on the entity, and positions on the history.
    fn known(&self, query: &Query, history: History) -> Option<&Known> {
        self.known.as_ref().filter(|known| known.query == *query && known.history == history)
    }

    /// How a command arrives that is held to the query.
    pub(super) fn arrival<'a>(&'a self, query: Option<&Query>, history: History, arrival: Arrival<'a>) -> Arrival<'a> {
        let known = query.and_then(|query| self.known(query, history));
        known.filter(|known| !known.messages.is_empty()).map_or(arrival, |known| Arrival::Matched(&known.messages))
    }

    /// The condition of a decision.
    pub(super) fn condition<B: Behaviour>(
        &self,
        query: Query,
        history: History,
        protections: &Protections<B>,
    ) -> Option<Condition> {
        match self.known(&query, history) {
            Some(known) => (protections.hold)(query, &known.looked_through),
            None => Some(query.into()),
        }
    }

    /// Reads the messages that match, after the condition of an append has failed. Returns whether there is one that was
    /// not known before.
    pub(super) async fn read(&mut self, store: &dyn MessageStore, query: Query) -> Result<bool> {
        let unsupported = || Error::Unsupported { store: store.describe(), what: "conditions".to_owned() };
        let history = store.history();
        let found = store.conditions().ok_or_else(unsupported)?.all_matches(&query).await?;
        let before =
            self.known(&query, history).and_then(|known| known.messages.last()).map(|last| last.global_position);
        let is_new =
            found.messages.last().is_some_and(|last| before.is_none_or(|before| last.global_position > before));
        self.known = Some(Known { query, history, messages: found.messages, looked_through: found.looked_through });
        Ok(is_new)
    }
}
