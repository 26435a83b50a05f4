//! The settings of a consumer, apart from its handler, and the start of its loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::consumer_handle::Shown;
use super::consumer_loop::{ConsumerLoop, Role, Subscription};
use super::dead_letters::{DeadLetters, OnFailure, SetAside};
use super::deliver::Deliver;
use super::groups::{ElasticGroup, Share};
use super::names::NameInUse;
use super::outages::Outages;
use super::pace::Pace;
use super::partitions::Partitions;
use super::pauses::{Paused, Pauses};
use super::position_store::PositionStore;
use super::process::Process;
use super::sampling::sample;
use super::saved_progress::SavedProgress;
use super::{ConsumerHandle, PlantedBug, StartupReport};
use crate::telemetry::is_on;
use crate::{Category, Error, Filter, GlobalPosition, GroupMember, MessageStore, Result, StreamName};

/// The settings of a consumer, apart from its handler.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) category: String,
    pub(super) identifier: Option<String>,
    pub(super) member: Option<GroupMember>,
    pub(super) elastic_group: Option<ElasticGroup>,
    pub(super) correlation: Option<Category>,
    pub(super) pace: Pace,
    pub(super) on_failure: OnFailure,
    pub(super) max_attempts: u32,
    pub(super) outage_limit: Option<Duration>,
    pub(super) process: Process,
}

/// The place where a consumer begins.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) positions: SavedProgress,
    pub(super) partitions: Partitions,
    pub(super) role: Role,
}

impl Place {
    pub(super) fn of_stream(positions: PositionStore) -> Self {
        let partitions = Partitions::new(positions.saved());
        Self { positions: SavedProgress::Stream(Box::new(positions)), partitions, role: Role::Alone }
    }
}

impl Settings {
    /// The settings of the consumer that delivers the letters.
    pub(super) fn of_letters(&self, category: &str) -> Self {
        // Under `Stop`, there are few letters. A wake-up comes at once in any case.
        let poll_interval = match self.on_failure {
            _ if self.pace.planted.is(PlantedBug::OnlyWakeUps) => Duration::from_hours(1),
            OnFailure::Stop => Duration::from_secs(1),
            OnFailure::Park | OnFailure::Hold => Pace::default().poll_interval,
        };
        let Pace { concurrency, time_limit, planted, .. } = self.pace;
        let pace = Pace { concurrency, poll_interval, time_limit, planted, ..Pace::default() };
        Self { category: category.to_owned(), correlation: None, elastic_group: None, pace, ..self.clone() }
    }

    /// The category's stream, if it has messages and this consumer is a member of a group. Members divide messages by
    /// cardinal id, and messages of that stream have none.
    async fn unread_stream(&self, store: &Arc<dyn MessageStore>) -> Result<Option<StreamName>> {
        let stream = StreamName::new(&self.category)?;
        let has_messages = self.member.is_some() && store.version(&stream).await?.position().is_some();
        Ok(has_messages.then_some(stream))
    }

    /// The letters of the consumer, and its policy. `positions` is its position stream, and its position.
    pub(super) async fn set_aside(
        &self,
        letters: DeadLetters,
        share: Share,
        outages: Outages,
        positions: (&StreamName, GlobalPosition),
    ) -> Result<SetAside> {
        let is_alone = self.pace.planted.is(PlantedBug::OtherConsumersUncounted);
        let process = if is_alone { Process::default() } else { self.process.clone() };
        SetAside::new(letters, (self.on_failure, self.max_attempts), share, self.pace, outages, process, positions)
            .await
    }

    pub(super) async fn launch<D: Deliver>(
        self,
        delivery: D,
        store: &Arc<dyn MessageStore>,
        place: Place,
        set_aside: Option<Arc<SetAside>>,
        name: Option<NameInUse>,
        (outages, paused): (Outages, Paused),
    ) -> Result<ConsumerHandle> {
        let category = Category::new(&self.category)?;
        let unread_stream = self.unread_stream(store).await?;
        if let Some(stream) = &unread_stream {
            tracing::warn!(target: "message_store::consumer", %stream, "no member of the group reads the messages of this stream, because its name has no id");
        }
        let Place { positions, partitions, role } = place;
        let stream = self.position_stream()?;
        let startup_report = StartupReport {
            category: category.clone(),
            store: store.describe(),
            handler: delivery.name(),
            message_types: delivery.message_types(),
            handled_through: partitions.handled_through(),
            position_stream: stream.clone(),
            correlation: self.correlation.clone(),
            member: self.member,
            elastic_member: role.member_name(),
            unread_stream,
            concurrency: self.pace.concurrency,
        };
        tracing::info!(target: "message_store::consumer", "{startup_report}");
        let filter = Filter { correlation: self.correlation.clone(), member: self.member, ..Filter::default() };
        let wake_up = store.wake_up(Some(&category)).await?;
        let counts = set_aside.as_ref().map(|set_aside| Arc::clone(&set_aside.counts)).unwrap_or_default();
        let shown = Shown { counts, owned: role.owned().cloned(), paused: paused.state.clone() };
        let (sampled, samples_of) = (set_aside.clone(), Arc::clone(store));
        Ok(ConsumerHandle::spawn(startup_report, name, outages, shown, |reports, status| {
            let subscription = Subscription { store: Arc::clone(store), category, filter, wake_up, positions: stream };
            let start = (positions, partitions);
            let role = (role, paused);
            let consumer = ConsumerLoop::new(delivery, self.pace, subscription, start, role, set_aside, reports);
            async move {
                let mut samples = JoinSet::new();
                if let Some(set_aside) = sampled.filter(|_| is_on()) {
                    let metrics = set_aside.metrics.clone();
                    samples.spawn(sample(samples_of, status, set_aside, metrics));
                }
                consumer.run().await
            }
        }))
    }

    pub(super) fn position_stream(&self) -> Result<StreamName> {
        PositionStore::stream_of(&Category::new(&self.category)?, self.identifier.as_deref(), self.member)
    }

    /// Fails if members of an elastic group with the same identifier run: they handle the same messages.
    pub(super) async fn assert_no_elastic_group_runs(&self, store: &Arc<dyn MessageStore>) -> Result<()> {
        let Some(leases) = store.leases() else { return Ok(()) };
        let group = PositionStore::stream_name(&Category::new(&self.category)?, self.identifier.as_deref())?;
        let Some(member) = leases.group(group.as_str()).await?.members.into_iter().next() else { return Ok(()) };
        let reason = format!(
            "{group} is an elastic group, and its member {:?} runs. Start this consumer as a member of it too \
             (`elastic_group`), or stop the members",
            member.name
        );
        Err(Error::invalid("consumer", reason))
    }

    /// Whether an operator has paused the consumer.
    pub(super) async fn paused(&self, store: &Arc<dyn MessageStore>) -> Result<Paused> {
        Paused::read(Pauses::of(store, &self.category, self.identifier.as_deref())?, self.pace.planted).await
    }

    pub(super) async fn take_over(&self, store: &Arc<dyn MessageStore>, outages: &Outages) -> Result<PositionStore> {
        let positions = PositionStore::take_over(store, self.position_stream()?, &self.pace, outages).await?;
        positions.assert_store_is_not_behind(positions.saved()).await?;
        Ok(positions)
    }
}
