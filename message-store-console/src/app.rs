//! The console, and its routes.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use message_store::entity::Projection;
use message_store::{MessageStore, Uuid};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::entities::Entities;
use crate::{actions, guard, html, pages};

/// A console of one store.
#[derive(Clone)]
pub struct Console {
    pub(crate) store: Arc<dyn MessageStore>,
    pub(crate) entities: Entities,
    pub(crate) allows_actions: bool,
    pub(crate) hides_data: bool,
    /// Who has it may see the pages. If there is none, the console answers only requests to this machine's own names.
    pub(crate) access: Option<String>,
    /// Is in each form, so that no other site can send one.
    pub(crate) form: String,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("store", &self.store.describe()).finish_non_exhaustive()
    }
}

impl Console {
    /// A console that reads this store.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self {
            store: Arc::clone(store),
            entities: Entities::default(),
            allows_actions: false,
            hides_data: false,
            access: None,
            form: Uuid::new_v4().to_string(),
        }
    }

    /// Shows the entities of the projection's category by its states. Those of other categories are shown by the last value of
    /// each field of their events.
    #[must_use]
    pub fn projection<P: Projection + Serialize>(mut self) -> Self {
        self.entities.add::<P>();
        self
    }

    /// Shows what changes something: retry, discard, pause, resume and reset, each with a question. Default: false.
    #[must_use]
    pub fn allow_actions(mut self, allows: bool) -> Self {
        self.allows_actions = allows;
        self
    }

    /// Shows neither data nor properties of messages, nor states. Default: false.
    #[must_use]
    pub fn hide_data(mut self, hides: bool) -> Self {
        self.hides_data = hides;
        self
    }

    /// Shows the pages to those only who have this token: `/?token=…` once in a browser, or `authorization: Bearer …`. Without a
    /// token, the console answers requests to this machine's own names only (`localhost`, `127.0.0.1`).
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.access = Some(token.into());
        self
    }

    /// The pages, to be served by another server.
    pub fn router(self) -> Router {
        let reads = Router::new()
            .route("/", get(pages::overview))
            .route("/categories", get(pages::categories))
            .route("/categories/{category}", get(pages::category))
            .route("/streams/{stream}", get(pages::stream))
            .route("/entities/{stream}", get(pages::entity))
            .route("/messages/{message}", get(pages::message))
            .route("/search", get(pages::search))
            .route("/consumers", get(pages::consumers))
            .route("/dead-letters", get(pages::dead_letters))
            .route("/repeats", get(pages::repeats))
            .route("/tail", get(pages::tail))
            .route("/style.css", get(html::style));
        let routes = reads.route("/actions/{action}", post(actions::act));
        routes.fallback(pages::none).layer(from_fn_with_state(self.clone(), guard::guard)).with_state(self)
    }

    /// Serves the pages until `stop` completes.
    ///
    /// # Errors
    /// The errors of the listener.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(stop).await
    }
}
