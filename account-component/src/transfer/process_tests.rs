//! The reactions of a transfer, case by case.

use std::time::Duration;

use message_store::handling::Reaction;
use message_store::store::Due;
use message_store::testing::given_process;

use super::Transfer;
use super::messages::{Event, Received};
use crate::{Command, Money, Reason, component};

const ID: &str = "7";
const DAY: Duration = Duration::from_hours(24);

fn money() -> Money {
    "5.00".parse().unwrap()
}

fn time() -> jiff::Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn transfer() -> Received {
    Received::Transfer {
        transfer_id: ID.into(),
        withdrawal_account_id: "ann".into(),
        deposit_account_id: "bob".into(),
        amount: money(),
        time: time(),
    }
}

fn initiated() -> Event {
    Event::Initiated {
        transfer_id: ID.into(),
        withdrawal_account_id: "ann".into(),
        deposit_account_id: "bob".into(),
        amount: money(),
        time: time(),
    }
}

fn withdrawn() -> Event {
    Event::Withdrawn { transfer_id: ID.into() }
}

fn time_out() -> Received {
    Received::TimeOut { transfer_id: ID.into() }
}

fn timed_out() -> Event {
    Event::TimedOut { transfer_id: ID.into() }
}

fn deposit_refused() -> Event {
    Event::DepositRefused { transfer_id: ID.into(), reason: Reason::AccountClosed }
}

fn deposited(deposit_id: &str, account: &str) -> Received {
    Received::Deposited { deposit_id: deposit_id.into(), account_id: account.into(), amount: money() }
}

fn deposit_rejected(deposit_id: &str, account: &str) -> Received {
    let (deposit_id, account_id) = (deposit_id.to_owned(), account.to_owned());
    Received::DepositRejected { deposit_id, account_id, amount: money(), reason: Reason::AccountClosed }
}

fn withdrawal(account: &str) -> Received {
    let (withdrawal_id, account_id) = ("transfer-out:7".to_owned(), account.to_owned());
    Received::Withdrawn { withdrawal_id, account_id, amount: money() }
}

fn sends(reaction: Reaction<Event>, command: &Command) -> Reaction<Event> {
    reaction.send(component::COMMANDS, command.account_id(), command)
}

fn deposit(deposit_id: &str, account: &str) -> Command {
    let (deposit_id, account_id) = (deposit_id.to_owned(), account.to_owned());
    Command::Deposit { deposit_id, account_id, amount: money(), time: time(), expected_version: None }
}

#[test]
fn a_transfer_begins_with_a_withdrawal() {
    let withdraw = Command::Withdraw {
        withdrawal_id: "transfer-out:7".into(),
        account_id: "ann".into(),
        amount: money(),
        time: time(),
        expected_version: None,
    };
    let begun = sends(Reaction::event(initiated()), &withdraw);
    let begun = begun.timer("time-out", Due::After(DAY), "fundsTransfer:command", ID, &time_out());
    given_process::<Transfer>([]).when(transfer()).then(begun);
    given_process::<Transfer>([initiated()]).when(transfer()).then(Reaction::none());
}

#[test]
fn money_that_was_withdrawn_is_deposited() {
    given_process::<Transfer>([initiated()])
        .when(withdrawal("ann"))
        .then(sends(Reaction::event(withdrawn()), &deposit("transfer-in:7", "bob")).cancel_timer("time-out"));
    given_process::<Transfer>([initiated(), withdrawn()])
        .when(deposited("transfer-in:7", "bob"))
        .then(Reaction::event(Event::Transferred { transfer_id: ID.into() }));
}

#[test]
fn a_withdrawal_that_is_rejected_cancels_the_transfer() {
    let rejected = Received::WithdrawalRejected {
        withdrawal_id: "transfer-out:7".into(),
        account_id: "ann".into(),
        amount: money(),
        reason: Reason::InsufficientFunds,
    };
    let cancelled = Event::Cancelled { transfer_id: ID.into(), reason: Reason::InsufficientFunds };
    let reaction = Reaction::event(cancelled.clone()).cancel_timer("time-out");
    given_process::<Transfer>([initiated()]).when(rejected.clone()).then(reaction);
    given_process::<Transfer>([initiated(), cancelled]).when(rejected).then(Reaction::none());
}

#[test]
fn a_withdrawal_after_the_time_out_is_refunded() {
    given_process::<Transfer>([initiated()]).when(time_out()).then(Reaction::event(timed_out()));
    given_process::<Transfer>([initiated(), timed_out()])
        .when(withdrawal("ann"))
        .then(sends(Reaction::event(withdrawn()), &deposit("transfer-back:7", "ann")).cancel_timer("time-out"));
    given_process::<Transfer>([initiated(), timed_out(), withdrawn()])
        .when(deposited("transfer-back:7", "ann"))
        .then(Reaction::event(Event::Refunded { transfer_id: ID.into() }));
}

#[test]
fn a_time_out_after_the_withdrawal_changes_nothing() {
    for given in [vec![], vec![initiated(), withdrawn()], vec![initiated(), timed_out()]] {
        given_process::<Transfer>(given).when(time_out()).then(Reaction::none());
    }
}

#[test]
fn a_deposit_that_is_rejected_is_refunded() {
    given_process::<Transfer>([initiated(), withdrawn()])
        .when(deposit_rejected("transfer-in:7", "bob"))
        .then(sends(Reaction::event(deposit_refused()), &deposit("transfer-back:7", "ann")));
    given_process::<Transfer>([initiated(), withdrawn(), deposit_refused()])
        .when(deposited("transfer-back:7", "ann"))
        .then(Reaction::event(Event::Refunded { transfer_id: ID.into() }));
    let refused = Event::RefundRefused { transfer_id: ID.into(), reason: Reason::AccountClosed };
    given_process::<Transfer>([initiated(), withdrawn(), deposit_refused()])
        .when(deposit_rejected("transfer-back:7", "ann"))
        .then(Reaction::event(refused));
}

/// Others may use the same ids: for other accounts, at another stage, or for another kind of request.
#[test]
fn events_for_which_the_transfer_does_not_wait_change_nothing() {
    for (given, other) in [
        (vec![], withdrawal("ann")),
        (vec![initiated()], withdrawal("eve")),
        (vec![initiated()], deposited("transfer-in:7", "bob")),
        (vec![initiated(), withdrawn()], withdrawal("ann")),
        (vec![initiated(), withdrawn()], deposited("transfer-in:7", "eve")),
        (vec![initiated(), withdrawn()], deposited("transfer-back:7", "ann")),
    ] {
        given_process::<Transfer>(given).when(other).then(Reaction::none());
    }
}
