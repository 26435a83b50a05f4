//! The consumer: its settings, as a caller gives them, and its start.

use std::sync::Arc;
use std::time::Duration;

use super::dead_letters::{DeadLetters, Delivery, OnFailure, Redelivery};
use super::groups::{ElasticGroup, Share};
use super::member::start_member;
use super::names::NameInUse;
use super::outages::Outages;
use super::pace::Pace;
use super::process::Process;
use super::settings::{Place, Settings};
use super::{ConsumerHandle, PlantedBug};
use crate::handling::Handler;
use crate::{Category, GroupMember, MessageStore, Result};

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
    /// (`account:command`): the start logs a warning, and the [`StartupReport`](crate::consumer::StartupReport) names
    /// the stream. A group needs an identifier. Its size may change: members of the new size start from the beginning,
    /// and messages that were handled are recognised.
    pub fn group(mut self, member: GroupMember) -> Self {
        self.settings.member = Some(member);
        self
    }

    /// Makes the consumer a member of an elastic group, which other consumers of the same category and identifier join
    /// and leave at any time, in this process or in others: see [`ElasticGroup`]. It replaces [`group`](Self::group).
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

    /// The number of messages in one read (1,000). The consumer keeps at most about twice as many in memory. If all of them
    /// wait behind a few messages that take long, it reads on, up to a hundred batches, and keeps only the places of most.
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

    /// The longest time that one call waits in an outage. Without this setting, it waits for as long as an outage
    /// lasts.
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

    /// Records the open letters after this number of steps, however many there are.
    #[cfg(feature = "testing")]
    pub fn checkpoint_letters_every(mut self, steps: u64) -> Self {
        self.settings.pace.checkpoints = crate::store::WhenToCheckpoint { every: steps, saved_per_stream: 0 };
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
    /// too, except the first two. After a crash, the consumer records the messages that are under way. Those that were
    /// under way in a second crash are handed out one at a time. A message is blamed for a crash only if no other message of
    /// any consumer of the process was under way. So if such a message is slow, other consumers wait for one or a few
    /// seconds.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.settings.max_attempts = max_attempts.max(1);
        self
    }

    /// Starts the consumer in the background. It reads its position, takes it over, and logs its
    /// [`StartupReport`](crate::consumer::StartupReport).
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for an invalid category, for a group without an identifier, and when another handler of the
    /// same name, or the same handler under another identifier, handles the category in this process. The error of
    /// [`Handler::check`], such as [`Error::Upcasters`](crate::Error::Upcasters). Also the errors of the store.
    pub async fn start(self, store: &Arc<dyn MessageStore>) -> Result<ConsumerHandle> {
        self.handler.check()?;
        let category = Category::new(&self.settings.category)?;
        let identifier = self.settings.identifier.clone();
        let name = NameInUse::take::<H>(store.store_id(), category, self.handler.name(), identifier)?;
        self.start_as(store, name).await
    }

    async fn start_as(self, store: &Arc<dyn MessageStore>, name: NameInUse) -> Result<ConsumerHandle> {
        let Self { handler, settings } = self;
        let handler = Arc::new(handler);
        let outages = Outages::new(settings.position_stream()?.as_str(), settings.outage_limit).of_store(store);
        let letters = DeadLetters::of(store, &settings.category, settings.identifier.as_deref())?;
        match settings.elastic_group.clone() {
            Some(group) => start_member(handler, settings, group, letters, store, name, outages).await,
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
        settings.assert_no_elastic_group_runs(store).await?;
        let paused = settings.paused(store).await?;
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
        let letter_consumer = letter_settings
            .launch(redelivery, store, letter_place, None, None, (outages.clone(), paused.clone()))
            .await?;
        let delivery = Delivery { handler, set_aside: Arc::clone(&set_aside) };
        let place = Place::of_stream(positions);
        let running = settings.launch(delivery, store, place, Some(set_aside), Some(name), (outages, paused)).await?;
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
