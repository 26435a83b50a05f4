//! De-duplication with a window, for requests from outside, which the store cannot remember for ever.
//!
//! Problem: if a key is recorded before the work, a failure of the work loses the request. If it is recorded
//! afterwards, a failure of the record does the work twice. Fix: after the work, one transaction writes the key, the
//! messages and the answer. Why it is right: until then nothing is written, so a failure, a panic or a cancellation
//! leaves the key free. If two callers work on one key, the second one finds it taken, writes nothing, and returns the
//! first one's answer. This is rare, because a caller leases the key for the time of its work (see `lease.rs`), and the
//! second caller waits or gets [`Answer::InProgress`].

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

/// The default number of expired keys that a sweep removes in one transaction. It is small, so that locks are short.
pub const DEFAULT_SWEEP: u32 = 1_000;

/// Does work once for each key of a scope, for as long as the key is remembered.
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

/// The result of a request.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum Answer<R> {
    /// The work was done now.
    Done(R),
    /// The work was done before, for the same request.
    Duplicate {
        /// The time of the first request, by the database's clock.
        first: Timestamp,
        /// The answer to the first request.
        result: R,
    },
    /// The key was used before, for a request with other content. Nothing was done.
    Conflict {
        /// The time of the first request, by the database's clock.
        first: Timestamp,
    },
    /// Another caller is doing the work, in this process or in another one. Only with [`Once::answer_in_progress`].
    InProgress,
}

impl<R> Answer<R> {
    /// The answer to the request. `None` for a conflict, and while the work is in progress.
    pub fn result(&self) -> Option<&R> {
        match self {
            Self::Done(result) | Self::Duplicate { result, .. } => Some(result),
            Self::Conflict { .. } | Self::InProgress => None,
        }
    }
}

impl Once {
    /// Uses keys of this scope, which is the name of an endpoint or of a bus. Two handlers with one scope share its
    /// keys; with two scopes, each has its own. There is no default, because two handlers could share a default by
    /// mistake.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the scope has 1 to 255 bytes and no NUL character.
    pub fn new(store: &Arc<dyn MessageStore>, scope: impl Into<String>) -> Result<Self> {
        let scope =
            Key::new(scope).map_err(|_| Error::invalid("scope", "it must have 1 to 255 bytes and no NUL character"))?;
        Ok(Self {
            store: Arc::clone(store),
            scope: scope.as_str().to_owned(),
            window: Window::default(),
            is_enabled: true,
            waits: true,
            turns: Turns::default(),
        })
    }

    /// Sets how long keys are remembered. Default: 7 days after they are taken.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Switches de-duplication off. Every request is done, and keys are not remembered.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.is_enabled = false;
        self
    }

    /// Returns [`Answer::InProgress`] while another caller works on the key. Default: waits for that caller.
    #[must_use]
    pub fn answer_in_progress(mut self) -> Self {
        self.waits = false;
        self
    }

    /// Does `work`, unless it was done for this key before. Requests are compared by their content. `work` returns the
    /// messages to write and the answer. Both are written together with the key, or nothing is written.
    ///
    /// # Errors
    /// The error of `work`; the store's errors; [`Error::Invalid`] when an answer cannot be stored, or decoded as `R`.
    /// The key is free then. After [`Error::CommitUnknown`] the key may or may not be free: run it again.
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
                // The lease was lost, and another caller took the key first. Nothing of this call was written.
                Ok(Some(record)) => Ok(answer(&claim, &record)?),
                // The answer was lost. The record of the key shows whether the append was written. If it cannot be
                // read, the result remains unknown.
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

    /// Removes all expired keys of all scopes, up to `batch` in one transaction ([`DEFAULT_SWEEP`], for example).
    /// Returns the number of removed keys. It is safe during traffic and beside another sweep: it only makes the table
    /// smaller.
    ///
    /// # Errors
    /// The store's errors.
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
