//! The conformance suite.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use message_store::testing::conformance::{Cannot, Subject};
use message_store::{Append, MessageStore};
use message_store_jetstream::JetstreamStore;

use message_store_tests::nats::{Cluster, Server};

struct Jetstream {
    url: String,
    store: Arc<dyn MessageStore>,
}

impl Jetstream {
    async fn new(url: String) -> Self {
        let store = Arc::new(JetstreamStore::open(&url).await.unwrap());
        Self { url, store }
    }
}

#[async_trait]
impl Subject for Jetstream {
    fn store(&self) -> Arc<dyn MessageStore> {
        Arc::clone(&self.store)
    }

    async fn reopen(&self) -> Result<Arc<dyn MessageStore>, Cannot> {
        Ok(Arc::new(JetstreamStore::open(&self.url).await.unwrap()))
    }

    async fn append_slowly(&self, _append: Append, _meanwhile: BoxFuture<'_, ()>, _commit: bool) -> Result<(), Cannot> {
        Err(Cannot("a batch is written in one step, and no writer holds a place"))
    }
}

mod one_server {
    use super::*;
    message_store::conformance_tests!(Jetstream::new(Server::shared().store()).await);
}

mod three_servers {
    use super::*;
    message_store::conformance_tests!(Jetstream::new(Cluster::shared().store()).await);
}
