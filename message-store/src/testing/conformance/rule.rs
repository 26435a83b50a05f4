//! Rules as values, to be run by a program.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;

use super::{Subject, rules};

/// How long a rule may take before the store counts as one that hangs.
const LIMIT: Duration = Duration::from_mins(2);
/// How many rules are checked at once.
const AT_ONCE: usize = 8;

/// One promise of the contract.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The part of the contract.
    pub part: &'static str,
    /// The promise, as a sentence.
    pub name: &'static str,
    /// Panics when the subject breaks the promise.
    pub check: fn(&dyn Subject) -> BoxFuture<'_, ()>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.part, self.name)
    }
}

/// Waits for a check, and panics when it takes longer than two minutes: a store that hangs is convicted, and not waited
/// for.
pub async fn in_time(check: impl Future<Output = ()>) {
    assert!(tokio::time::timeout(LIMIT, check).await.is_ok(), "not over after {LIMIT:?}: the store hangs");
}

/// The rules that a store breaks, each checked on a subject of its own. A rule that takes longer than `limit` is
/// broken.
///
/// # Panics
/// Outside of a Tokio runtime. A rule that panics does not: it is listed.
pub async fn broken_rules<S, F>(limit: Duration, subject: impl Fn() -> F) -> Vec<&'static str>
where
    S: Subject + 'static,
    F: Future<Output = S> + Send + 'static,
{
    let checks: Vec<_> = rules().map(|rule| broken(rule, limit, subject())).collect();
    stream::iter(checks).buffered(AT_ONCE).filter_map(std::future::ready).collect().await
}

/// The name of a rule, if a subject breaks it.
async fn broken<S, F>(rule: &'static Rule, limit: Duration, subject: F) -> Option<&'static str>
where
    S: Subject + 'static,
    F: Future<Output = S> + Send + 'static,
{
    let subject = subject.await;
    let check = async move { tokio::time::timeout(limit, (rule.check)(&subject)).await };
    let is_kept = matches!(tokio::spawn(check).await, Ok(Ok(())));
    (!is_kept).then_some(rule.name)
}
