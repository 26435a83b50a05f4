//! The guard: calls to systems that remember nothing of us.
//!
//! Problem: a call that was sent and not answered may have had its effect or not; calling again doubles it, not calling
//! again loses it. No bookkeeping on this side can tell. Fix: say before the call that it is about to be made, and
//! after it how it ended; when that was not said, ask the other side first, by the caller's own search. What the search
//! cannot tell stays unknown, and is reported, not tried. Why it is right: every step is appended at the version that
//! it follows, so of two that work on one call one goes on; a runner that was overtaken learns of it when it wants to
//! say how its call ended. And no two call at once: see [`super::lease`].
//!
//! States, in the stream `guard:{scope}-{key}`: `Prepared` → call → `Confirmed` or `Failed`; or, after the lease, by
//! the next runner: `Reconciling` → search → `Confirmed`, `Prepared` again, or `Unknown`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::handling::Guarded;
use crate::handling::lease::Lease;
use crate::key::fingerprint;
use crate::store::{End, LastStep, NewStep, StepStream};
use crate::{Category, Error, Json, Key, MessageStore, Result, Source};

/// An external system: how to call it, and how to search for the effect of an earlier call.
#[async_trait]
pub trait External: Send + Sync {
    /// What is asked.
    type Request: Serialize + Send + Sync;
    /// What is answered.
    type Response: Serialize + DeserializeOwned + Send + Sync;

    /// Calls. `key` is the same at every attempt: give it to the other side, if that takes one.
    async fn call(&self, key: &Key, request: &Self::Request) -> Result<Self::Response, CallError>;

    /// Searches for the effect of an earlier call. When in doubt (a page that ends, a lag), say so:
    /// [`Found::CannotTell`].
    async fn find(&self, key: &Key, request: &Self::Request) -> Result<Found<Self::Response>, Source>;
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It was refused, and had no effect for certain.
    #[error("refused: {0}")]
    Definite(Source),
    /// It may have had its effect: no answer came, or none that tells.
    #[error("no answer: {0}")]
    Ambiguous(Source),
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<R> {
    /// The call had its effect; this would have been the answer.
    Effect(R),
    /// It had none, for certain.
    Nothing,
    /// The search does not tell; why.
    CannotTell(String),
}

/// Guards calls to one other side.
///
/// It cannot stop a process that is halted after its look at the database's clock and goes on after its lease has
/// ended: that process still calls. Give [`External::call`]'s key to the other side if it takes one.
///
/// ```
/// use async_trait::async_trait;
/// use message_store::handling::{CallError, External, Found, Guard, Guarded};
/// use message_store::{Key, Source, connect};
///
/// /// The provider: how it is paid, and how one finds out whether it was.
/// struct Payments;
///
/// #[async_trait]
/// impl External for Payments {
///     type Request = u64;
///     type Response = String;
///
///     async fn call(&self, key: &Key, amount: &u64) -> Result<String, CallError> {
///         // An answer that tells nothing, or none, is `Ambiguous`; a refusal that had no effect for certain is `Definite`.
///         if *amount == 0 { Err(CallError::Definite("nothing to pay".into())) } else { Ok(format!("receipt of {key}")) }
///     }
///
///     async fn find(&self, _key: &Key, _amount: &u64) -> Result<Found<String>, Source> {
///         Ok(Found::CannotTell("the list of payments ends after a thousand".to_owned()))
///     }
/// }
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let payments = Guard::new(&store, "payments", Payments)?;
/// match payments.run(&Key::new("order-7")?, &100).await? {
///     Guarded::Confirmed { response, .. } => assert_eq!(response, "receipt of order-7"),
///     // Run it again later: a refusal is tried again, what is unknown is searched for, what is in progress ends or loses its lease. In a
///     // handler, an error says so: the message is delivered again, or set aside and retried by an operator.
///     Guarded::Failed { reason } | Guarded::Unknown { reason } => panic!("not paid, or unknown: {reason}"),
///     Guarded::InProgress => panic!("another runner is at it"),
///     Guarded::Conflict => panic!("this order was paid for with another amount"),
/// }
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Guard<X> {
    store: Arc<dyn MessageStore>,
    category: Category,
    external: X,
    lease: Lease,
    planted: Option<GuardBug>,
}

/// A protection of a [`Guard`] to be switched off. For tests of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code, unreachable_pub))]
pub enum GuardBug {
    /// After its append, a runner does not ask how much of its lease is left.
    LeaseUnchecked,
    /// A call whose end was not said is made again, without a search.
    NoSearch,
}

/// How often a runner prepares its call when too little of its lease is left after the append.
const PREPARATIONS: u32 = 5;

#[derive(Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
enum Step {
    /// The lease counts from the time of this message.
    Prepared {
        attempt: u32,
        request: String,
        lease: Lease,
    },
    Reconciling {
        attempt: u32,
        request: String,
        lease: Lease,
    },
    Confirmed {
        request: String,
        response: Json,
    },
    Failed {
        attempt: u32,
        request: String,
        reason: String,
    },
    Unknown {
        attempt: u32,
        request: String,
        reason: String,
    },
}

/// One call, and what follows from it alone.
struct Call<'a, X: External> {
    key: &'a Key,
    request: &'a X::Request,
    steps: StepStream<Step>,
    /// The request's fingerprint.
    asked: String,
}

