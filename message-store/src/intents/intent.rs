//! Intents. A sender wants an intent to be carried out once, even if several messages ask for it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::key::shortened;
use crate::{Category, Error, Json, MAX_STREAM_NAME_BYTES, Result, StreamName};

/// The thing that several messages ask for, such as a deposit, by its id, or a webhook's event.
///
/// ```
/// use message_store::intents::Intent;
/// let intent = Intent::new("accountTransaction", ["deposit", "d-1"]).ignoring(["time"]);
/// assert_eq!(intent.stream("123")?.as_str(), "accountTransaction-123+deposit+d-1");
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Intent {
    category: String,
    parts: Vec<String>,
    ignoring: Vec<String>,
    /// Each entity has its own intents. Otherwise, all entities share one.
    is_of_entity: bool,
}

/// The place of the entity's id in the reservation of an intent that all entities share. No key can contain it, because
/// `%` is escaped within a part, and no entity may have it as its id.
const ALL_ENTITIES: &str = "%ALL";

impl Intent {
    /// An intent with the key that these parts form, reserved in streams of `category`.
    ///
    /// The id of its entity need not be a part: each entity has its own intents. Names are checked when the intent is
    /// used ([`Intent::stream`]).
    pub fn new<P: Into<String>>(category: impl Into<String>, parts: impl IntoIterator<Item = P>) -> Self {
        let parts = parts.into_iter().map(Into::into).collect();
        Self { category: category.into(), parts, ignoring: Vec::new(), is_of_entity: true }
    }

    /// Lets all entities share the intent: a message to one entity is a repeat of a message to another. For example, one
    /// booking reference must not book two rooms. A message to another entity is always a
    /// [`Conflict`](crate::Outcome::Conflict), also if its data is the same. To share the intent among some entities only,
    /// make what they have in common a part of the key.
    ///
    /// ```
    /// use message_store::intents::Intent;
    /// let intent = Intent::new("bookingReference", ["hotel-7", "B17"]).across_entities();
    /// assert_eq!(intent.stream("room-1")?, intent.stream("room-2")?);
    /// # Ok::<(), message_store::Error>(())
    /// ```
    pub fn across_entities(mut self) -> Self {
        self.is_of_entity = false;
        self
    }

    pub(super) fn is_of_entity(&self) -> bool {
        self.is_of_entity
    }

    /// Ignores these fields of the data when two messages of this intent are compared. Use it for fields that a sender
    /// fills again each time, such as the time of sending.
    pub fn ignoring(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.ignoring.extend(fields.into_iter().map(Into::into));
        self
    }

    /// The stream whose first message is the reservation: `{category}-{entity}+{key}`. Its cardinal id is the entity,
    /// so that a consumer group keeps the messages of an entity together. If all entities
    /// [share](Self::across_entities) the intent, `%ALL` replaces the entity.
    ///
    /// If the name would be too long, `%H` and a hash of the key replace the key. No other key can equal that, because
    /// `%` is escaped within a part.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key without parts or with an empty one, for an entity id that is empty, has a `+`, or is
    /// `%ALL`, and for an invalid category; [`Error::TooLarge`] when the category and the entity id alone are too long.
    pub fn stream(&self, entity: &str) -> Result<StreamName> {
        if entity.is_empty() || entity.contains('+') || entity == ALL_ENTITIES {
            return Err(Error::invalid("entity id", format!("{entity:?} is empty, has a `+`, or is {ALL_ENTITIES}")));
        }
        let entity = if self.is_of_entity { entity } else { ALL_ENTITIES };
        if self.parts.is_empty() || self.parts.iter().any(String::is_empty) {
            let reason = format!(
                "a part of its key in {} is empty, so different messages would have the same intent",
                self.category
            );
            return Err(Error::invalid("intent", reason));
        }
        if self.parts.iter().any(|part| part.contains('\0')) {
            return Err(Error::invalid(
                "intent",
                format!("a part of its key in {} contains a NUL character", self.category),
            ));
        }
        let category = Category::new(&self.category)?;
        let mut key = self.parts.iter().map(|part| escape(part)).collect::<Vec<_>>().join("+");
        if self.category.len() + entity.len() + key.len() + 2 > MAX_STREAM_NAME_BYTES {
            key = shortened(&key);
        }
        StreamName::of(&category, format_args!("{entity}+{key}"))
    }

    /// Whether two messages ask for the same thing: the type, and the data without the ignored fields, are equal.
    pub(crate) fn same(&self, ours: (&str, &Json), theirs: (&str, &Json)) -> bool {
        ours.0 == theirs.0 && self.compared(ours.1).same_as(&self.compared(theirs.1))
    }

