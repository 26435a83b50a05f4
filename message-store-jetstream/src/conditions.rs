//! Conditions of appends.
//!
//! Problem: a condition speaks of all messages of some categories, and one may be written while it is checked. Fix: each
//! append replaces the mark of its category. The messages behind the condition's positions are read after the mark, and the batch
//! requires that the mark is still the same. Why it is right: an append that the reader has not seen has replaced the mark, so the
//! server refuses the batch, and the condition is checked again. (The server also takes a wildcard for the last message of a category.
//! But there it does not see the batches that are on their way to other servers.)

use async_trait::async_trait;
use message_store::store::{Condition, Conditions, Matches};
use message_store::{Category, Error, GlobalPosition, MessageStore as _, Result, StreamName};

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
        for category in condition.query.categories() {
            // Every append to the category replaces the mark. It was read before the messages, so no append is missed.
            let mark = self.log.subjects.mark(category);
            let marked = self.log.last(&mark).await?.map_or(0, |last| last.sequence);
            let subject = self.subject_of(condition, category);
            let mut from = sequence(condition.after.of(category).next());
            loop {
                let (messages, through, is_end) = self.read_range(&subject, from, usize::MAX).await?;
                if let Some(found) = messages.iter().find(|message| condition.is_failed_by(message)) {
                    return Err(Error::ConditionFailed { stream: stream.clone(), found: found.reference() });
                }
                match through {
                    Some(through) if !is_end => from = through + 1,
                    _ => break,
                }
            }
            attempt.require(mark, marked, &self.log.subjects);
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
