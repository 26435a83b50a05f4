//! Rules as values, for programs that run them.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;

use super::{Subject, rules};

/// The time limit of a rule. A store that takes longer is considered to hang.
const LIMIT: Duration = Duration::from_mins(2);
/// The number of rules that are checked at the same time.
const AT_ONCE: usize = 8;

/// One rule of the contract.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The name of the part of the suite, such as `appending`.
    pub part: &'static str,
    /// The rule as a sentence, with `_` between the words.
    pub name: &'static str,
    /// The test, which panics if the subject breaks the rule.
    pub check: fn(&dyn Subject) -> BoxFuture<'_, ()>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.part, self.name)
    }
}

/// Waits for a check, and panics if it takes longer than two minutes, so that a store that hangs fails the test.
pub async fn in_time(check: impl Future<Output = ()>) {
    assert!(tokio::time::timeout(LIMIT, check).await.is_ok(), "not over after {LIMIT:?}: the store hangs");
}

/// The names of the rules that a store breaks. Each rule is checked on a new subject. A rule that takes longer than
/// `limit` counts as broken.
///
/// # Panics
/// Panics outside of a Tokio runtime. It does not panic if a rule panics.
pub async fn broken_rules<S, F>(limit: Duration, subject: impl Fn() -> F) -> Vec<&'static str>
where
    S: Subject + 'static,
    F: Future<Output = S> + Send + 'static,
{
    broken_rules_among(rules(), limit, subject).await
}

/// As [`broken_rules`], among these rules.
///
/// # Panics
/// As [`broken_rules`].
pub async fn broken_rules_among<S, F>(
    rules: impl Iterator<Item = &'static Rule>,
    limit: Duration,
    subject: impl Fn() -> F,
) -> Vec<&'static str>
where
    S: Subject + 'static,
    F: Future<Output = S> + Send + 'static,
{
    let checks: Vec<_> = rules.map(|rule| broken(rule, limit, subject())).collect();
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
