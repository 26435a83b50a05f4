//! The settings of a consumer, and its start.

use std::sync::Arc;
use std::time::Duration;

use crate::consumer::consumer_loop::{ConsumerLoop, Subscription};
use crate::consumer::dead_letters::{DeadLetters, Delivery, OnFailure, Redelivery, SetAside};
use crate::consumer::deliver::Deliver;
use crate::consumer::groups::{ElasticGroup, Share};
use crate::consumer::member::{Member, Place};
use crate::consumer::names::NameInUse;
use crate::consumer::outages::Outages;
use crate::consumer::pace::Pace;
use crate::consumer::position_store::PositionStore;
use crate::consumer::process::Process;
use crate::consumer::{ConsumerHandle, PlantedBug, StartupReport};
use crate::handling::Handler;
use crate::{Category, Filter, GlobalPosition, GroupMember, MessageStore, Result, StreamName};

/// Reads a category and delivers each message to a handler: in order for each entity, and at the same time for
/// different entities.
///
/// A message is delivered at least once. The messages that a [`CommandHandler`](crate::handling::CommandHandler) or a
/// [`Context`](crate::handling::Context) writes for it are written exactly once.
///
/// If a message cannot be handled and [`OnFailure`] has its default, the consumer finishes the messages under way,
/// saves its position and stops with an error that names the message. No message is skipped.
#[derive(Clone, Debug)]
#[must_use = "a consumer does nothing until it is started"]
pub struct Consumer<H> {
    handler: H,
    settings: Settings,
}

/// The settings of a consumer, apart from its handler.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) category: String,
    pub(super) identifier: Option<String>,
    pub(super) member: Option<GroupMember>,
    elastic_group: Option<ElasticGroup>,
    correlation: Option<Category>,
    pub(super) pace: Pace,
    on_failure: OnFailure,
    max_attempts: u32,
    outage_limit: Option<Duration>,
    process: Process,
}

impl<H: Handler> Consumer<H> {
    /// A consumer of this category with this handler. All other settings have their defaults.
    pub fn new(category: impl Into<String>, handler: H) -> Self {
        let settings = Settings {
            category: category.into(),
            identifier: None,
            member: None,
            elastic_group: None,
            correlation: None,
            pace: Pace::default(),
            on_failure: OnFailure::Stop,
            max_attempts: 3,
            outage_limit: None,
            process: Process::this(),
        };
        Self { handler, settings }
    }

    /// The identifier distinguishes consumers of one category. Each identifier has its own position. In one process,
    /// each consumer also needs a handler with its own name. Without an identifier, a category can have one consumer.
    pub fn identifier(mut self, identifier: impl Into<String>) -> Self {
        self.settings.identifier = Some(identifier.into());
        self
    }

    /// Reads only this member's share of the entities. No member reads the messages of a stream without an id
    /// (`account:command`): the start logs a warning, and the [`StartupReport`] names the stream. A group needs an
    /// identifier. Its size may change: members of the new size start from the beginning, and messages that were
    /// handled are recognised.
    pub fn group(mut self, member: GroupMember) -> Self {
        self.settings.member = Some(member);
        self
    }

    /// Makes the consumer a member of an elastic group, which other consumers of the same category and identifier join and
    /// leave at any time, in this process or in others: see [`ElasticGroup`]. It replaces [`group`](Self::group).
    ///
    /// The group begins where the consumer or group of this identifier has stopped, and takes its positions over.
    pub fn elastic_group(mut self, group: ElasticGroup) -> Self {
        self.settings.elastic_group = Some(group);
        self
    }

    /// Reads only messages that are correlated with a stream of this category.
    pub fn correlation(mut self, category: Category) -> Self {
        self.settings.correlation = Some(category);
        self
    }

    /// The maximum number of messages that are handled at the same time, each of another entity (1).
    pub fn concurrency(mut self, messages: usize) -> Self {
        self.settings.pace.concurrency = messages.max(1);
        self
    }

