//! `message-store dead-letters`: lists, shows, retries and discards messages that could not be handled.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _};
use message_store::consumer::{
    DeadLetter, DeadLetters, ErrorClass, LetterFailure, LetterQuery, LetterState, Retried, WaitsFor,
};
use message_store::{Json, MessageId, MessageStore, NewMessage, Uuid};
use serde_json::json;

use crate::confirm::is_confirmed;
use crate::exit::Exit;
use crate::open::StoreUrl;
use crate::output::{Format, Rows, done, line, remark};
use crate::when::{When, when};

/// The number of letters that are shown before a decision on many.
const SAMPLES: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct DeadLettersCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List letters
    List {
        #[command(flatten)]
        consumer: Consumer,
        #[command(flatten)]
        query: Query,
        /// The largest number of letters
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Count letters
    Count {
        #[command(flatten)]
        consumer: Consumer,
        #[command(flatten)]
        query: Query,
    },
    /// Show the letter of one message, with all its failures
    Show {
        #[command(flatten)]
        consumer: Consumer,
        /// The id of the message
        id: Uuid,
    },
    /// Request another delivery of one message, or of all that a query selects. A running consumer makes it
    Retry {
        #[command(flatten)]
        consumer: Consumer,
        #[command(flatten)]
        which: Which,
        /// Wait so many seconds for the result of one message
        #[arg(long, value_name = "SECONDS", requires = "id")]
        wait: Option<u64>,
        /// Write this JSON as a new message in place of the one that failed
        #[arg(long, value_name = "JSON", requires = "id", conflicts_with = "wait")]
        edited: Option<String>,
    },
    /// Discard one message, or all that a query selects: the consumer will not handle them
    Discard {
        #[command(flatten)]
        consumer: Consumer,
        #[command(flatten)]
        which: Which,
        /// The reason, which the letter records
        #[arg(long)]
        why: String,
    },
}

