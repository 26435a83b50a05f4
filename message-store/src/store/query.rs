//! Queries: the messages that a condition of an append concerns.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::metadata::OWN_KEY;
use crate::variant::stored_types;
use crate::{Category, Error, Json, Message, Result, Tag, Upcaster};

/// The greatest number of parts of a query. A part is one category of one item.
pub const MAX_QUERY_PARTS: usize = 100;

/// One item of a [`Query`]. A message matches it if the message's category is one of the item's categories, its type is
/// one of the item's types, and it has the item's cardinal id and all of the item's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct QueryItem {
    /// The message's category is one of these. At least one.
    pub categories: Vec<Category>,
    /// The message's type is one of these. Empty: any type.
    pub types: Vec<String>,
    /// The cardinal id of the message's stream: the message belongs to this entity. `None`: to any.
    pub cardinal_id: Option<String>,
    /// The message has all of these tags. Empty: any tags or none.
    pub tags: Vec<Tag>,
}

impl QueryItem {
    /// The messages of a category. A category is required, because the store locks the categories of a condition.
    pub fn of(category: Category) -> Self {
        Self { categories: vec![category], types: Vec::new(), cardinal_id: None, tags: Vec::new() }
    }

    /// Adds the messages of another category.
    pub fn or_of(mut self, category: Category) -> Self {
        self.categories.push(category);
        self
    }

    /// Requires one of these types.
    pub fn types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Requires that the cardinal id of the message's stream is this one: `7` for the streams `user-7` and `user-7+log`.
    pub fn cardinal_id(mut self, id: impl Into<String>) -> Self {
        self.cardinal_id = Some(id.into());
        self
    }

    /// Requires a tag, in addition to those that the item already requires.
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// The messages that match this item or another one.
    pub fn or(self, item: Self) -> Query {
        Query::from(self).or(item)
    }

    /// Whether the message matches.
    pub fn matches(&self, message: &Message) -> bool {
        let category = message.category();
        self.categories.contains(&category)
            && (self.types.is_empty() || self.types.contains(&message.message_type))
            && self.cardinal_id.as_deref().is_none_or(|id| message.stream.cardinal_id() == Some(id))
            && (self.tags.is_empty() || has_all(&tags_in(&message.metadata), &self.tags))
    }
}

fn has_all(found: &[String], tags: &[Tag]) -> bool {
    tags.iter().all(|tag| found.iter().any(|found| found == tag.as_str()))
}

/// The tags of a message that any program wrote. Elements that are not strings are no tags.
pub(crate) fn tags_in(metadata: &Json) -> Vec<String> {
    type Fields<'a> = BTreeMap<String, &'a RawValue>;
    let field = |text: &str, name: &str| -> Option<String> {
        serde_json::from_str::<Fields<'_>>(text).ok()?.remove(name).map(|raw| raw.get().to_owned())
    };
    let tags = metadata.as_str().and_then(|text| field(text, OWN_KEY)).and_then(|own| field(&own, "tags"));
    let values: Vec<&RawValue> = tags.as_deref().and_then(|tags| serde_json::from_str(tags).ok()).unwrap_or_default();
    values.into_iter().filter_map(|value| serde_json::from_str(value.get()).ok()).collect()
}

/// The messages that a condition of an append concerns: those that match one of its items. It has at least one item, and
/// each item names its categories, so no query concerns the whole store.
///
/// ```
/// use message_store::{Category, Tag};
/// use message_store::store::QueryItem;
///
/// let users = Category::new("user")?;
/// // Registrations with this address, or changes to it.
/// let query = QueryItem::of(users.clone()).types(["Registered"]).tag(Tag::new("email:ann@example.com")?)
///     .or(QueryItem::of(users).types(["Renamed"]).tag(Tag::new("new-email:ann@example.com")?));
/// assert_eq!(query.items().len(), 2);
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Query {
    items: Vec<QueryItem>,
}

impl Query {
    /// Adds the messages that match another item.
    pub fn or(mut self, item: QueryItem) -> Self {
        self.items.push(item);
        self
    }

    /// The items, at least one.
    pub fn items(&self) -> &[QueryItem] {
        &self.items
    }

    /// Whether the message matches.
    pub fn matches(&self, message: &Message) -> bool {
        self.items.iter().any(|item| item.matches(message))
    }

    /// The same query, with the earlier names of the types of a category.
    pub(crate) fn widened_by(mut self, category: &str, upcasters: &[Upcaster]) -> Self {
        for item in &mut self.items {
            if !upcasters.is_empty() && item.categories.iter().any(|of| of.as_str() == category) {
                let types = stored_types(upcasters, item.types.iter().map(String::as_str));
                item.types = types.into_iter().map(str::to_owned).collect();
            }
        }
        self
    }

    /// The categories of all items, in order, each once.
    pub fn categories(&self) -> Vec<&Category> {
        let mut categories: Vec<_> = self.items.iter().flat_map(|item| &item.categories).collect();
        categories.sort_unstable();
        categories.dedup();
        categories
    }

    /// # Errors
    /// [`Error::TooLarge`] for a query with too many parts; [`Error::Invalid`] for a text that no message has.
    pub(crate) fn check(&self) -> Result<()> {
        let actual = self.items.iter().map(|item| item.categories.len()).sum();
        if actual > MAX_QUERY_PARTS {
            let what = "the number of parts of a query (categories of its items)".to_owned();
            return Err(Error::TooLarge { what, actual, limit: MAX_QUERY_PARTS });
        }
        let texts = self.items.iter().flat_map(|item| item.types.iter().chain(&item.cardinal_id));
        if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
            return Err(Error::invalid(
                "query",
                format!("{text:?} contains a NUL character, so no message can match it"),
            ));
        }
        Ok(())
    }
}

impl From<QueryItem> for Query {
    fn from(item: QueryItem) -> Self {
        Self { items: vec![item] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strings_in_the_toolkits_array_are_tags() {
        let tags = |text: &str| tags_in(&Json::from_database(Some(text.to_owned())));
        assert_eq!(tags(r#"{"messageStore":{"tags":["a","b"]}}"#), ["a", "b"]);
        assert_eq!(tags(r#"{"messageStore":{"tags":["a",1,["b"],null]}}"#), ["a"]);
        for none in [
            "{}",
            "[]",
            "not json",
            r#"{"tags":["a"]}"#,
            r#"{"messageStore":["a"]}"#,
            r#"{"messageStore":{"tags":"a"}}"#,
            r#"{"messageStore":{"tags":{"a":1}}}"#,
        ] {
            assert!(tags(none).is_empty(), "{none}");
        }
        assert!(tags_in(&Json::NULL).is_empty());
    }
}