    /// The number of messages in one read (1,000). The consumer keeps at most about twice as many in memory.
    pub fn batch(mut self, messages: usize) -> Self {
        self.settings.pace.batch = messages.max(1);
        self
    }

    /// The longest time between two reads when no wake-up arrives (100 ms). After new messages, the consumer reads more
    /// often for a while.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.settings.pace.poll_interval = interval;
        self
    }

    /// Saves the position after this number of messages or this time (1,000 messages, 1 s). The consumer also saves it
    /// when no message is left, and when it stops.
    pub fn save_after(mut self, messages: u64, time: Duration) -> Self {
        self.settings.pace.save_after = (messages.max(1), time);
        self
    }

    /// The longest time that one call waits in an outage. Without this setting, it waits for as long as an outage lasts.
    ///
    /// While calls to the store fail for a reason that passes by itself (a lost connection, a server that starts, stops
    /// or is read-only, no free connection, a time-out), the consumer tries again after growing pauses of up to 5
    /// seconds, and [`ConsumerHandle::outage`] shows the outage. At its limit, the consumer ends with the error.
    pub fn outage_limit(mut self, limit: Duration) -> Self {
        self.settings.outage_limit = Some(limit);
        self
    }

    /// Switches a protection off.
    #[cfg(feature = "testing")]
    pub fn plant(mut self, bug: PlantedBug) -> Self {
        self.settings.pace.planted = crate::planted::Planted::one(bug);
        self
    }

    /// Runs as if in another process: messages that other consumers of this process have under way are ignored.
    #[cfg(feature = "testing")]
    pub fn in_process(mut self, process: &crate::consumer::Process) -> Self {
        self.settings.process = process.clone();
        self
    }

    /// The policy for a message that cannot be handled ([`OnFailure::Stop`]).
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.settings.on_failure = on_failure;
        self
    }

    /// The time that the handler may take for one attempt. Without this setting, there is no limit. At the limit, the
    /// handler's future is dropped. The attempt counts as one that timed out in the database: see
    /// [`Error::TimedOut`](crate::Error::TimedOut). A handler that blocks its thread is not ended.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.pace.time_limit = Some(limit);
        self
    }

    /// The number of failed attempts after which a message is set aside (3). An attempt that ended the process counts
    /// too, except the first. After a crash, the messages that may have been under way are handed out one at a time. A
    /// message is blamed for a crash only if no other message of any consumer of the process was under way. So if such
    /// a message is slow, other consumers wait for one or a few seconds.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.settings.max_attempts = max_attempts.max(1);
        self
    }

    /// Starts the consumer in the background. It reads its position, takes it over, and logs its [`StartupReport`].
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for an invalid category, for a group without an identifier, and when another handler of the
    /// same name, or the same handler under another identifier, handles the category in this process. Also the errors
    /// of the store.
    pub async fn start(self, store: &Arc<dyn MessageStore>) -> Result<ConsumerHandle> {
        let category = Category::new(&self.settings.category)?;
        let identifier = self.settings.identifier.clone();
        let name = NameInUse::take::<H>(store.store_id(), category, self.handler.name(), identifier)?;
        self.start_as(store, name).await
    }

    async fn start_as(self, store: &Arc<dyn MessageStore>, name: NameInUse) -> Result<ConsumerHandle> {
        let Self { handler, settings } = self;
        let handler = Arc::new(handler);
        let outages = Outages::new(settings.outage_limit);
        let letters = DeadLetters::of(store, &settings.category, settings.identifier.as_deref())?;
        match settings.elastic_group.clone() {
            Some(group) => Member::start(handler, settings, group, letters, store, name, outages).await,
            None => Self::start_alone(handler, settings, letters, store, name, outages).await,
        }
    }

    async fn start_alone(
        handler: Arc<H>,
        settings: Settings,
        letters: DeadLetters,
        store: &Arc<dyn MessageStore>,
        name: NameInUse,
        outages: Outages,
    ) -> Result<ConsumerHandle> {
        let positions = settings.take_over(store, &outages).await?;
        let letter_settings = settings.of_letters(letters.category());
        let share = settings.member.map_or(Share::All, Share::Member);
        let place = (positions.stream(), positions.saved());
        let read_letters = settings.set_aside(letters, share, outages.clone(), place);
        let take_over_letters = letter_settings.take_over(store, &outages);
        // The position of the letter consumer is taken over before the letters are read. So the previous consumer does
        // not change the letters that were read here, and later changes are delivered to this consumer.
        let (letter_positions, set_aside) = if settings.pace.planted.is(PlantedBug::LettersReadFirst) {
            let set_aside = read_letters.await?;
            (take_over_letters.await?, Arc::new(set_aside))
        } else {
            (take_over_letters.await?, Arc::new(read_letters.await?))
        };

        let redelivery = Redelivery::new(Arc::clone(&handler), Arc::clone(&set_aside));
        // Each member of a group reads all letters, and takes those of its own messages. It cannot select them by
        // stream, because the stream name of a letter may be shortened.
        let member = letter_settings.member.filter(|_| settings.pace.planted.is(PlantedBug::LettersByName));
        let letter_settings = Settings { member, ..letter_settings };
        let letter_place = Place::of_stream(letter_positions);
        let letter_consumer =
            letter_settings.launch(redelivery, store, letter_place, None, None, outages.clone()).await?;
        let delivery = Delivery { handler, set_aside: Arc::clone(&set_aside) };
        let place = Place::of_stream(positions);
        let running = settings.launch(delivery, store, place, Some(set_aside), Some(name), outages).await?;
        Ok(running.with_letter_consumer(letter_consumer))
    }

    /// Starts the consumer, and runs until it fails.
    ///
    /// # Errors
    /// As [`Consumer::start`] and [`ConsumerHandle::stop`].
    pub async fn run(self, store: &Arc<dyn MessageStore>) -> Result<()> {
        self.run_until(store, std::future::pending()).await
    }

    /// Starts the consumer and runs until `shutdown` completes, for example after a signal. Then it finishes the
    /// messages under way and saves its position.
    ///
    /// # Errors
    /// As [`Consumer::start`] and [`ConsumerHandle::stop`].
    pub async fn run_until(self, store: &Arc<dyn MessageStore>, shutdown: impl Future<Output = ()>) -> Result<()> {
        let mut running = self.start(store).await?;
        tokio::select! {
            () = shutdown => running.stop().await.map(|_| ()),
            result = running.ended() => result,
        }
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
        outages: Outages,
    ) -> Result<ConsumerHandle> {
        let category = Category::new(&self.category)?;
        let unread_stream = self.unread_stream(store).await?;
        if let Some(stream) = &unread_stream {
            tracing::warn!(%stream, "no member of the group reads the messages of this stream, because its name has no id");
        }
        let Place { positions, partitions, role, seen } = place;
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
        tracing::info!("{startup_report}");
        let filter = Filter { correlation: self.correlation.clone(), member: self.member, ..Filter::default() };
        let wake_up = store.wake_up(Some(&category)).await?;
        Ok(ConsumerHandle::spawn(startup_report, name, outages, seen, |reports| {
            let subscription = Subscription { store: Arc::clone(store), category, filter, wake_up, positions: stream };
            let start = (positions, partitions);
            ConsumerLoop::new(delivery, self.pace, subscription, start, role, set_aside, reports).run()
        }))
    }

    pub(super) fn position_stream(&self) -> Result<StreamName> {
        PositionStore::stream_of(&Category::new(&self.category)?, self.identifier.as_deref(), self.member)
    }

    async fn take_over(&self, store: &Arc<dyn MessageStore>, outages: &Outages) -> Result<PositionStore> {
        let positions = PositionStore::take_over(store, self.position_stream()?, &self.pace, outages).await?;
        positions.assert_store_is_not_behind(positions.saved()).await?;
        Ok(positions)
    }
}