#[derive(Debug, clap::Args)]
struct Consumer {
    #[command(flatten)]
    store: StoreUrl,
    /// The category that the consumer reads, such as account:command
    #[arg(long)]
    category: String,
    /// The consumer's identifier, if it has one
    #[arg(long)]
    identifier: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Query {
    /// Only letters of this entity
    #[arg(long)]
    entity: Option<String>,
    /// Only letters of messages of this type
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// Only letters whose error contains this text
    #[arg(long)]
    text: Option<String>,
    /// Only letters whose error has this class
    #[arg(long, value_enum)]
    error_class: Option<Class>,
    /// Only letters whose messages were last set aside at least so many seconds ago
    #[arg(long, value_name = "SECONDS")]
    older_than: Option<u64>,
    /// Only letters whose messages were last set aside at this time or later: 2026-11-29T12:00:00Z, or 90s, 10m, 2h or 7d ago
    #[arg(long, value_parser = when, value_name = "TIME")]
    since: Option<When>,
    /// Only letters in this state. By default, all that are open
    #[arg(long, value_enum)]
    state: Option<State>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Class {
    /// The handler returned an error that has no other class
    Failed,
    /// The handler panicked
    Panicked,
    /// A message could not be decoded
    Undecodable,
    /// Each attempt took too long
    TimedOut,
    /// Other writers were always quicker
    Contention,
    /// The handler asked for another delivery later
    Delayed,
    /// The process ended during each attempt
    Crashed,
}

impl From<Class> for ErrorClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Failed => Self::Failed,
            Class::Panicked => Self::Panicked,
            Class::Undecodable => Self::Undecodable,
            Class::TimedOut => Self::TimedOut,
            Class::Contention => Self::Contention,
            Class::Delayed => Self::Delayed,
            Class::Crashed => Self::Crashed,
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum State {
    /// The message failed finally, and waits for an operator
    Failed,
    /// The message is delivered again at a time
    Delayed,
    /// The message waits behind an earlier one of its entity
    Waiting,
    /// A delivery was requested
    Retrying,
    /// The message was handled or discarded
    Closed,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The id of one message
    id: Option<Uuid>,
    #[command(flatten)]
    query: Query,
    /// All letters that the conditions select
    #[arg(long, conflicts_with = "id", required_unless_present = "id")]
    all: bool,
    /// With --all: show the number and some of the letters, and change nothing
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
    /// With --all: do not ask
    #[arg(long, conflicts_with = "id")]
    yes: bool,
}

impl Consumer {
    async fn letters(&self) -> Result<DeadLetters> {
        Ok(self.open().await?.1)
    }

    async fn open(&self) -> Result<(Arc<dyn MessageStore>, DeadLetters)> {
        let store = self.store.open().await?;
        let letters = DeadLetters::of(&store, &self.category, self.identifier.as_deref())?;
        Ok((store, letters))
    }
}

impl Query {
    async fn query(&self, store: &dyn MessageStore) -> Result<LetterQuery> {
        let mut query = LetterQuery::default();
        if let Some(entity) = &self.entity {
            query = query.entity(entity);
        }
        if let Some(message_type) = &self.message_type {
            query = query.message_type(message_type);
        }
        if let Some(text) = &self.text {
            query = query.containing(text);
        }
        if let Some(class) = self.error_class {
            query = query.error_class(class.into());
        }
        if let Some(seconds) = self.older_than {
            query = query.older_than(Duration::from_secs(seconds));
        }
        if let Some(since) = self.since {
            query = query.since(since.by_the_clock_of(store).await?);
        }
        Ok(match self.state {
            None => query,
            Some(State::Failed) => query.waiting_for(WaitsFor::Operator),
            Some(State::Delayed) => query.waiting_for(WaitsFor::Time),
            Some(State::Waiting) => query.waiting_for(WaitsFor::EarlierMessage),
            Some(State::Retrying) => query.waiting_for(WaitsFor::Delivery),
            Some(State::Closed) => query.closed(),
        })
    }
}

impl DeadLettersCommand {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        match self.action {
            Action::List { consumer, query, limit } => {
                let (store, letters) = consumer.open().await?;
                let query = query.query(&*store).await?;
                let found: Vec<_> = letters.select(&query).take(limit).try_collect().await?;
                if found.is_empty() {
                    letters.count(&query).await?;
                }
                print(format, &found)?;
                if found.len() == limit {
                    remark(format_args!("(the first {limit}; --limit shows more, and count counts all)"));
                }
                Ok(())
            }
            Action::Count { consumer, query } => {
                let (store, letters) = consumer.open().await?;
                let count = letters.count(&query.query(&*store).await?).await?;
                done(count, [("letters", json!(count))])
            }
            Action::Show { consumer, id } => show(format, &one(&consumer.letters().await?, id).await?),
            Action::Retry { consumer, which, wait, edited } => {
                let (store, letters) = consumer.open().await?;
                let Some(id) = which.id else {
                    let query = which.query.query(&*store).await?;
                    if which.is_confirmed(&letters, &query, "retried").await? {
                        let requested = letters.retry_all(&query).await?;
                        done(format_args!("{requested} deliveries were requested"), [("requested", json!(requested))])?;
                    }
                    return Ok(());
                };
                retry(&letters, &one(&letters, id).await?, wait.map(Duration::from_secs), edited).await
            }
            Action::Discard { consumer, which, why } => {
                let (store, letters) = consumer.open().await?;
                let Some(id) = which.id else {
                    let query = which.query.query(&*store).await?;
                    if which.is_confirmed(&letters, &query, "discarded").await? {
                        let discarded = letters.discard_all(&query, &why).await?;
                        done(format_args!("{discarded} messages were discarded"), [("discarded", json!(discarded))])?;
                    }
                    return Ok(());
                };
                let letter = one(&letters, id).await?;
                changed(&letters, &letter, letters.discard(&letter, &why).await?).await?;
                done("the message is discarded", [("discarded", json!(1))])
            }
        }
    }
}

/// A letter with all its failures.
fn show(format: Format, letter: &DeadLetter) -> Result<()> {
    if format != Format::Table {
        let mut rows = Rows::new(format, ["message", "type", "stream", "state", "attempts", "error", "failures"])?;
        let failure = |failure: &LetterFailure| {
            json!({
                "time": failure.time.to_string(),
                "attempts": failure.attempts,
                "member": failure.member,
                "errorClass": failure.error_class,
                "error": failure.error,
            })
        };
        rows.add([
            json!(letter.message.id.to_string()),
            json!(letter.message_type),
            json!(letter.message.stream.as_str()),
            json!(letter.state.to_string()),
            json!(letter.attempts),
            json!(letter.error),
            letter.failures.iter().map(failure).collect(),
        ])?;
        return rows.print();
    }
    line(letter)?;
    for failure in &letter.failures {
        let member = failure.member.as_ref().map(|member| format!(", member {member}")).unwrap_or_default();
        let class = failure.error_class.map(|class| format!(", {class:?}")).unwrap_or_default();
        line(format_args!("  {}: {} attempts{member}{class}: {}", failure.time, failure.attempts, failure.error))?;
    }
    Ok(())
}

async fn one(letters: &DeadLetters, id: Uuid) -> Result<DeadLetter> {
    let found = letters.show(MessageId::from_uuid(id)).await?;
    found.ok_or_else(|| Exit::NotFound.because(format!("the consumer has no letter of message {id}")))
}

/// Fails if a decision changed nothing, with the reason.
async fn changed(letters: &DeadLetters, letter: &DeadLetter, is_changed: bool) -> Result<()> {
    if is_changed {
        return Ok(());
    }
    let now = letters.show(letter.message.id).await?;
    match now.map(|now| now.state) {
        Some(LetterState::Parked) => bail!("nothing was changed: the letter has changed meanwhile; look at it again"),
        Some(LetterState::Retrying) => bail!("nothing was changed: a delivery is requested already"),
        Some(state) => bail!("nothing was changed: the letter is closed ({state})"),
        None => bail!("nothing was changed: the letter is gone"),
    }
}

async fn retry(
    letters: &DeadLetters,
    letter: &DeadLetter,
    wait: Option<Duration>,
    edited: Option<String>,
) -> Result<()> {
    if let Some(data) = edited {
        let edited = NewMessage::new(letter.message_type.clone(), Json::parse(&data)?);
        let place = letters.retry_edited(letter, edited).await?;
        changed(letters, letter, place.is_some()).await?;
        if let Some(place) = place {
            line(format_args!(
                "the edited message is at global position {}; the other is discarded",
                place.global_position
            ))?;
        }
        return Ok(());
    }
    changed(letters, letter, letters.retry(letter).await?).await?;
    line(format_args!("a delivery was requested"))?;
    if let Some(wait) = wait {
        let retried = letters.wait_for_retry(letter, wait).await?;
        line(format_args!("{retried}"))?;
        if !matches!(retried, Retried::Resolved { .. }) {
            bail!("the message was not handled");
        }
    }
    Ok(())
}

impl Which {
    /// Shows the number of letters and some of them, and asks.
    async fn is_confirmed(&self, letters: &DeadLetters, query: &LetterQuery, what: &str) -> Result<bool> {
        if self.yes && !self.dry_run {
            return Ok(true);
        }
        let count = letters.count(query).await?;
        let mut selected = pin!(letters.select(query));
        let mut samples = Vec::new();
        while samples.len() < SAMPLES
            && let Some(letter) = selected.try_next().await?
        {
            samples.push(letter);
        }
        print(Format::Table, &samples)?;
        line(format_args!("{count} letters are selected, {} are shown", samples.len()))?;
        if self.dry_run || count == 0 {
            return Ok(false);
        }
        is_confirmed(&format!("Are they to be {what}?"))
    }
}

/// The end of a text says more than its middle: the cause comes last.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 120;
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= LONGEST {
        return text.to_owned();
    }
    let (begin, end) = (&characters[..LONGEST / 3], &characters[characters.len() - LONGEST * 2 / 3..]);
    begin.iter().chain(&['…']).chain(end).collect()
}

fn print(format: Format, letters: &[DeadLetter]) -> Result<()> {
    let mut rows = Rows::new(format, ["message", "type", "stream", "set aside", "attempts", "waits for", "error"])?;
    for letter in letters {
        let waits_for = match letter.waits_for() {
            Some(WaitsFor::Operator) => "an operator".to_owned(),
            Some(WaitsFor::Time) => letter.again_at.map(|time| time.to_string()).unwrap_or_default(),
            Some(WaitsFor::EarlierMessage) => "an earlier message".to_owned(),
            Some(WaitsFor::Delivery) => "a delivery".to_owned(),
            None => format!("nothing: {}", letter.state),
        };
        let error = match format {
            Format::Table => shortened(letter.error.lines().next().unwrap_or_default()),
            _ => letter.error.clone(),
        };
        rows.add([
            json!(letter.message.id.to_string()),
            json!(letter.message_type),
            json!(letter.message.stream.as_str()),
            json!(letter.parked_at.to_string()),
            json!(letter.attempts),
            json!(waits_for),
            json!(error),
        ])?;
    }
    rows.print()
}
