//! The messages of a case, as a store stores them.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::NewMessage;

pub(super) fn message(value: &impl Serialize) -> NewMessage {
    NewMessage::from_variant(value).unwrap()
}

pub(super) fn messages(values: &[impl Serialize]) -> Vec<NewMessage> {
    values.iter().map(message).collect()
}

/// Panics unless the value is equal after it was encoded and decoded.
pub(super) fn survives_storage<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: &T) {
    let stored = message(value);
    let read: Option<T> = crate::variant::decode(&stored.message_type, &stored.data)
        .unwrap_or_else(|error| panic!("{value:?}, stored as {stored:?}, cannot be read back: {error}"));
    assert_eq!(read.as_ref(), Some(value), "{stored:?} is read back as something else");
}
