//! Pauses: an operator asks a consumer to hand out no message, and to go on later.
//!
//! Problem: a consumer that does harm must stand still at once, in whichever processes it runs, and only its operator knows how
//! to reach them. Fix: the operator's wish is a message in the store, in the stream `{category}+control[-identifier]`. Each
//! consumer reads the last one when it starts, at each wake-up of that category, and every few seconds. Why a paused consumer
//! loses nothing: messages that are under way end as always, its position is saved below all others, and a member of an elastic
//! group keeps its slots.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::PlantedBug;
use crate::planted::Planted;
use crate::store::StepStream;
use crate::{Category, Message, MessageStore, Result, StreamName, Timestamp, WakeUp};

/// The time between two reads, if no wake-up arrives.
const EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize, Deserialize)]
enum Wish {
    Paused { reason: String },
    Resumed {},
}

/// The pauses of a consumer, for operators. All members of a group pause together.
///
/// ```
/// use message_store::connect;
/// use message_store::consumer::Pauses;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let pauses = Pauses::of(&store, "account:command", None)?;
/// pauses.pause("the bank's interface is down").await?;
/// assert_eq!(pauses.current().await?.unwrap().reason, "the bank's interface is down");
/// pauses.resume().await?;
/// assert!(pauses.current().await?.is_none());
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pauses {
    store: Arc<dyn MessageStore>,
    stream: StreamName,
}

/// A pause of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pause {
    /// The operator's reason.
    pub reason: String,
    /// The time at which the operator paused it, by the database's clock.
    pub since: Timestamp,
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "paused since {}: {}", self.since, self.reason)
    }
}

impl Pauses {
    /// The pauses of the consumer of this category with this identifier.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for an invalid category or identifier.
    pub fn of(store: &Arc<dyn MessageStore>, category: &str, identifier: Option<&str>) -> Result<Self> {
        let category = Category::new(format!("{}+control", Category::new(category)?))?;
        let stream = match identifier {
            Some(identifier) => category.stream(identifier)?,
            None => StreamName::new(category.as_str())?,
        };
        Ok(Self { store: Arc::clone(store), stream })
    }

    /// The pause of the consumer, if it is paused.
    ///
    /// # Errors
    /// The errors of a read.
    pub async fn current(&self) -> Result<Option<Pause>> {
        let Some(last) = self.store.last_message(&self.stream, None).await? else { return Ok(None) };
        if let Some(wish) = wish_in(&last) {
            return Ok(pause_of(wish, &last));
        }
        // Another program has written to the stream.
        let mut found = None;
        for kind in ["Paused", "Resumed"] {
            let last = self.store.last_message(&self.stream, Some(kind)).await?;
            let wish = last.and_then(|last| wish_in(&last).map(|wish| (last, wish)));
            found = found.into_iter().chain(wish).max_by_key(|(last, _): &(Message, Wish)| last.position);
        }
        Ok(found.and_then(|(last, wish)| pause_of(wish, &last)))
    }

    /// Pauses the consumer, also one that starts later. Returns `false` if it is paused already. Consumers that run read it
    /// within seconds; messages that are under way then are handled.
    ///
    /// # Errors
    /// The errors of a read and of an append.
    pub async fn pause(&self, reason: &str) -> Result<bool> {
        self.wish(Wish::Paused { reason: reason.to_owned() }).await
    }

    /// Lets the consumer go on. Returns `false` if it is not paused.
    ///
    /// # Errors
    /// The errors of a read and of an append.
    pub async fn resume(&self) -> Result<bool> {
        self.wish(Wish::Resumed {}).await
    }

    async fn wish(&self, wish: Wish) -> Result<bool> {
        let steps = StepStream::new(&self.store, self.stream.clone());
        loop {
            let end = steps.end().await?;
            if self.current().await?.is_some() == matches!(wish, Wish::Paused { .. }) {
                return Ok(false);
            }
            // Overtaken by another operator: the wish is compared again.
            if steps.append(end, &wish).await?.is_ok() {
                return Ok(true);
            }
        }
    }
}

/// The wish of an operator of this store. `None` for a message of another program, or from another store.
fn wish_in(message: &Message) -> Option<Wish> {
    if message.decode_metadata().origin.is_some() {
        return None;
    }
    message.decode_variant().ok().flatten()
}

fn pause_of(wish: Wish, message: &Message) -> Option<Pause> {
    match wish {
        Wish::Paused { reason } => Some(Pause { reason, since: message.time }),
        Wish::Resumed {} => None,
    }
}

/// Whether a consumer that runs is paused. The last clone ends the task that reads it.
#[derive(Clone, Debug)]
pub(super) struct Paused {
    pub(super) state: watch::Receiver<Option<Pause>>,
    _reader: Arc<JoinSet<()>>,
}

impl Paused {
    /// Reads whether the consumer is paused, and goes on reading it.
    pub(super) async fn read(pauses: Pauses, planted: Planted<PlantedBug>) -> Result<Self> {
        // Before the first read, so that every later wish causes a wake-up.
        let wake_up = pauses.store.wake_up(Some(&pauses.stream.category())).await?;
        let is_ignored = planted.is(PlantedBug::PausesIgnored);
        let current = if is_ignored { None } else { pauses.current().await? };
        if let Some(pause) = &current {
            tracing::warn!(target: "message_store::consumer", control = %pauses.stream, "{pause}");
        }
        let (sender, state) = watch::channel(current);
        let mut reader = JoinSet::new();
        if !is_ignored {
            reader.spawn(follow(pauses, wake_up, sender));
        }
        Ok(Self { state, _reader: Arc::new(reader) })
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state.borrow().is_some()
    }

    /// Waits until that changes.
    pub(super) async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn follow(pauses: Pauses, mut wake_up: WakeUp, sender: watch::Sender<Option<Pause>>) {
    loop {
        wake_up.wait_until(Instant::now() + EVERY).await;
        match pauses.current().await {
            Ok(current) => {
                sender.send_if_modified(|before| {
                    let is_changed = *before != current;
                    if is_changed {
                        let what = current.as_ref().map_or_else(|| "it goes on".to_owned(), Pause::to_string);
                        tracing::info!(target: "message_store::consumer", control = %pauses.stream, "{what}");
                        *before = current;
                    }
                    is_changed
                });
            }
            // The consumer itself notices an outage, and what it does next is not changed by it.
            Err(error) => {
                tracing::debug!(target: "message_store::consumer", %error, control = %pauses.stream, "could not read whether the consumer is paused");
            }
        }
    }
}
