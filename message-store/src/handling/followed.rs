//! The metadata of the messages that a handler writes for a message.

use crate::{Json, Metadata, Result};

/// The metadata of a message that follows from another. `followed` remembers the JSON for messages whose author has set
/// none.
pub(super) fn follow(metadata: &Metadata, authors: &Json, followed: &mut Option<Json>) -> Result<Json> {
    if !authors.is_empty() {
        return metadata.clone().merged_with(authors)?.to_json();
    }
    if followed.is_none() {
        // The metadata is derived from that of a stored message, so it needs no check.
        *followed = Some(Json::encode_stored(metadata)?);
    }
    Ok(followed.clone().unwrap_or(Json::NULL))
}
