//! Ids of what is written for a command: derived, so that writing it twice is writing the same message twice.

use sha2::{Digest, Sha256};
use uuid::Builder;

use crate::{MessageId, StreamName};

/// The id of the message that is written to `stream` as number `index` (0-based) for the message `cause`.
///
/// It depends on nothing else: not on when, by whom, how often or from which store `cause` was delivered. So one index
/// look-up tells whether `cause` was carried out, and the unique id refuses a second effect should all else fail.
///
/// Form: a UUIDv8. Its first 48 bits are those of `cause`, which in our ids are the time, so that ids derived together stand
/// together in the index; the other 74 are a SHA-256 of the three inputs.
pub fn derived_id(cause: MessageId, stream: &StreamName, index: usize) -> MessageId {
    let cause = cause.as_uuid();
    let mut hash = Sha256::new();
    hash.update(cause.as_bytes());
    hash.update((index as u64).to_be_bytes());
    hash.update(stream.as_str());
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&cause.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&digest[..10]);
    MessageId::from_uuid(Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_depends_on_cause_stream_and_index_alone_and_begins_as_its_cause() {
        let (cause, other) = (MessageId::random(), MessageId::random());
        let account = StreamName::new("account-1").unwrap();
        let id = derived_id(cause, &account, 0);
        assert_eq!(id, derived_id(cause, &account, 0));
        for different in [
            derived_id(other, &account, 0),
            derived_id(cause, &StreamName::new("account-2").unwrap(), 0),
            derived_id(cause, &account, 1),
        ] {
            assert_ne!(id, different);
        }
        assert_eq!(id.as_uuid().as_bytes()[..6], cause.as_uuid().as_bytes()[..6]);
        assert_eq!(id.as_uuid().get_version_num(), 8);
    }
}
