//! The messages of a case, as a store stores them.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::testing::golden::stored_message;
use crate::{Message, NewMessage, Upcaster};

/// A message in the form of today.
pub(super) fn message(value: &impl Serialize, upcasters: &[Upcaster]) -> NewMessage {
    NewMessage::from_variant(value).unwrap().versioned(upcasters).unwrap()
}

pub(super) fn messages(values: &[impl Serialize], upcasters: &[Upcaster]) -> Vec<NewMessage> {
    values.iter().map(|value| message(value, upcasters)).collect()
}

/// The values that a stored message is read as.
#[track_caller]
pub(super) fn read<T: DeserializeOwned>(stored: &Message, upcasters: &[Upcaster]) -> Vec<T> {
    let read = stored.decode_upcast(upcasters).unwrap_or_else(|error| panic!("{error}"));
    read.unwrap_or_else(|| panic!("{} is no type of this enum", stored.message_type))
}

/// Panics unless the value is equal after it was encoded and decoded.
#[track_caller]
pub(super) fn survives_storage<T>(value: &T, upcasters: &[Upcaster])
where
    T: Serialize + DeserializeOwned + Debug + PartialEq,
{
    let message = message(value, upcasters);
    let read: Option<Vec<T>> = stored_message(&message)
        .decode_upcast(upcasters)
        .unwrap_or_else(|error| panic!("{value:?}, stored as {message:?}, cannot be read back: {error}"));
    let read = read.as_deref().unwrap_or_default();
    assert!(matches!(read, [one] if one == value), "{message:?} is read back as something else: {read:?}");
}
