//! Conditions of appends.
//!
//! Problem: a condition speaks of all messages of some categories, and one may be written while it is checked. Fix: the
//! messages behind the condition's positions are read, and the batch requires that nothing was written since. With one server, that is
//! the last message of each category, named by a wildcard. With several, it is the last record of the whole log: for a wildcard, the
//! leader does not look at batches that are on their way to the others; for the end of the log, it counts them. Why it is right: the
//! leader compares when it gives the batch its place, so a later message makes it refuse the batch, and the condition is checked again.
//!
//! With several servers, any other write makes an attempt fail. So after some attempts this process lets its other appends wait.

use async_trait::async_trait;
use message_store::store::{Condition, Conditions, Matches};
use message_store::{Category, Error, GlobalPosition, MessageStore as _, Result, StreamName};

use crate::options::PlantedBug;
use crate::record::{global_position, sequence};
use crate::store::JetstreamStore;
use crate::write::Attempt;

impl JetstreamStore {
    /// Adds a condition to an attempt whose first stream is `stream`.
    pub(crate) async fn require_condition(
        &self,
        attempt: &mut Attempt,
        condition: &Condition,
        stream: &StreamName,
    ) -> Result<()> {
        let state = self.log.state().await?;
        let is_checked = !self.has_bug(PlantedBug::ConditionsAreCheckedBefore);
        for category in condition.query.categories() {
            let subject = self.subject_of(condition, category);
            let mut from = sequence(condition.after.of(category).next());
            let last = loop {
                let (messages, through, _) = self.read_range(&subject, from, usize::MAX).await?;
                if let Some(found) = messages.iter().find(|message| condition.is_failed_by(message)) {
                    return Err(Error::ConditionFailed { stream: stream.clone(), found: found.reference() });
                }
                from = through.map_or(from, |through| through + 1);
                let last = self.log.last(&subject).await?.map_or(0, |last| last.sequence);
                if last < from {
                    break last;
                }
            };
            if !state.is_replicated && is_checked {
                attempt.require(subject, last, &self.log.subjects);
            }
        }
        if state.is_replicated && is_checked {
            attempt.end = Some(state.last);
        }
        Ok(())
    }

    /// The messages of a category that a condition has to look at: of one cardinal id, if all its items have the same.
    fn subject_of(&self, condition: &Condition, category: &Category) -> String {
        let items = condition.query.items().iter().filter(|item| item.categories.contains(category));
        let mut ids = items.map(|item| item.cardinal_id.as_deref());
        match ids.next().flatten() {
            Some(id) if ids.all(|other| other == Some(id)) => self.log.subjects.entity(category, id),
            _ => self.log.subjects.category(category),
        }
    }
}

#[async_trait]
impl Conditions for JetstreamStore {
    async fn matches(&self, condition: &Condition, limit: usize) -> Result<Matches> {
        let limit = limit.clamp(1, self.limits().batch_messages);
        let end = global_position(self.log.state().await?.last);
        let (mut found, mut has_more) = (Vec::new(), false);
        let mut looked_through = condition.after.clone();
        for category in condition.query.categories() {
            let after = condition.after.of(category);
            let subject = self.subject_of(condition, category);
            let (mut from, mut through) = (sequence(after.next()), end.max(after));
            loop {
                let (messages, last, is_end) = self.read_range(&subject, from, usize::MAX).await?;
                let Some(last) = last else { break };
                found.extend(messages.into_iter().filter(|message| condition.is_failed_by(message)));
                from = last + 1;
                through = through.max(global_position(last));
                if is_end {
                    break;
                }
                if found.len() > limit {
                    through = global_position(last);
                    has_more = true;
                    break;
                }
            }
            looked_through = looked_through.with(category.clone(), through);
        }
        found.sort_by_key(|message| message.global_position);
        let count = found.len();
        found.truncate(limit);
        let found = self.limits().cut(found);
        has_more |= found.len() < count;
        let reached = found.last().map_or(GlobalPosition::ZERO, |last| last.global_position);
        if has_more {
            for category in condition.query.categories() {
                let through = looked_through.of(category).min(reached).max(condition.after.of(category));
                looked_through = looked_through.with(category.clone(), through);
            }
        }
        Ok(Matches::new(found, looked_through, has_more))
    }
}
