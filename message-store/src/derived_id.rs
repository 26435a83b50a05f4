//! Ids of the messages that a handler writes for a message. They are derived, so a second write of the same message has
//! the same id.

use sha2::{Digest, Sha256};
use uuid::Builder;

use crate::{MessageId, StreamName};

/// The id of the message that the handler named `handler` writes to `stream` as number `index` (0-based) of its write
/// named `write`, for the message `cause`.
///
/// It depends on nothing else: not on when, how often or from which store `cause` was delivered. So one look-up in the
/// index shows whether `cause` was carried out, and the store refuses a second effect by its id even if all other
/// checks fail. Two handlers of one message, and two writes of one handler, derive different ids.
///
/// The id is a UUIDv8. Its first 48 bits are those of `cause`, which in this library's ids are the time, so that ids
/// derived at about the same time are close to each other in the index. The other 74 bits are a SHA-256 of all five
/// inputs, where the length of each text precedes the text.
pub fn derived_id(cause: MessageId, handler: &str, write: &str, stream: &StreamName, index: usize) -> MessageId {
    let cause = cause.as_uuid();
    let mut hash = Sha256::new();
    hash.update(cause.as_bytes());
    hash.update((index as u64).to_be_bytes());
    for text in [handler, write, stream.as_str()] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&cause.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&digest[..10]);
    MessageId::from_uuid(Builder::from_custom_bytes(bytes).into_uuid())
}

/// A function with the parameters of [`derived_id`].
pub(crate) type DeriveId = fn(MessageId, &str, &str, &StreamName, usize) -> MessageId;

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamName {
        StreamName::new(name).unwrap()
    }

    #[test]
    fn it_depends_on_its_five_inputs_alone_and_begins_as_its_cause() {
        let (cause, other) = (MessageId::new(), MessageId::new());
        let account = stream("account-1");
        let id = derived_id(cause, "account", "", &account, 0);
        assert_eq!(id, derived_id(cause, "account", "", &account, 0));
        for different in [
            derived_id(other, "account", "", &account, 0),
            derived_id(cause, "interest", "", &account, 0),
            derived_id(cause, "account", "reminder", &account, 0),
            derived_id(cause, "account", "", &stream("account-2"), 0),
            derived_id(cause, "account", "", &account, 1),
            derived_id(cause, "a", "ccount", &account, 0),
        ] {
            assert_ne!(id, different);
        }
        assert_eq!(id.as_uuid().as_bytes()[..6], cause.as_uuid().as_bytes()[..6]);
        assert_eq!(id.as_uuid().get_version_num(), 8);
    }

    /// The bytes are a storage format: a look-up must find ids that an earlier version derived.
    #[test]
    fn its_bytes_stay_as_they_are() {
        let cause: MessageId = "01997c2e-3b5a-7d10-8f4e-2a6b1c9d0e3f".parse().unwrap();
        for (handler, write, index, expected) in [
            ("account", "", 0, "01997c2e-3b5a-87be-8dd8-1097cb4912c2"),
            ("account", "", 1, "01997c2e-3b5a-8d6c-9959-bc38f24880aa"),
            ("interest", "reminder", 0, "01997c2e-3b5a-8b19-ab1c-feefcb4b48cf"),
        ] {
            assert_eq!(derived_id(cause, handler, write, &stream("account-123"), index).to_string(), expected);
        }
    }
}
