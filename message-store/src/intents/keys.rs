//! Access to the optional part of a store with its keys.

use crate::store::Deduplication;
use crate::{Error, MessageStore, Result};

/// Returns the store's keys.
///
/// # Errors
/// [`Error::Unsupported`] if it has none.
pub(crate) fn keys(store: &dyn MessageStore) -> Result<&dyn Deduplication> {
    let what =
        "de-duplication (in Message DB's own schema, upgrade it with `message-store migrate --adopt`)".to_owned();
    store.deduplication().ok_or_else(|| Error::Unsupported { store: store.describe(), what })
}
