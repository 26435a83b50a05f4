//! Golden files find a form that is no longer read, or no longer written as before.

use message_store::Upcaster;
use message_store::testing::{Golden, given_stored};
use serde::{Deserialize, Serialize};

use super::releases::second::{self, Event};

fn golden(upcasters: &[Upcaster]) -> Golden<Event> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/effects/golden");
    Golden::in_folder(folder).upcasters(upcasters)
}

fn samples() -> Vec<Event> {
    vec![Event::Deposited { amount: 7, currency: "EUR".into() }, Event::Charged { amount: 3 }, Event::Frozen {}]
}

#[test]
fn every_form_is_read_and_every_variant_is_written_as_ever() {
    golden(second::UPCASTERS).check(samples());
}

#[test]
fn twin_without_any_one_of_the_upcasters_a_file_is_misread() {
    for missing in 0..second::UPCASTERS.len() {
        let mut upcasters = second::UPCASTERS.to_vec();
        let removed = upcasters.remove(missing);
        assert!(!golden(&upcasters).problems(samples()).is_empty(), "{removed:?}");
    }
}

#[test]
fn a_variant_without_a_sample_or_a_file_is_named() {
    let problems = golden(second::UPCASTERS).problems([Event::Charged { amount: 4 }]);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].contains("Charged { amount: 4 } is written in a form that no file"), "{problems:?}");
    assert_eq!(problems[1..], ["the variant Deposited has no sample", "the variant Frozen has no sample"]);
}

/// The event has another field, and nobody has raised its version.
#[derive(Debug, Serialize, Deserialize)]
enum Changed {
    Charged {
        amount: u64,
        #[serde(default)]
        reason: String,
    },
}

#[test]
fn a_form_that_changes_without_a_version_is_named() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/effects/golden");
    let problems =
        Golden::<Changed>::in_folder(folder).problems([Changed::Charged { amount: 3, reason: "fee".into() }]);
    let is_named = |part: &str| problems.iter().any(|problem| problem.contains(part));
    assert!(is_named("is written in a form that no file") && is_named("Charged.1.json: it is read as"), "{problems:?}");
}

#[test]
fn stored_events_of_every_form_lead_to_the_state_of_today() {
    let stored = [("Paid", 1, r#"{"amount":100}"#), ("Moved", 1, r#"{"amount":50,"fee":3}"#), ("Pinged", 1, "{}")];
    given_stored::<second::Wallet>(&stored).then_state(second::Wallet { balance: 147, is_frozen: false, events: 3 });
    let command = super::releases::deposit(7);
    let deposited = Event::Deposited { amount: 7, currency: "CZK".into() };
    given_stored::<second::Wallet>(&stored).when(command.clone()).then([deposited]);
    given_stored::<second::Wallet>(&[("Frozen", 1, "{}")]).when(command).then([]);
}

#[test]
#[should_panic(expected = "has version 3, and this program knows version 2")]
fn a_stored_event_of_an_unknown_version_fails_the_case() {
    given_stored::<second::Wallet>(&[("Deposited", 3, "{}")]).then_state(second::Wallet::default());
}
