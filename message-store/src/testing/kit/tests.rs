//! Tests of the kit: a wrong case must fail.

use serde::{Deserialize, Serialize};

use super::given;
use super::process::{Case, given_process};
use super::run::{Delivery, Run};
use super::storage::{message, messages};
use crate::entity::Projection;
use crate::handling::{Decider, ProcessManager, Reaction};
use crate::intents::Intent;
use crate::testing::PlantedBug;
use crate::{Message, Outcome};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Add {
        amount: u64,
    },
    /// Writes no event if the sum is zero.
    Double,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Added {
        amount: u64,
        // Not stored: a mistake that the kit must find.
        #[serde(skip)]
        note: u64,
    },
}

#[derive(Clone, Default)]
struct Sum(u64);

impl Projection for Sum {
    const CATEGORY: &'static str = "sum";
    type Event = Event;
    fn apply(&mut self, Event::Added { amount, .. }: &Event) {
        self.0 += amount;
    }
}

impl Decider for Sum {
    type Command = Command;
    fn decide(&self, command: &Command) -> Vec<Event> {
        match command {
            Command::Add { amount } => vec![Event::Added { amount: *amount, note: u64::from(*amount > 100) }],
            Command::Double if self.0 == 0 => vec![],
            Command::Double => vec![Event::Added { amount: self.0, note: 0 }],
        }
    }
}

#[test]
fn a_right_case_passes() {
    let added = Event::Added { amount: 1, note: 0 };
    given::<Sum>([added.clone()]).when(Command::Add { amount: 1 }).then([added.clone()]);
    given::<Sum>([added.clone()]).when(Command::Double).then([added]);
    given::<Sum>([]).when(Command::Double).then([]);
}

