//! The keys of a store, where it has any.

use crate::store::Deduplication;
use crate::{Error, MessageStore, Result};

/// The keys of a store.
///
/// # Errors
/// [`Error::Unsupported`] where it has none.
pub(crate) fn keys(store: &dyn MessageStore) -> Result<&dyn Deduplication> {
    let what =
        "de-duplication (in Message DB's own schema, upgrade it with `message-store migrate --adopt`)".to_owned();
    store.deduplication().ok_or_else(|| Error::Unsupported { store: store.describe(), what })
}
