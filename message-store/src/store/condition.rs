//! The condition of an append: that no message matches a query after the positions up to which the caller has looked.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::store::{Query, QueryItem};
use crate::{Category, GlobalPosition, Message, Tag};

/// A condition of an append: no message matches the query after a position. If one does, the store refuses the append with
/// [`ConditionFailed`](crate::Error::ConditionFailed).
///
/// The store decides this when it has locked the categories of the query and of the append, so it misses no message that
/// another writer writes at the same time. This is the *dynamic consistency boundary* of <https://dcb.events>, with one
/// difference: a query names its categories, because they are what is locked.
///
/// ```
/// use message_store::{Append, AppendRequest, Category, Json, Metadata, NewMessage, StreamName, Tag};
/// use message_store::store::QueryItem;
///
/// let email = Tag::new("email:ann@example.com")?;
/// let registered = NewMessage::new("Registered", Json::NULL).with_metadata(&Metadata::new().tag(email.clone()))?;
/// let request = AppendRequest::from(Append::to(StreamName::new("user-7")?).message(registered))
///     .unless(QueryItem::of(Category::new("user")?).types(["Registered"]).tag(email));
/// # assert!(request.condition().is_some());
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Condition {
    /// The messages that must not be there.
    pub query: Query,
    /// Messages up to these positions do not count. Default: each message counts.
    pub after: LookedThrough,
}

impl Condition {
    /// For backends: whether the message makes the condition fail.
    pub fn is_failed_by(&self, message: &Message) -> bool {
        message.global_position > self.after.of(&message.category()) && self.query.matches(message)
    }

    /// What the databases search for.
    pub(crate) fn parts(&self) -> impl Iterator<Item = ConditionPart<'_>> {
        self.query.items().iter().flat_map(|item| {
            item.categories.iter().map(|category| ConditionPart {
                category: category.as_str(),
                after: self.after.of(category),
                types: (!item.types.is_empty()).then_some(&item.types),
                cardinal_id: item.cardinal_id.as_deref(),
                tags: (!item.tags.is_empty()).then_some(&item.tags),
            })
        })
    }
}

impl Query {
    /// The condition that no message after these positions matches. Use the positions that the read of the messages
    /// returned ([`Matches::looked_through`](crate::store::Matches::looked_through)).
    pub fn after(self, looked_through: impl Into<LookedThrough>) -> Condition {
        Condition { query: self, after: looked_through.into() }
    }
}

impl QueryItem {
    /// As [`Query::after`].
    pub fn after(self, looked_through: impl Into<LookedThrough>) -> Condition {
        Query::from(self).after(looked_through)
    }
}

impl From<Query> for Condition {
    fn from(query: Query) -> Self {
        Self { query, after: LookedThrough::default() }
    }
}

impl From<QueryItem> for Condition {
    fn from(item: QueryItem) -> Self {
        Query::from(item).into()
    }
}

/// One category of one item of a condition's query.
#[derive(Debug, Serialize)]
pub(crate) struct ConditionPart<'a> {
    pub(crate) category: &'a str,
    pub(crate) after: GlobalPosition,
    pub(crate) types: Option<&'a Vec<String>>,
    pub(crate) cardinal_id: Option<&'a str>,
    pub(crate) tags: Option<&'a Vec<Tag>>,
}

/// The positions up to which a reader has looked, one for each category.
///
/// Why one position is not enough: writers of one category take turns, and a reader that sees a message of the category
/// sees every earlier one. Writers of two categories do not take turns. While a reader sees position 90 of the category
/// `course`, a message of `student` at position 80 may not be committed yet. With 90 for both, the reader would never see
/// it, and the condition would not find it. With the lower of the two positions for both, messages of `course` that the
/// reader has seen would make its own condition fail, again and again while `student` is idle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct LookedThrough {
    /// For categories that are not in the map.
    others: GlobalPosition,
    categories: BTreeMap<Category, GlobalPosition>,
}

impl LookedThrough {
    /// Sets the position of a category. A read of the category returns it
    /// ([`Batch::looked_through`](crate::Batch::looked_through)).
    pub fn with(mut self, category: Category, position: GlobalPosition) -> Self {
        self.categories.insert(category, position);
        self
    }

    /// The position of a category.
    pub fn of(&self, category: &Category) -> GlobalPosition {
        self.categories.get(category).copied().unwrap_or(self.others)
    }
}

/// The same position for every category: right for a store whose writers all take turns, or if only one category matters.
impl From<GlobalPosition> for LookedThrough {
    fn from(position: GlobalPosition) -> Self {
        Self { others: position, categories: BTreeMap::new() }
    }
}

impl Default for LookedThrough {
    /// Before the first message.
    fn default() -> Self {
        Self::from(GlobalPosition::ZERO)
    }
}
