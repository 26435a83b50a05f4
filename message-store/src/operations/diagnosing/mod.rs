//! Diagnoses: what is wrong with a store and with the services that run on it, and what mends it.
//!
//! Problem: an operator sees that something stands still, and the reason is in one of a dozen places. Fix: look in all of
//! them, and say what each trouble is, and the command that mends it. Why there are few false alarms: a state that is right for
//! a moment, such as a slot between two owners, is a trouble only when it lasts longer than the operator's patience.

mod consumers;
mod letters;
mod services;
mod store;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use crate::{MessageStore, Result};

pub use trouble::{Trouble, TroubleKind};

/// The default of [`Diagnosing::patience`].
const PATIENCE: Duration = Duration::from_mins(1);

/// Looks for troubles.
///
/// ```
/// use message_store::connect;
/// use message_store::operations::Diagnosing;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// for trouble in Diagnosing::of(&store).troubles().await? {
///     println!("{trouble}");
/// }
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Diagnosing {
    store: Arc<dyn MessageStore>,
    patience: Duration,
}

impl Diagnosing {
    /// A diagnosis of this store, and of what runs on it.
    pub fn of(store: &Arc<dyn MessageStore>) -> Self {
        Self { store: Arc::clone(store), patience: PATIENCE }
    }

    /// How long something may stand still before it is a trouble (one minute).
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// The troubles. Those of a database server are not among them: `message-store diagnose` shows both.
    ///
    /// # Errors
    /// The errors of a read.
    pub async fn troubles(&self) -> Result<Vec<Trouble>> {
        let mut troubles = store::look(&*self.store, self.patience).await?;
        services::look(&*self.store, self.patience, &mut troubles).await?;
        consumers::look(&self.store, self.patience, &mut troubles).await?;
        Ok(troubles)
    }
}
