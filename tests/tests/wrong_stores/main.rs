//! Tests of the conformance suite. Each wrong store has one fault, and breaks the rules that it declares and no others.
//! The right store breaks no rule, and every rule is broken by a wrong store.
//!
//! Each store is tried with the rules that it declares, and with one of eight others. `MESSAGE_STORE_ALL_RULES=1` tries
//! each with all rules, which takes minutes.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use message_store::testing::conformance::{Rule, broken_rules_among, rules};

/// Declares wrong stores, each with the rules that it breaks, and lists them, so that no declared store is forgotten.
macro_rules! wrong_stores {
    ($($(#[$doc:meta])* $name:ident $(($state:ty))? breaks [$($rule:ident)*] { $($body:tt)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Default)]
            pub(crate) struct $name $(($state))?;

            #[async_trait::async_trait]
            impl Wrong for $name {
                fn breaks(&self) -> &'static [&'static str] {
                    &[$(stringify!($rule)),*]
                }

                $($body)*
            }
        )*

        pub(crate) const ALL: &[fn() -> std::sync::Arc<dyn Wrong>] = &[$(|| std::sync::Arc::new($name::default())),*];
    };
}

/// A copy of a value with other values of these fields.
macro_rules! changed {
    ($value:expr, $($field:ident = $new:expr),+) => {{
        let new = ($($new,)+);
        let mut changed = $value;
        let ($($field,)+) = new;
        $(changed.$field = $field;)+
        changed
    }};
}

mod appends;
mod archives;
mod categories;
mod conditions;
mod contents;
mod erasures;
mod filters;
mod groups;
mod keys;
mod order;
mod read_models;
mod refusals;
mod repeats;
mod service_reports;
mod snapshots;
mod streams;
mod subject;
mod timers;
mod versions;
mod wake_ups;
mod windows;
mod wrong;

use subject::WrongSubject;
use wrong::Wrong;

/// The time limit of a rule. A rule that takes longer counts as broken.
const LIMIT: Duration = Duration::from_secs(10);
/// The number of stores that are tested at the same time.
const AT_ONCE: usize = 6;

type Make = fn() -> Arc<dyn Wrong>;

fn wrong_stores() -> impl Iterator<Item = Make> {
    let kinds = [
        appends::ALL,
        versions::ALL,
        refusals::ALL,
        repeats::ALL,
        contents::ALL,
        streams::ALL,
        categories::ALL,
        filters::ALL,
        order::ALL,
        wake_ups::ALL,
        keys::ALL,
        windows::ALL,
        groups::ALL,
        timers::ALL,
        conditions::ALL,
        service_reports::ALL,
        snapshots::ALL,
        read_models::ALL,
        archives::ALL,
        erasures::ALL,
    ];
    kinds.into_iter().flatten().copied()
}

/// A store without a fault.
#[derive(Debug)]
struct Right;

impl Wrong for Right {
    fn breaks(&self) -> &'static [&'static str] {
        &[]
    }
}

/// One of so many rules that a store does not declare is tried.
const SAMPLE: usize = 8;

/// The rules that the store with this number is tried with.
fn tried_rules(number: usize, declared: &'static [&'static str]) -> impl Iterator<Item = &'static Rule> {
    let all = std::env::var_os("MESSAGE_STORE_ALL_RULES").is_some();
    let is_tried = move |(place, rule): &(usize, &'static Rule)| {
        all || declared.is_empty() || declared.contains(&rule.name) || (place + number).is_multiple_of(SAMPLE)
    };
    rules().enumerate().filter(is_tried).map(|(_, rule)| rule)
}

/// A wrong store, and the rules that it breaks.
async fn tried(number: usize, make: Make) -> (Arc<dyn Wrong>, Vec<&'static str>) {
    let wrong = make();
    let broken = broken_rules_among(tried_rules(number, wrong.breaks()), LIMIT, move || WrongSubject::new(make)).await;
    (wrong, broken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_wrong_store_breaks_its_rules_and_no_others() {
    // Hundreds of rules panic here, as expected. Their backtraces would take longer than the rules.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let right: Make = || Arc::new(Right);
    let stores = wrong_stores().chain([right]).enumerate();
    let trials = stream::iter(stores).map(|(number, make)| tokio::spawn(tried(number, make)));
    let trials: Vec<_> = trials.buffered(AT_ONCE).map(Result::unwrap).collect().await;
    let mut differences = Vec::new();
    for (wrong, broken) in trials {
        if wrong.breaks() != broken {
            differences.push(format!("{wrong:?} breaks [{}]", broken.join(" ")));
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn every_rule_is_broken_by_a_wrong_store() {
    let broken: BTreeSet<&str> = wrong_stores().flat_map(|make| make().breaks()).copied().collect();
    let kept: Vec<&str> = rules().map(|rule| rule.name).filter(|name| !broken.contains(name)).collect();
    assert!(kept.is_empty(), "no wrong store breaks these rules: {kept:#?}");
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = rules().map(|rule| rule.name).collect();
    assert_eq!(names.len(), rules().count());
}
