//! Moving categories to another store.

use std::sync::Arc;

use message_store::operations::Transfer;
use message_store::{Category, MessageStore};

/// Copies these categories, in this order.
///
/// # Panics
/// Panics if a category cannot be copied.
pub async fn copy(from: &Arc<dyn MessageStore>, to: &Arc<dyn MessageStore>, categories: &[&str]) {
    for name in categories {
        Transfer::new(from, to).copy(&Category::new(*name).unwrap(), |_| ()).await.unwrap();
    }
}
