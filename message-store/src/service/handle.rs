//! The handle of a running service.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Health;
use super::report::ServiceReport;
use super::reporting::Reporting;
use super::running::Running;
use super::timers::FiredTimers;
use crate::consumer::{ConsumerStatus, UpdaterStatus};
use crate::handling::Shutdown;
use crate::store::VersionState;
use crate::{Error, MessageStore, Result};

/// A service that runs in the background. All clones are the same service. It goes on when they are dropped.
#[derive(Clone, Debug)]
pub struct ServiceHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    consumers: Vec<ConsumerStatus>,
    timers: FiredTimers,
    read_models: Vec<UpdaterStatus>,
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
enum State {
    Running,
    Stopping,
    Ended(Option<Arc<Error>>),
}

impl ServiceHandle {
    /// Runs the consumers and updaters until one ends, or a stop is requested. Fires the timers of a store, and looks for
    /// them in this interval.
    pub(super) fn supervise(
        running: Vec<Running>,
        timers: Option<(Arc<dyn MessageStore>, Duration)>,
        reporting: Option<Reporting>,
        drain_within: Duration,
    ) -> Self {
        let (mut consumers, mut read_models, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        for part in &running {
            match part {
                Running::Consumer(consumer) => {
                    reports.push(consumer.startup_report().to_string());
                    consumers.push(consumer.status());
                }
                Running::Updater(updater) => {
                    reports.push(updater.status().to_string());
                    read_models.push(updater.status());
                }
            }
        }
        tracing::info!(target: "message_store::service", consumers = consumers.len(), read_models = read_models.len(), "the service has started:\n{}", reports.join("\n"));
        let (fired, state) = (FiredTimers::default(), watch::Sender::new(State::Running));
        let handle = Self(Arc::new(Shared { consumers, read_models, timers: fired.clone(), state }));
        let stop = Shutdown::new();
        if let Some((store, interval)) = timers {
            tokio::spawn(fired.run(store, interval, stop.clone()));
        }
        tokio::spawn(run(running, drain_within, handle.clone(), (stop, reporting)));
        handle
    }

    /// The consumers, in the order in which they were started.
    pub fn consumers(&self) -> &[ConsumerStatus] {
        &self.0.consumers
    }

    /// The updaters of read models, in the order in which they were started.
    pub fn read_models(&self) -> &[UpdaterStatus] {
        &self.0.read_models
    }

    /// Asks the service to stop. [`ServiceHandle::ended`] waits for the end.
    pub fn stop(&self) {
        self.0.state.send_if_modified(|state| {
            let is_running = matches!(state, State::Running);
            if is_running {
                *state = State::Stopping;
            }
            is_running
        });
    }

    /// The health now.
    pub fn health(&self) -> Health {
        let mut reasons = Vec::new();
        let state = self.0.state.borrow().clone();
        match &state {
            State::Running => {}
            State::Stopping => reasons.push("the service is stopping".to_owned()),
            State::Ended(None) => reasons.push("the service has ended".to_owned()),
            State::Ended(Some(error)) => reasons.push(format!("the service has ended: {error}")),
        }
        for consumer in &self.0.consumers {
            if let Some(outage) = consumer.outage() {
                reasons.push(format!("{} has an outage {outage}", consumer.startup_report().position_stream));
            }
            if let Some((time, error)) = consumer.lease_not_kept() {
                let group = &consumer.startup_report().position_stream;
                reasons.push(format!("the lease in {group} could not be renewed for {} s: {error}", time.as_secs()));
            }
            if let Some(time) = consumer.slots_stand_still_for() {
                let group = &consumer.startup_report().position_stream;
                reasons.push(format!("a slot of {group} has had no owner for {} s", time.as_secs()));
            }
        }
        reasons.extend(self.0.timers.problems());
        let mut under_way = Vec::new();
        for updater in &self.0.read_models {
            let (name, version, progress) = (updater.name(), updater.version(), updater.progress());
            if let Some(outage) = updater.outage() {
                reasons.push(format!("the updater of the read model {name} has an outage {outage}"));
            }
            if progress.state == VersionState::Building {
                let (position, end) = (progress.position, progress.end);
                under_way.push(format!("version {version} of the read model {name} is built: {position} of {end}"));
            }
        }
        Health { is_live: !matches!(state, State::Ended(_)), is_ready: reasons.is_empty(), reasons, under_way }
    }

    /// What the service does now, for its report.
    fn look(&self) -> ServiceReport {
        let health = self.health();
        ServiceReport {
            is_ready: health.is_ready,
            reasons: health.reasons,
            under_way: health.under_way,
            consumers: self.consumers().iter().map(Into::into).collect(),
            read_models: self.read_models().iter().map(Into::into).collect(),
            ..ServiceReport::default()
        }
    }

    /// Waits until all consumers and updaters have ended.
    ///
    /// # Errors
    /// A copy of the error of the first of them that ended with one.
    pub async fn ended(&self) -> Result<()> {
        let mut states = self.0.state.subscribe();
        match states.wait_for(|state| matches!(state, State::Ended(_))).await.as_deref() {
            Ok(State::Ended(Some(error))) => Err(error.shared()),
            _ => Ok(()),
        }
    }
}

async fn run(
    mut consumers: Vec<Running>,
    drain_within: Duration,
    handle: ServiceHandle,
    (timers, reporting): (Shutdown, Option<Reporting>),
) {
    let shared = Arc::clone(&handle.0);
    let mut reports = JoinSet::new();
    if let Some(reporting) = &reporting {
        let looked_at = handle.clone();
        reports.spawn(reporting.clone().run(move || looked_at.look()));
    }
    let mut states = shared.state.subscribe();
    let stop = async { states.wait_for(|state| matches!(state, State::Stopping)).await.map(drop) };
    let mut first_error = tokio::select! {
        _ = stop => None,
        ended = first_end(&mut consumers) => ended.err(),
    };
    shared.state.send_replace(State::Stopping);
    timers.request();
    let stopped = join_all(consumers.into_iter().map(|consumer| consumer.stop_within(drain_within))).await;
    for error in stopped.into_iter().filter_map(Result::err) {
        if first_error.is_some() {
            tracing::warn!(target: "message_store::service", %error, "a consumer or updater has stopped with an error");
        }
        first_error.get_or_insert(error);
    }
    reports.shutdown().await;
    let error = first_error.map(Arc::new);
    if let Some(reporting) = reporting {
        reporting.end(handle.look(), error.as_deref()).await;
    }
    shared.state.send_replace(State::Ended(error));
}

/// Waits until one of them ends. A service that runs nothing waits for its stop.
async fn first_end(consumers: &mut [Running]) -> Result<()> {
    if consumers.is_empty() {
        return std::future::pending().await;
    }
    select_all(consumers.iter_mut().map(|consumer| Box::pin(consumer.ended()))).await.0
}
