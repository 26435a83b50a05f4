//! De-duplication with a window: for requests from outside, which no stream of ours remembers for ever.
//!
//! Problem: a key that is marked before the work loses it when the work fails, and one that is marked afterwards
//! doubles it when the mark fails. Fix: key, messages and answer are written in one transaction, after the work. Why it
//! is right: until then nothing is written, so failure, panic and cancellation leave the key free; and of two that work
//! on one key at once, the second to write finds it taken, writes nothing, and answers what the first did. That two
//! work at once is the exception: the key is leased meanwhile (see `lease.rs`), and the second caller waits, or is
//! told.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::keys;
use super::lease::Lease;
use super::turns::Turns;
use crate::key::fingerprint;
use crate::store::{Claim, ClaimRecord, Window};
use crate::{Append, Error, Json, Key, MessageStore, Result};

/// How many expired keys a sweep removes at a time, unless said otherwise: few enough that no lock lasts.
pub const DEFAULT_SWEEP: u32 = 1_000;

/// Does something once for each key of a scope, for as long as the key is remembered.
///
/// ```
/// use message_store::{Append, Error, Json, Key, NewMessage, StreamName, connect};
/// use message_store::intents::{Answer, Once};
/// use message_store::store::Window;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let webhooks = Once::new(&store, "webhooks/payments")?.window(Window::HANDLERS);
///
/// let body = Json::parse(r#"{"event_id": "evt_1", "amount": 7}"#)?;
/// for delivery in 0..2 {
///     let answer = webhooks
///         .run(&Key::from_field(&body, "/event_id")?, &body, async || {
///             let paid = NewMessage::new("Paid", body.clone());
///             Ok::<_, Error>((vec![Append::to(StreamName::new("payment-1")?).message(paid)], "thanks".to_owned()))
///         })
///         .await?;
///     assert_eq!(answer.result(), Some(&"thanks".to_owned()), "a repeat is answered as the first was");
///     assert_eq!(matches!(answer, Answer::Done(_)), delivery == 0);
/// }
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Once {
    store: Arc<dyn MessageStore>,
    scope: String,
    window: Window,
    is_enabled: bool,
    waits: bool,
    turns: Turns,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum Answer<R> {
    /// It was done now.
    Done(R),
    /// It was done before, for the same request: this was the answer.
    Duplicate {
        /// When.
        first: Timestamp,
        /// What was answered.
        result: R,
    },
    /// The key was used before, for a request that says something else. Nothing was done.
    Conflict {
        /// When.
        first: Timestamp,
    },
    /// It is being done, by another caller, here or in another process; only when asked for
    /// ([`Once::answer_in_progress`]).
    InProgress,
}

impl<R> Answer<R> {
    /// What is answered, unless there is a conflict, or no answer yet.
    pub fn result(&self) -> Option<&R> {
        match self {
            Self::Done(result) | Self::Duplicate { result, .. } => Some(result),
            Self::Conflict { .. } | Self::InProgress => None,
        }
    }
}

impl Once {
    /// Keys of this scope: the name of an endpoint, or of a bus that several handlers stand behind. Two handlers with
    /// one scope share its keys; with two, each has its own. There is no default, because a name that is made up is
    /// forgotten.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty scope, [`Error::TooLarge`] above 255 bytes.
    pub fn new(store: &Arc<dyn MessageStore>, scope: impl Into<String>) -> Result<Self> {
        let scope = Key::new(scope).map_err(|_| Error::invalid("scope", "it must have 1 to 255 bytes, and no NUL"))?;
        Ok(Self {
            store: Arc::clone(store),
            scope: scope.as_str().to_owned(),
            window: Window::default(),
            is_enabled: true,
            waits: true,
            turns: Turns::default(),
        })
    }

    /// Remembers keys for this long (7 days from when it is taken).
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Switches de-duplication off: every request is done. Keys are not remembered either.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.is_enabled = false;
        self
    }

    /// Answers [`Answer::InProgress`] while another caller works on the key, instead of waiting for it.
    #[must_use]
    pub fn answer_in_progress(mut self) -> Self {
        self.waits = false;
        self
    }

    /// Does `work`, unless it was done for this key before. The request is compared by what it says. `work` returns the
    /// messages to write and the answer: both are written with the key, or nothing is.
    ///
    /// # Errors
    /// What `work` says; the store's errors; [`Error::Invalid`] when an answer cannot be stored, or read as `R`. The
    /// key is free then, but for [`Error::CommitUnknown`]: run it again.
    pub async fn run<R, E>(
        &self,
        key: &Key,
        request: &Json,
        work: impl AsyncFnOnce() -> Result<(Vec<Append>, R), E>,
    ) -> Result<Answer<R>, E>
    where
        R: Serialize + DeserializeOwned,
        E: From<Error>,
    {
        if !self.is_enabled {
            let (appends, result) = work().await?;
            if !appends.is_empty() {
                self.store.append(appends.into()).await?;
            }
            return Ok(Answer::Done(result));
        }
        let claim = Claim {
            scope: self.scope.clone(),
            key: key.clone(),
            fingerprint: fingerprint(request)?,
            window: self.window,
        };
        let keys = keys(&*self.store)?;
        let Some(_turn) = self.turns.take(key, self.waits).await else { return Ok(Answer::InProgress) };
        let Some(lease) = Lease::take(&self.store, &claim, self.waits).await? else { return Ok(Answer::InProgress) };
        let answered = async {
            if let Some(record) = keys.record(&claim).await? {
                return Ok(answer(&claim, &record)?);
            }
            let (appends, result) = lease.during(work()).await?;
            match keys.append_once(&claim, appends.into(), Json::encode(&result)?).await {
                Ok(None) => Ok(Answer::Done(result)),
                // The lease was lost, and another caller was quicker: nothing of ours was written.
                Ok(Some(record)) => Ok(answer(&claim, &record)?),
                // The answer was lost: the record of the key says what became of it. When that cannot be read, it stays
                // unknown.
                Err(lost @ Error::CommitUnknown { .. }) => match keys.record(&claim).await {
                    Ok(Some(record)) => Ok(answer(&claim, &record)?),
                    Ok(None) | Err(_) => Err(lost.into()),
                },
                Err(error) => Err(error.into()),
            }
        };
        let answered = answered.await;
        if matches!(answered, Ok(Answer::Done(_))) {
            lease.taken();
        } else {
            lease.release().await;
        }
        answered
    }

    /// Removes expired keys of all scopes, `batch` at a time ([`DEFAULT_SWEEP`], say), until there are none. Safe
    /// beside traffic and beside another sweep; it changes nothing but the size of the table. Returns how many were
    /// removed.
    ///
    /// # Errors
    /// The store's.
    pub async fn sweep(store: &Arc<dyn MessageStore>, batch: u32) -> Result<u64> {
        let mut swept = 0;
        loop {
            let removed = keys(&**store)?.sweep(batch.max(1)).await?;
            swept += removed;
            if removed < u64::from(batch.max(1)) {
                return Ok(swept);
            }
        }
    }
}

fn answer<R: DeserializeOwned>(claim: &Claim, record: &ClaimRecord) -> Result<Answer<R>> {
    if record.fingerprint != claim.fingerprint {
        return Ok(Answer::Conflict { first: record.at });
    }
    Ok(Answer::Duplicate { first: record.at, result: record.result.decode()? })
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("scope", &self.scope).field("window", &self.window).finish_non_exhaustive()
    }
}
