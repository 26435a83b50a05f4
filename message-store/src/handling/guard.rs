//! The guard: calls to external systems that do not recognise repeats.
//!
//! Problem: a call that was sent and not answered may or may not have had its effect. To call again may double the
//! effect, and not to call again may lose it. No record on this side can show which. Fix: the guard records a claim
//! before the call, and the result after it. If the result is missing, it first searches the external system with the
//! caller's own search. If the search is inconclusive, the result is unknown: the guard reports it and does not call.
//! Why it is right: every step is appended at the version of the step before it, so of two runners of one call only one
//! goes on. A runner that was overtaken learns that when it records its result. No two runners call at the same time:
//! see [`super::lease`].
//!
//! Steps, in the stream `guard:{scope}-{key}`: `Prepared`, then the call, then `Confirmed`, `Failed` or `Unknown`.
//! After `Failed`, the next runner appends `Prepared` again. After `Unknown`, or if the lease ends before the result,
//! the next runner appends `Reconciling`, searches, and appends `Confirmed`, `Prepared` or `Unknown`.

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
use crate::planted::Planted;
use crate::store::{End, LastStep, NewStep, StepStream};
use crate::{Category, Error, Json, Key, MessageStore, Result, Source};

/// An external system: the call, and the search for the effect of an earlier call.
#[async_trait]
pub trait External: Send + Sync {
    /// The request. Its JSON form identifies it: another request with the same key is a conflict.
    type Request: Serialize + Send + Sync;
    /// The answer. The guard stores it, and returns it to later runs.
    type Response: Serialize + DeserializeOwned + Send + Sync;

    /// Makes the call. `key` is the same in every attempt: pass it to the external system if that accepts such a key.
    async fn call(&self, key: &Key, request: &Self::Request) -> Result<Self::Response, CallError>;

    /// Searches for the effect of an earlier call. If the search is not complete (for example only the first page was
    /// read, or the system lags behind), return [`Found::Inconclusive`].
    async fn find(&self, key: &Key, request: &Self::Request) -> Result<Found<Self::Response>, Source>;
}

/// The reason why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call was refused, and definitely had no effect.
    #[error("refused: {0}")]
    NoEffect(Source),
    /// The call may have had its effect: there was no answer, or the answer does not show it.
    #[error("no answer: {0}")]
    Ambiguous(Source),
}

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<R> {
    /// The call had its effect. The value is the answer that the call would have returned.
    Effect(R),
    /// The call definitely had no effect.
    Nothing,
    /// The search is inconclusive, for this reason.
    Inconclusive(String),
}

/// Guards calls to one external system, so that each has its effect at most once.
///
/// There is one case that the guard cannot prevent. If a process is halted after it has checked its lease, and goes on
/// after the lease has ended, it still calls. So pass the key of [`External::call`] to the external system if that
/// accepts one.
///
/// ```
/// use async_trait::async_trait;
/// use message_store::handling::{CallError, External, Found, Guard, Guarded};
/// use message_store::{Key, Source, connect};
///
/// /// The payment provider.
/// struct Payments;
///
/// #[async_trait]
/// impl External for Payments {
///     type Request = u64;
///     type Response = String;
///
///     async fn call(&self, key: &Key, amount: &u64) -> Result<String, CallError> {
///         // Return `Ambiguous` if there is no answer, or the answer does not show the effect. Return `NoEffect` for a
///         // refusal that definitely had no effect.
///         if *amount == 0 { Err(CallError::NoEffect("nothing to pay".into())) } else { Ok(format!("receipt of {key}")) }
///     }
///
///     async fn find(&self, _key: &Key, _amount: &u64) -> Result<Found<String>, Source> {
///         Ok(Found::Inconclusive("the list of payments has only the first thousand".to_owned()))
///     }
/// }
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let payments = Guard::new(&store, "payments", Payments)?;
/// match payments.run(&Key::new("order-7")?, &100).await? {
///     Guarded::Confirmed { response, .. } => assert_eq!(response, "receipt of order-7"),
///     // Run the guard again later. A handler calls `Guarded::or_again_after` instead, and returns its error.
///     Guarded::Failed { reason } | Guarded::Unknown { reason } => panic!("not paid, or unknown: {reason}"),
///     Guarded::InProgress { .. } => panic!("another runner is making the call"),
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
    planted: Planted<GuardBug>,
}