impl<X: External> Guard<X> {
    /// Guards calls of this scope (the name of the other side, and of what it is asked for) to `external`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the scope cannot be part of a category's name.
    pub fn new(store: &Arc<dyn MessageStore>, scope: &str, external: X) -> Result<Self> {
        let category = Category::new(format!("guard:{scope}"))?;
        let lease = Lease::new(Duration::from_mins(1));
        Ok(Self { store: Arc::clone(store), category, external, lease, planted: None })
    }

    /// How long a runner has for its call (60 s; to the millisecond, 49 days at most), counted from the moment that its
    /// claim stands, by the database's clock. A call is given half of it, and then counts as unanswered; only after all
    /// of it does another runner search.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Lease::new(lease);
        self
    }

    /// Switches a protection off.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn plant(mut self, bug: GuardBug) -> Self {
        self.planted = Some(bug);
        self
    }

    /// The category that its calls' states are kept in: `guard:{scope}`.
    pub fn category(&self) -> &Category {
        &self.category
    }

    /// The other side.
    pub fn external(&self) -> &X {
        &self.external
    }

    /// Calls, unless the call was made before; finds out, when its end was not said.
    ///
    /// # Errors
    /// The store's; [`Error::WrongExpectedVersion`] when this runner was overtaken during its call: an operator has to
    /// look whether both have called. [`Error::HistoryChanged`]; and [`Error::Backend`], passing, when the store takes
    /// longer to append than the lease allows: nothing was called.
    pub async fn run(&self, key: &Key, request: &X::Request) -> Result<Guarded<X::Response>> {
        let steps = StepStream::new(&self.store, key.stream(&self.category)?);
        let asked = fingerprint(&Json::encode(request)?)?;
        let (last, end) = steps.last().await?;
        let call = Call { key, request, steps, asked };
        let Some(LastStep { step, message }) = last else { return self.attempt(&call, end, 1).await };
        if *step.request() != call.asked {
            return Ok(Guarded::Conflict);
        }
        match step {
            Step::Confirmed { response, .. } => Ok(Guarded::Confirmed { response: response.decode()?, earlier: true }),
            // It had no effect: tried again under the next number.
            Step::Failed { attempt, .. } => self.attempt(&call, end, attempt + 1).await,
            Step::Prepared { lease, .. } | Step::Reconciling { lease, .. }
                if !lease.has_ended(message.time, self.store.now().await?) =>
            {
                Ok(Guarded::InProgress)
            }
            Step::Prepared { attempt, .. } | Step::Reconciling { attempt, .. } | Step::Unknown { attempt, .. } => {
                self.reconcile(&call, end, attempt).await
            }
        }
    }

    async fn attempt(&self, call: &Call<'_, X>, end: End, attempt: u32) -> Result<Guarded<X::Response>> {
        let Some(claim) = self.prepare(call, end, attempt).await? else { return Ok(Guarded::InProgress) };
        let called = tokio::time::timeout(self.lease.of_a_call(), self.external.call(call.key, call.request)).await;
        match called {
            Ok(Ok(response)) => self.confirm(call, &claim, response).await,
            Ok(Err(CallError::Definite(reason))) => {
                let reason = reason.to_string();
                let failed = Step::Failed { attempt, request: call.asked.clone(), reason: reason.clone() };
                call.steps.append_after(&claim, &failed).await??;
                Ok(Guarded::Failed { reason })
            }
            Ok(Err(CallError::Ambiguous(reason))) => self.give_up(call, &claim, attempt, reason.to_string()).await,
            // The call may still be under way: its claim stands until its lease ends, and then it is searched for.
            Err(_) => Ok(Guarded::Unknown { reason: "it took longer than half its lease".to_owned() }),
        }
    }

    /// Claims the call, with enough of the lease left to make it; `None` when another runner has it.
    async fn prepare(&self, call: &Call<'_, X>, mut end: End, attempt: u32) -> Result<Option<NewStep>> {
        let prepared = Step::Prepared { attempt, request: call.asked.clone(), lease: self.lease };
        for _ in 0..PREPARATIONS {
            let asked = Instant::now();
            let Ok(claim) = call.steps.append(end, &prepared).await? else { return Ok(None) };
            if self.planted == Some(GuardBug::LeaseUnchecked) {
                return Ok(Some(claim));
            }
            let (Some(last), _) = call.steps.still_last(&claim).await? else { return Ok(None) };
            let now = self.store.now().await?;
            // The answer may have been long on its way: the lease is no older than the question for it.
            if self.lease.is_enough(last.message.time, now) && asked.elapsed() <= self.lease.of_a_call() / 2 {
                return Ok(Some(claim));
            }
            end = claim.end;
        }
        let cause = format!(
            "{PREPARATIONS} times in a row, more than a quarter of the lease had passed when the append was answered"
        );
        Err(Error::backend("preparing a guarded call", true, cause))
    }

    async fn reconcile(&self, call: &Call<'_, X>, end: End, attempt: u32) -> Result<Guarded<X::Response>> {
        let reconciling = Step::Reconciling { attempt, request: call.asked.clone(), lease: self.lease };
        let Ok(claim) = call.steps.append(end, &reconciling).await? else { return Ok(Guarded::InProgress) };
        if self.planted == Some(GuardBug::NoSearch) {
            return self.attempt(call, claim.end, attempt + 1).await;
        }
        match self.external.find(call.key, call.request).await {
            Ok(Found::Effect(response)) => self.confirm(call, &claim, response).await,
            Ok(Found::Nothing) => self.attempt(call, claim.end, attempt + 1).await,
            Ok(Found::CannotTell(reason)) => self.give_up(call, &claim, attempt, reason).await,
            Err(error) => self.give_up(call, &claim, attempt, error.to_string()).await,
        }
    }

    async fn confirm(
        &self,
        call: &Call<'_, X>,
        claim: &NewStep,
        response: X::Response,
    ) -> Result<Guarded<X::Response>> {
        let confirmed = Step::Confirmed { request: call.asked.clone(), response: Json::encode(&response)? };
        call.steps.append_after(claim, &confirmed).await??;
        Ok(Guarded::Confirmed { response, earlier: false })
    }

    async fn give_up(
        &self,
        call: &Call<'_, X>,
        claim: &NewStep,
        attempt: u32,
        reason: String,
    ) -> Result<Guarded<X::Response>> {
        tracing::warn!(stream = %call.steps.stream(), attempt, reason, "whether a call had its effect is unknown");
        let unknown = Step::Unknown { attempt, request: call.asked.clone(), reason: reason.clone() };
        call.steps.append_after(claim, &unknown).await??;
        Ok(Guarded::Unknown { reason })
    }
}

impl Step {
    fn request(&self) -> &String {
        match self {
            Self::Prepared { request, .. }
            | Self::Reconciling { request, .. }
            | Self::Confirmed { request, .. }
            | Self::Failed { request, .. }
            | Self::Unknown { request, .. } => request,
        }
    }
}

impl<X> fmt::Debug for Guard<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("category", &self.category).finish_non_exhaustive()
    }
}