/// Refuses late commands, and reads the field that the runtime adds to its events.
#[derive(Clone, Default)]
struct Setting {
    set_by: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum SettingEvent {
    Set { sequence: Option<i64> },
    Refused {},
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum SettingCommand {
    Set {},
}

impl Projection for Setting {
    const CATEGORY: &'static str = "setting";
    type Event = SettingEvent;
    fn apply(&mut self, event: &SettingEvent) {
        if let SettingEvent::Set { sequence } = event {
            self.set_by = *sequence;
        }
    }
}

impl Decider for Setting {
    type Command = SettingCommand;
    const SEQUENCE_FIELD: Option<&'static str> = Some("sequence");
    fn decide(&self, _: &SettingCommand) -> Vec<SettingEvent> {
        if self.set_by.is_some() { vec![] } else { vec![SettingEvent::Set { sequence: None }] }
    }
    fn decide_late(&self, _: &SettingCommand) -> Vec<SettingEvent> {
        vec![SettingEvent::Refused {}]
    }
}

#[test]
fn a_decider_that_refuses_what_is_late_and_reads_its_sequence_passes() {
    given::<Setting>([]).when(SettingCommand::Set {}).then([SettingEvent::Set { sequence: None }]);
    given::<Setting>([SettingEvent::Set { sequence: Some(1) }]).when(SettingCommand::Set {}).then([]);
}

#[test]
fn a_late_command_leads_to_what_the_case_says() {
    given::<Setting>([]).when(SettingCommand::Set {}).then_late([SettingEvent::Refused {}]);
    let added = Event::Added { amount: 1, note: 0 };
    given::<Sum>([]).when(Command::Add { amount: 1 }).then_late([added]);
}

#[test]
#[should_panic(expected = "what Set, delivered late, leads to is not as expected:\n--- expected\n+++ found\n")]
fn other_events_of_a_late_command_than_expected_fail_the_case() {
    given::<Setting>([]).when(SettingCommand::Set {}).then_late([SettingEvent::Set { sequence: None }]);
}

/// Pays once for each order, and says when an order is paid again.
#[derive(Clone, Default)]
struct Till;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Pay {
    Pay { order: String, amount: u64 },
    Tip { amount: u64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Paid {
    Paid { amount: u64 },
    PaidAgain { is_conflict: bool },
}

impl Projection for Till {
    const CATEGORY: &'static str = "till";
    type Event = Paid;
    fn apply(&mut self, _: &Paid) {}
}

impl Decider for Till {
    type Command = Pay;

    fn decide(&self, command: &Pay) -> Vec<Paid> {
        let (Pay::Pay { amount, .. } | Pay::Tip { amount }) = command;
        vec![Paid::Paid { amount: *amount }]
    }

    fn decide_repeat(&self, _: &Pay, repeat: &Outcome) -> Vec<Paid> {
        vec![Paid::PaidAgain { is_conflict: matches!(repeat, Outcome::Conflict { .. }) }]
    }

    fn intent(command: &Pay) -> Option<Intent> {
        match command {
            Pay::Pay { order, .. } => Some(Intent::new("order", [order.clone()])),
            Pay::Tip { .. } => None,
        }
    }
}

fn pay(order: &str, amount: u64) -> Pay {
    Pay::Pay { order: order.to_owned(), amount }
}

#[test]
fn a_repeat_leads_to_what_the_case_says() {
    given::<Till>([]).when(pay("7", 5)).then_repeat(pay("7", 5), [Paid::PaidAgain { is_conflict: false }]);
    let given = given::<Till>([Paid::Paid { amount: 1 }]);
    given.when(pay("7", 5)).then_repeat(pay("7", 6), [Paid::PaidAgain { is_conflict: true }]);
}

#[test]
#[should_panic(
    expected = "delivered once, what the repeat Pay { order: \"7\", amount: 5 } leads to is not as expected"
)]
fn other_events_of_a_repeat_than_expected_fail_the_case() {
    given::<Till>([]).when(pay("7", 5)).then_repeat(pay("7", 5), []);
}

#[test]
#[should_panic(expected = "is no repeat of Tip { amount: 5 }")]
fn a_message_without_an_intent_is_no_repeat() {
    given::<Till>([]).when(Pay::Tip { amount: 5 }).then_repeat(Pay::Tip { amount: 5 }, []);
}

#[tokio::test]
async fn twin_without_reservations_a_repeat_is_carried_out_and_the_case_fails_on_it() {
    let (run, repeat) = (message(&pay("7", 5), &[]), message(&pay("7", 5), &[]));
    let run = Run { given: vec![], others: vec![], command: run, bug: Some(PlantedBug::NoReservation) };
    let (outcome, _) = run.events_of_repeat::<Till>(1, repeat, false).await;
    assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
}

#[test]
#[should_panic(expected = "what Add")]
fn other_events_than_expected_fail_the_case() {
    given::<Sum>([]).when(Command::Add { amount: 1 }).then([]);
}

#[test]
#[should_panic(expected = "is read back as something else")]
fn an_event_that_does_not_survive_storage_fails_the_case() {
    given::<Sum>([]).when(Command::Add { amount: 101 }).then([Event::Added { amount: 101, note: 1 }]);
}

async fn run(delivery: Delivery, given: &[Event], command: &Command, bug: PlantedBug) -> usize {
    Run { given: messages(given, &[]), others: Vec::new(), command: message(command, &[]), bug: Some(bug) }
        .events::<Sum>(delivery)
        .await
        .len()
}

#[tokio::test]
#[should_panic(expected = "delivery 2")]
async fn twin_without_sequences_the_second_delivery_is_noticed() {
    run(Delivery { times: 2, ..Delivery::default() }, &[], &Command::Add { amount: 1 }, PlantedBug::NoSequences).await;
}

#[tokio::test]
async fn twin_with_the_mark_alone_the_late_delivery_writes_nothing_and_the_case_fails_on_it() {
    let late = Delivery { is_late: true, ..Delivery::default() };
    assert_eq!(run(late, &[], &Command::Add { amount: 1 }, PlantedBug::MarkAlone).await, 0);
}

#[tokio::test]
async fn twin_with_a_decision_on_what_is_remembered_the_command_is_lost_and_the_case_fails_on_it() {
    let behind = Delivery { knows: Some(0), ..Delivery::default() };
    let given = [Event::Added { amount: 1, note: 0 }];
    assert_eq!(run(behind, &given, &Command::Double, PlantedBug::RememberedNothing).await, 0);
    assert_eq!(run(behind, &given, &Command::Double, PlantedBug::MarkAlone).await, 1, "which is the one to blame");
}

/// Counts, and says each number to another stream.
#[derive(Clone, Default)]
struct Counter(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Counted {
    Counted { to: u64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Count {
    Count {},
    /// Only if something was counted.
    CountOn {},
}

#[derive(Serialize)]
enum Say {
    Say { number: u64 },
}

impl Projection for Counter {
    const CATEGORY: &'static str = "counter";
    type Event = Counted;
    fn apply(&mut self, Counted::Counted { to }: &Counted) {
        self.0 = *to;
    }
}

impl ProcessManager for Counter {
    type Message = Count;

    fn process_id(message: &Message, _: &Count) -> Option<String> {
        message.correlation_id("counter")
    }

    fn react(&self, count: &Count) -> Reaction<Counted> {
        let number = self.0 + 1;
        match count {
            Count::CountOn {} if self.0 == 0 => Reaction::none(),
            _ => Reaction::event(Counted::Counted { to: number }).send("voice", "1", &Say::Say { number }),
        }
    }
}

fn counted(to: u64) -> Counted {
    Counted::Counted { to }
}

fn says(number: u64) -> Reaction<Counted> {
    Reaction::event(counted(number)).send("voice", "1", &Say::Say { number })
}

#[test]
fn a_right_case_of_a_process_passes() {
    given_process::<Counter>([]).when(Count::Count {}).then(says(1));
    given_process::<Counter>([counted(1), counted(2)]).when(Count::CountOn {}).then(says(3));
    given_process::<Counter>([]).when(Count::CountOn {}).then(Reaction::none());
}

#[test]
#[should_panic(expected = "the reaction to Count")]
fn another_message_than_expected_fails_the_case() {
    let other = Reaction::event(counted(1)).send("voice", "1", &Say::Say { number: 2 });
    given_process::<Counter>([]).when(Count::Count {}).then(other);
}

async fn written(times: u32, is_late: bool, known: Option<usize>, bug: PlantedBug) -> usize {
    let (given, bug) = (messages(&[counted(1)], &[]), Some(bug));
    let (events, sent, _) =
        Case { given, message: message(&Count::CountOn {}, &[]), bug }.run::<Counter>(times, is_late, known).await;
    assert_eq!(events.len(), sent.len(), "all of a reaction or nothing");
    sent.len()
}

#[tokio::test]
#[should_panic(expected = "delivery 2")]
async fn twin_without_sequences_the_second_delivery_to_a_process_is_noticed() {
    written(2, false, None, PlantedBug::NoSequences).await;
}

#[tokio::test]
async fn twin_with_the_mark_alone_a_process_loses_a_late_message_and_the_case_fails_on_it() {
    assert_eq!(written(1, true, None, PlantedBug::MarkAlone).await, 0);
}

#[tokio::test]
async fn twin_with_a_reaction_on_what_is_remembered_a_process_loses_a_message_and_the_case_fails_on_it() {
    assert_eq!(written(1, false, Some(0), PlantedBug::RememberedNothing).await, 0);
    assert_eq!(written(1, false, Some(0), PlantedBug::MarkAlone).await, 1, "which is the one to blame");
}

/// A state with a part that is not stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Forgetful {
    sum: u64,
    #[serde(skip)]
    last: u64,
}

impl Projection for Forgetful {
    const CATEGORY: &'static str = "sum";
    type Event = Event;
    fn apply(&mut self, Event::Added { amount, .. }: &Event) {
        (self.sum, self.last) = (self.sum + amount, *amount);
    }
}

#[test]
#[should_panic(expected = "from a snapshot, the state is Forgetful { sum: 3, last: 0 }")]
fn a_state_that_a_snapshot_does_not_restore_fails() {
    super::assert_snapshots::<Forgetful>([Event::Added { amount: 3, note: 0 }]);
}