/// A protection of a [`Guard`] that a test switches off ([`Guard::plant`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code, unreachable_pub))]
pub enum GuardBug {
    /// A runner does not check after its append how much of its lease is left.
    LeaseUnchecked,
    /// A call without a recorded result is made again, without a search.
    NoSearch,
}

/// The number of times that a runner claims its call, while too little of the lease is left after each append.
const PREPARATIONS: u32 = 5;

#[derive(Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
enum Step {
    /// The lease begins at the time of this message.
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

/// One guarded call, with the values that depend on its key and request alone.
struct Call<'a, X: External> {
    key: &'a Key,
    request: &'a X::Request,
    steps: StepStream<Step>,
    /// The fingerprint of the request.
    request_fingerprint: String,
}

impl<X: External> Guard<X> {
    /// A guard of the calls of one scope to `external`. The scope names the external system and the kind of request.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the scope cannot be part of a category's name.
    pub fn new(store: &Arc<dyn MessageStore>, scope: &str, external: X) -> Result<Self> {
        let category = Category::new(format!("guard:{scope}"))?;
        let lease = Lease::new(Duration::from_mins(1));
        Ok(Self { store: Arc::clone(store), category, external, lease, planted: Planted::NONE })
    }

    /// The time that a runner has for its call (60 s), in whole milliseconds and at most 49 days. It begins when the
    /// claim is written, by the database's clock. A call that takes longer than half of it counts as unanswered.
    /// Another runner searches only after all of it has passed.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Lease::new(lease);
        self
    }

    /// Switches a protection off.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn plant(mut self, bug: GuardBug) -> Self {
        self.planted = Planted::one(bug);
        self
    }

    /// The category of the streams with the steps of the calls: `guard:{scope}`.
    pub fn category(&self) -> &Category {
        &self.category
    }

    /// The external system that was given to [`Guard::new`].
    pub fn external(&self) -> &X {
        &self.external
    }

    /// Makes the call, unless it was made before. If the result of an earlier call was not recorded, the guard searches
    /// for it first.
    ///
    /// # Errors
    /// The errors of the store. [`Error::WrongExpectedVersion`] when another runner has taken over during the call: an
    /// operator must check whether both have called. [`Error::HistoryChanged`] when the store's history has changed. A
    /// transient [`Error::Backend`] when the store takes longer to append than the lease allows: then no call was made.
    pub async fn run(&self, key: &Key, request: &X::Request) -> Result<Guarded<X::Response>> {
        let steps = StepStream::new(&self.store, key.stream(&self.category)?);
        let request_fingerprint = fingerprint(&Json::encode(request)?)?;
        let (last, end) = steps.last().await?;
        let call = Call { key, request, steps, request_fingerprint };
        let Some(LastStep { step, message }) = last else { return self.attempt(&call, end, 1).await };
        if *step.request() != call.request_fingerprint {
            return Ok(Guarded::Conflict);
        }
        match step {
            Step::Confirmed { response, .. } => Ok(Guarded::Confirmed { response: response.decode()?, earlier: true }),
            // The earlier attempt had no effect, so the call is made again under the next number.
            Step::Failed { attempt, .. } => self.attempt(&call, end, attempt + 1).await,
            Step::Prepared { attempt, lease, .. } | Step::Reconciling { attempt, lease, .. } => {
                match lease.left(message.time, self.store.now().await?) {
                    Some(lease_left) => Ok(Guarded::InProgress { lease_left }),
                    None => self.reconcile(&call, end, attempt).await,
                }
            }
            Step::Unknown { attempt, .. } => self.reconcile(&call, end, attempt).await,
        }
    }

    async fn attempt(&self, call: &Call<'_, X>, end: End, attempt: u32) -> Result<Guarded<X::Response>> {
        let Some(claim) = self.prepare(call, end, attempt).await? else { return Ok(self.in_progress()) };
        let called = tokio::time::timeout(self.lease.call_time_out(), self.external.call(call.key, call.request)).await;
        match called {
            Ok(Ok(response)) => self.confirm(call, &claim, response).await,
            Ok(Err(CallError::NoEffect(reason))) => {
                let reason = reason.to_string();
                let failed =
                    Step::Failed { attempt, request: call.request_fingerprint.clone(), reason: reason.clone() };
                call.steps.append_after(&claim, &failed).await??;
                Ok(Guarded::Failed { reason })
            }
            Ok(Err(CallError::Ambiguous(reason))) => {
                self.record_unknown(call, &claim, attempt, reason.to_string()).await
            }
            // The call may still be under way, so no result is recorded. The claim lasts until its lease ends, and then
            // the next runner searches.
            Err(_) => Ok(Guarded::Unknown { reason: "the call took longer than half of its lease".to_owned() }),
        }
    }

    /// Claims the call, and makes sure that enough of the lease is left for it. `None` when another runner has the
    /// claim.
    async fn prepare(&self, call: &Call<'_, X>, mut end: End, attempt: u32) -> Result<Option<NewStep>> {
        let prepared = Step::Prepared { attempt, request: call.request_fingerprint.clone(), lease: self.lease };
        for _ in 0..PREPARATIONS {
            let requested_at = Instant::now();
            let Ok(claim) = call.steps.append(end, &prepared).await? else { return Ok(None) };
            if self.planted.is(GuardBug::LeaseUnchecked) {
                return Ok(Some(claim));
            }
            let (Some(last), _) = call.steps.still_last(&claim).await? else { return Ok(None) };
            let now = self.store.now().await?;
            // The database's answer may have been delayed. The time since the request for it is an upper bound of that
            // delay.
            if self.lease.is_enough_for_call(last.message.time, now)
                && requested_at.elapsed() <= self.lease.call_time_out() / 2
            {
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
        let reconciling = Step::Reconciling { attempt, request: call.request_fingerprint.clone(), lease: self.lease };
        let Ok(claim) = call.steps.append(end, &reconciling).await? else { return Ok(self.in_progress()) };
        if self.planted.is(GuardBug::NoSearch) {
            return self.attempt(call, claim.end, attempt + 1).await;
        }
        match self.external.find(call.key, call.request).await {
            Ok(Found::Effect(response)) => self.confirm(call, &claim, response).await,
            Ok(Found::Nothing) => self.attempt(call, claim.end, attempt + 1).await,
            Ok(Found::Inconclusive(reason)) => self.record_unknown(call, &claim, attempt, reason).await,
            Err(error) => self.record_unknown(call, &claim, attempt, error.to_string()).await,
        }
    }

    /// Another runner has appended first, and its lease begins now.
    fn in_progress(&self) -> Guarded<X::Response> {
        Guarded::InProgress { lease_left: self.lease.length() }
    }

    async fn confirm(
        &self,
        call: &Call<'_, X>,
        claim: &NewStep,
        response: X::Response,
    ) -> Result<Guarded<X::Response>> {
        let confirmed =
            Step::Confirmed { request: call.request_fingerprint.clone(), response: Json::encode(&response)? };
        call.steps.append_after(claim, &confirmed).await??;
        Ok(Guarded::Confirmed { response, earlier: false })
    }

    async fn record_unknown(
        &self,
        call: &Call<'_, X>,
        claim: &NewStep,
        attempt: u32,
        reason: String,
    ) -> Result<Guarded<X::Response>> {
        tracing::warn!(target: "message_store::handling", stream = %call.steps.stream(), attempt, reason, "it is unknown whether a guarded call had its effect");
        let unknown = Step::Unknown { attempt, request: call.request_fingerprint.clone(), reason: reason.clone() };
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
