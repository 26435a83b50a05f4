//! The updater: its settings, and its start.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::update_loop::UpdateLoop;
use super::updater_metrics::UpdaterMetrics;
use super::{UpdaterHandle, UpdaterProgress};
use crate::consumer::outages::Outages;
#[cfg(feature = "testing")]
use crate::store::ReadModelBug;
use crate::store::{OnApplyFailure, ReadModel, Update};
use crate::{Category, Error, GlobalPosition, MessageStore, Result};

/// Keeps a read model up to date, in the background: in a [`Service`](crate::service::Service), or started alone.
///
/// Several processes may run the same updater. One of them applies each message, and another goes on when it is gone. An
/// updater of a new version builds it beside the version that serves, and switches. Afterwards the updaters of the old version
/// do nothing.
///
/// If a message cannot be applied and [`OnApplyFailure`] has its default, the updater stops with an error that names it.
#[derive(Clone)]
#[must_use = "an updater does nothing until it is started"]
pub struct Updater {
    categories: Vec<String>,
    model: Arc<dyn ReadModel>,
    poll_interval: Duration,
    batch: usize,
    on_failure: OnApplyFailure,
    #[cfg(feature = "testing")]
    planted: Option<ReadModelBug>,
}

impl fmt::Debug for Updater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updater").field("model", &self.model.name()).finish_non_exhaustive()
    }
}

impl Updater {
    /// An updater of this read model with the messages of a category. All other settings have their defaults.
    pub fn new(category: impl Into<String>, model: impl ReadModel) -> Self {
        Self {
            categories: vec![category.into()],
            model: Arc::new(model),
            poll_interval: Duration::from_millis(100),
            batch: crate::DEFAULT_BATCH,
            on_failure: OnApplyFailure::Stop,
            #[cfg(feature = "testing")]
            planted: None,
        }
    }

    /// Adds the messages of another category. All are applied in the order of their global positions. For that, the updater
    /// reads the messages of all categories, so it does not run on a standby. A version keeps its categories: with others,
    /// the model needs a new version.
    pub fn and_category(mut self, category: impl Into<String>) -> Self {
        self.categories.push(category.into());
        self
    }

    /// What happens when a message cannot be applied ([`OnApplyFailure::Stop`]). A fault that passes by itself is waited out
    /// in any case.
    pub fn on_failure(mut self, on_failure: OnApplyFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// The longest time between two reads at the end, when no wake-up arrives (100 ms).
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// The greatest number of messages of one transaction (1,000). A version that is built has ten times as many.
    pub fn batch(mut self, messages: usize) -> Self {
        self.batch = messages;
        self
    }

    /// Switches a protection off, for a test of a test.
    #[cfg(feature = "testing")]
    pub fn plant(mut self, bug: ReadModelBug) -> Self {
        self.planted = Some(bug);
        self
    }

    /// Begins the version, which creates its tables, and starts the updater.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a store without read models, and the errors of
    /// [`ReadModels::begin`](crate::store::ReadModels::begin).
    pub async fn start(self, store: &Arc<dyn MessageStore>) -> Result<UpdaterHandle> {
        let categories = self.categories.iter().map(Category::new).collect::<Result<Vec<_>>>()?;
        let (Some(read_models), Some((first, others))) = (store.read_models(), categories.split_first()) else {
            return Err(Error::Unsupported { store: store.describe(), what: "read models".to_owned() });
        };
        let update = others.iter().fold(Update::of(first), Update::and).limit(self.batch).on_failure(self.on_failure);
        #[cfg(feature = "testing")]
        let update = match self.planted {
            Some(bug) => update.plant(bug),
            None => update,
        };
        // Before the first read, so that every later message causes a wake-up.
        let wake_ups = try_join_all(categories.iter().map(|category| store.wake_up(Some(category)))).await?;
        let state = read_models.begin(&self.model).await?;
        let (name, version) = (self.model.name().to_owned(), self.model.version());
        let outages = Outages::new(format!("the updater of {name}, version {version}"), None);
        let begins = UpdaterProgress { state, position: GlobalPosition::ZERO, end: GlobalPosition::ZERO };
        let metrics = UpdaterMetrics::of(&categories, &name, version);
        let Self { model, poll_interval, .. } = self;
        let store = Arc::clone(store);
        Ok(UpdaterHandle::spawn((name, version, categories), begins, outages.clone(), move |progress| {
            UpdateLoop { store, model, update, wake_ups, poll_interval, outages, progress, metrics }.run()
        }))
    }
}
