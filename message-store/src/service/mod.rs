//! Services: several consumers and read models, and the timers of their store, in one process, with one start, one health
//! and one stop.
//!
//! Problem: a process with several consumers must start all of them or none, notice when one ends, tell whether it works,
//! and stop within the time that its platform gives. Fix: a service owns the consumers. If one ends, it stops the others.
//! A request to stop reaches all at the same moment, and a handler that does not return is left behind at the deadline.
//! Why nothing is lost: a consumer saves the position below every message that is not handled.

mod firing;
mod handle;
mod health;
mod report;
mod reporting;
mod running;
mod signals;
mod timers;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Notify;

use crate::consumer::{Consumer, Updater};
use crate::handling::Handler;
use crate::{Error, MessageStore, Result};

pub use handle::ServiceHandle;
pub use health::Health;
pub use report::{
    ReportedConnections, ReportedConsumer, ReportedHistoryChange, ReportedReadModel, ReportedRepeat,
    ReportedStandbyReads, ServiceReport,
};
use reporting::Reporting;
use running::Running;
pub use signals::stop_signal;

/// How often a service looks for timers that another process has set.
const TIMERS_EVERY: Duration = Duration::from_millis(500);

/// How often a service reports what it does.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// How long a service drains by default. Kubernetes kills a process 30 s after its signal.
const DRAIN_WITHIN: Duration = Duration::from_secs(25);

type Start = Box<dyn FnOnce(Arc<dyn MessageStore>) -> BoxFuture<'static, Result<Running>> + Send>;

/// Several consumers and read models in one process. It also fires the [timers](MessageStore::timers) of the store, if it
/// has any. Several processes may do so: each timer fires once.
///
/// ```
/// use message_store::consumer::Consumer;
/// use message_store::service::Service;
/// # use async_trait::async_trait;
/// # use message_store::handling::{Context, Handler};
/// # use message_store::{Message, Outcome, Source, connect};
/// # struct Greet;
/// # #[async_trait]
/// # impl Handler for Greet {
/// #     fn name(&self) -> &'static str { "Greet" }
/// #     fn message_types(&self) -> Vec<&'static str> { vec![] }
/// #     async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> { Ok(Outcome::Ignored) }
/// # }
/// # struct Audit;
/// # #[async_trait]
/// # impl Handler for Audit {
/// #     fn name(&self) -> &'static str { "Audit" }
/// #     fn message_types(&self) -> Vec<&'static str> { vec![] }
/// #     async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> { Ok(Outcome::Ignored) }
/// # }
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let service = Service::new(&store)
///     .consumer(Consumer::new("account", Greet))
///     .consumer(Consumer::new("account", Audit).identifier("audit"));
/// // `service.run().await` runs until SIGTERM or Ctrl-C. With a handle:
/// let handle = service.start().await?;
/// assert!(handle.health().is_ready);
/// handle.stop();
/// handle.ended().await?;
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a service does nothing until it is started"]
pub struct Service {
    store: Arc<dyn MessageStore>,
    starts: Vec<Start>,
    timers_every: Option<Duration>,
    drain_within: Duration,
    name: Option<String>,
    report_every: Option<Duration>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("parts", &self.starts.len()).finish_non_exhaustive()
    }
}

impl Service {
    /// A service of this store, without consumers.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self {
            store: Arc::clone(store),
            starts: Vec::new(),
            timers_every: Some(TIMERS_EVERY),
            drain_within: DRAIN_WITHIN,
            name: None,
            report_every: Some(REPORT_EVERY),
        }
    }

    /// Adds a consumer. Consumers start in the order in which they are added.
    pub fn consumer<H: Handler>(mut self, consumer: Consumer<H>) -> Self {
        self.starts
            .push(Box::new(|store| Box::pin(async move { consumer.start(&store).await.map(Running::Consumer) })));
        self
    }

    /// Adds a read model, with its updater.
    pub fn read_model(mut self, updater: Updater) -> Self {
        self.starts.push(Box::new(|store| Box::pin(async move { updater.start(&store).await.map(Running::Updater) })));
        self
    }

    /// Sets how often the service looks for timers that are due (500 ms). A timer fires at most this much later than it is
    /// due. `None`: it fires no timers, and another service must.
    pub fn timers_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.timers_every = interval.into();
        self
    }

    /// The time for the messages under way after a request to stop (25 s). A handler that has not returned then is
    /// dropped, and its message is delivered again after the next start.
    pub fn drain_within(mut self, time: Duration) -> Self {
        self.drain_within = time;
        self
    }

    /// The service's name in its [reports](ServiceReport). Default: the name of the program.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how often the service saves a [report](ServiceReport) of what it does in the store (10 s), so that other processes
    /// see it. `None`: never.
    pub fn report_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.report_every = interval.into();
        self
    }

    /// Starts all consumers, and logs one report of all of them. If one does not start, those that have started are
    /// stopped.
    ///
    /// # Errors
    /// The error of the consumer that did not start.
    pub async fn start(self) -> Result<ServiceHandle> {
        match self.start_until(pending()).await? {
            Some(started) => Ok(started),
            None => Err(Error::backend("starting a service", false, "its start was ended")),
        }
    }

    /// As [`start`](Self::start), but ends the start and returns `None` when `stop` completes.
    async fn start_until(self, stop: impl Future<Output = ()>) -> Result<Option<ServiceHandle>> {
        let (mut consumers, mut stop) = (Vec::new(), std::pin::pin!(stop));
        for start in self.starts {
            let started = tokio::select! {
                started = start(Arc::clone(&self.store)) => started.map(Some),
                () = &mut stop => Ok(None),
            };
            let not_started = match started {
                Ok(Some(consumer)) => {
                    consumers.push(consumer);
                    continue;
                }
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            let stopping = consumers.into_iter().map(|consumer| Running::stop_within(consumer, self.drain_within));
            for error in join_all(stopping).await.into_iter().filter_map(Result::err) {
                tracing::warn!(target: "message_store::service", %error, "a consumer could not be stopped after another had not started");
            }
            return not_started;
        }
        let reporting = self.report_every.filter(|_| self.store.service_reports().is_some());
        let reporting = reporting.map(|every| {
            let name = self.name.unwrap_or_else(reporting::program);
            Reporting::new(&self.store, name, every)
        });
        let timers = self.timers_every.filter(|_| self.store.timers().is_some()).map(|every| (self.store, every));
        Ok(Some(ServiceHandle::supervise(consumers, timers, reporting, self.drain_within)))
    }

    /// Starts all consumers, and runs until one ends, or until SIGTERM or Ctrl-C, also during the start. Then it stops all
    /// of them. A second signal ends it at once.
    ///
    /// # Errors
    /// As [`Service::start`], and the error of the first consumer that ended.
    pub async fn run(self) -> Result<()> {
        // It listens before the start, which may take long.
        let stopping = Notify::new();
        let mut first = Box::pin(async {
            // Not in the record itself, which is not made if nobody wants it.
            let signal = stop_signal().await;
            tracing::info!(target: "message_store::service", signal, "stopping");
            stopping.notify_one();
        });
        let second = async {
            stopping.notified().await;
            let signal = stop_signal().await;
            tracing::warn!(target: "message_store::service", signal, "ending at once: messages under way are delivered again after the next start");
        };
        let run = async {
            let Some(handle) = self.start_until(&mut first).await? else { return Ok(()) };
            tokio::select! {
                ended = handle.ended() => return ended,
                () = first => {}
            }
            handle.stop();
            handle.ended().await
        };
        tokio::select! {
            ended = run => ended,
            () = second => Ok(()),
        }
    }
}
