//! The conformance suite: the rules of the contract [`MessageStore`](crate::MessageStore), as tests. The suite is
//! unstable, and destructive: use it on empty stores.
//!
//! A rule is an async function. Its name is a sentence, and it panics if the store breaks the rule. A backend turns
//! each rule into a test:
//!
//! ```ignore
//! message_store::conformance_tests!(MySubject::new().await);
//! ```
//!
//! [`broken_rules`] runs all rules, and returns the names of those that a store breaks.

/// Declares the rules of a part, and lists them for [`rules`] and [`conformance_tests`](crate::conformance_tests), so
/// that no declared rule is forgotten.
macro_rules! contract {
    ($dollar:tt $part:ident $tests:ident { $($(#[$doc:meta])* async fn $name:ident($subject:ident) $body:block)* }) => {
        $(
            $(#[$doc])*
            #[allow(missing_docs)]
            pub async fn $name($subject: &dyn Subject) $body
        )*

        /// The rules of this part.
        pub const RULES: &[Rule] = &[$(Rule {
            part: stringify!($part),
            name: stringify!($name),
            check: |subject| Box::pin($name(subject)),
        }),*];

        #[doc(hidden)]
        #[macro_export]
        macro_rules! $tests {
            ($dollar subject:expr) => {
                mod $part {
                    #[allow(unused_imports)]
                    use super::*;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                        async fn $name() {
                            let subject = $dollar subject;
                            let check = $crate::testing::conformance::$part::$name(&subject);
                            $crate::testing::conformance::in_time(check).await;
                        }
                    )*
                }
            };
        }
    };
}

/// Declares the parts, and lists their rules.
macro_rules! parts {
    ($dollar:tt $($part:ident $tests:ident)*) => {
        $(pub mod $part;)*

        /// Every rule of every part.
        pub fn rules() -> impl Iterator<Item = &'static Rule> {
            [$($part::RULES),*].into_iter().flatten()
        }

        /// Creates a test for each rule. The argument is an expression (it may `.await`) that returns a new
        /// [`Subject`](crate::testing::conformance::Subject).
        #[macro_export]
        macro_rules! conformance_tests {
            ($dollar subject:expr) => { $($crate::$tests! { $dollar subject })* };
        }
    };
}

mod given;
mod rule;
mod subject;

parts! {$
    appending appending_tests
    versions versions_tests
    refusing refusing_tests
    repeating repeating_tests
    conflicts conflicts_tests
    contents contents_tests
    streams streams_tests
    categories categories_tests
    look_ups look_ups_tests
    batches batches_tests
    filtering filtering_tests
    groups groups_tests
    order order_tests
    waking waking_tests
    identity identity_tests
    keys keys_tests
    key_appends key_appends_tests
    windows windows_tests
    sweeps sweeps_tests
    slots slots_tests
    fences fences_tests
    timers timers_tests
    conditions conditions_tests
    matches matches_tests
    boundaries boundaries_tests
    service_reports service_reports_tests
    snapshots snapshots_tests
    read_models read_models_tests
    archive archive_tests
    erasure erasure_tests
}

pub use rule::{Rule, broken_rules, broken_rules_among, in_time};
pub use subject::{Cannot, Subject};
