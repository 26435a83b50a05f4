//! What the handlers of requests share.

use std::sync::Arc;
use std::time::Duration;

use message_store::handling::{CommandHandler, ProcessHandler};
use message_store::intents::Once;
use message_store::service::ServiceHandle;
use message_store::store::Window;
use message_store::{MessageStore, Result};

use super::metrics::Metrics;
use crate::Account;
use crate::transfer::{self, Transfer};

/// How long a key is remembered, from the first request on.
pub(super) const KEPT: Duration = Duration::from_hours(24);

/// The service's state. All clones are the same.
#[derive(Clone, Debug)]
pub struct App {
    pub(super) store: Arc<dyn MessageStore>,
    pub(super) accounts: CommandHandler<Account>,
    pub(super) transfers: ProcessHandler<Transfer>,
    pub(super) keys: Arc<Once>,
    /// The component, if it runs in this process.
    pub(super) component: Option<ServiceHandle>,
    pub(super) metrics: Option<Metrics>,
}

impl App {
    /// A service on this store. `component` is the component that runs in this process, if it does.
    ///
    /// # Errors
    /// The store's errors.
    pub fn new(store: &Arc<dyn MessageStore>, component: Option<ServiceHandle>) -> Result<Self> {
        let keys = Once::new(store, "account-http")?.window(Window::of(KEPT)?).answer_in_progress();
        let (accounts, transfers) = (CommandHandler::new(store), transfer::handler(store));
        let (store, keys) = (Arc::clone(store), Arc::new(keys));
        Ok(Self { store, accounts, transfers, keys, component, metrics: None })
    }

    /// Shows these metrics under `/metrics`.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }
}