    /// The data without the ignored fields. Data that is not an object is not changed.
    fn compared(&self, data: &Json) -> Json {
        if self.ignoring.is_empty() {
            return data.clone();
        }
        let Ok(mut fields) = data.decode::<BTreeMap<String, Box<RawValue>>>() else { return data.clone() };
        fields.retain(|field, _| !self.ignoring.contains(field));
        Json::encode(&fields).unwrap_or_else(|_| data.clone())
    }
}

/// Escapes a part of a key. `+` joins the parts, so `+` within a part is escaped, and so is `%`, which begins an
/// escape. `-` and `:` have no meaning after the first `-` of a stream name, and are not escaped.
fn escape(part: &str) -> String {
    part.replace('%', "%25").replace('+', "%2B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(entity: &str, parts: &[&str]) -> Result<StreamName> {
        Intent::new("reserved", parts.iter().copied()).stream(entity)
    }

    #[test]
    fn an_empty_key_and_an_entity_that_is_too_long_are_refused() {
        assert!(stream("1", &[""]).is_err());
        assert!(stream("1", &[]).is_err());
        assert!(stream("1", &["a\0"]).is_err());
        assert!(stream("1+2", &["x"]).is_err());
        assert!(stream("", &["x"]).is_err());
        assert!(matches!(stream(&"1".repeat(250), &["x"]), Err(Error::TooLarge { .. })));
        assert!(Intent::new("re-served", ["x"]).stream("1").is_err());
    }

    #[test]
    fn a_key_that_is_too_long_for_a_stream_name_is_shortened_and_stays_unique() {
        let long = "x".repeat(100_000);
        let name = |parts: &[&str]| stream("1", parts).unwrap();
        assert!(name(&[&long]).as_str().len() <= MAX_STREAM_NAME_BYTES);
        assert_eq!(name(&[&long]), name(&[&long]));
        assert_eq!(name(&[&long]).cardinal_id(), Some("1"));
        for other in [&[&*format!("{long}y")][..], &["a", &long], &[&long, "a"], &[&long, &long]] {
            assert_ne!(name(&[&long]), name(other));
        }
        let shortened = name(&[&long]);
        let key = shortened.id().unwrap().split_once('+').unwrap().1;
        assert_ne!(name(&[key]), shortened, "a key that is written as a shortened one is another key");
    }

    #[test]
    fn an_intent_across_entities_is_that_of_no_entity() {
        let shared = Intent::new("reserved", ["x"]).across_entities();
        assert_eq!(shared.stream("1").unwrap().as_str(), "reserved-%ALL+x");
        assert_ne!(shared.stream("1").unwrap(), stream("1", &["x"]).unwrap());
        assert!(stream("%ALL", &["x"]).is_err());
        assert!(shared.stream("").is_err(), "a message that names no entity has no intent either");
        assert_ne!(stream("1", &["%ALL", "x"]).unwrap(), shared.stream("1").unwrap());
    }

    #[test]
    fn ignored_fields_do_not_count_and_all_others_do() {
        let intent = Intent::new("reserved", ["x"]).ignoring(["time"]);
        let json = |text: &str| Json::parse(text).unwrap();
        let first = json(r#"{"amount":7,"time":"noon"}"#);
        assert!(intent.same(("Deposit", &first), ("Deposit", &json(r#"{"time":"later","amount":7.0}"#))));
        assert!(!intent.same(("Deposit", &first), ("Deposit", &json(r#"{"amount":8,"time":"noon"}"#))));
        assert!(!intent.same(("Deposit", &first), ("Deposit", &json(r#"{"amount":7,"to":1}"#))));
        assert!(!intent.same(("Deposit", &first), ("Withdraw", &first)));
    }

    proptest! {
        #[test]
        fn different_keys_have_different_streams_whatever_characters_they_use(
            ours in ("[a-z:-]{1,3}", prop::collection::vec("[ab+:%2B5-]{1,4}", 1..4)),
            theirs in ("[a-z:-]{1,3}", prop::collection::vec("[ab+:%2B5-]{1,4}", 1..4)),
        ) {
            let name = |(entity, parts): &(String, Vec<String>)| {
                stream(entity, &parts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
            };
            prop_assert_eq!(ours == theirs, name(&ours) == name(&theirs));
            let stream = name(&ours);
            prop_assert_eq!(stream.cardinal_id(), Some(ours.0.as_str()));
        }
    }
}
