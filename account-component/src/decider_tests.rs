//! The rules, one outcome in each test. The kit also delivers every case twice and late, and stores and reads its
//! messages.

use jiff::Timestamp;
use message_store::NewMessage;
use message_store::testing::given;

use crate::{Account, Command, Event, Money, Reason};

const OPEN: i64 = 1;
const MOVE: i64 = 11;
const CLOSE: i64 = 111;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

fn opened() -> Event {
    Event::Opened { account_id: "123".into(), customer_id: "c1".into(), time: at(OPEN) }
}

fn closed() -> Event {
    Event::Closed { account_id: "123".into(), time: at(CLOSE) }
}

fn deposited(amount: &str) -> Event {
    Event::Deposited { deposit_id: "d1".into(), account_id: "123".into(), amount: money(amount), time: at(MOVE) }
}

fn deposit(amount: &str) -> Command {
    Command::Deposit {
        deposit_id: "d1".into(),
        account_id: "123".into(),
        amount: money(amount),
        time: at(MOVE),
        expected_version: None,
    }
}

fn deposit_rejected(amount: &str, reason: Reason) -> Event {
    let (deposit_id, account_id) = ("d1".into(), "123".into());
    Event::DepositRejected { deposit_id, account_id, amount: money(amount), time: at(MOVE), reason }
}

fn withdraw(amount: &str) -> Command {
    Command::Withdraw {
        withdrawal_id: "w1".into(),
        account_id: "123".into(),
        amount: money(amount),
        time: at(MOVE),
        expected_version: None,
    }
}

fn withdrawn(amount: &str) -> Event {
    Event::Withdrawn { withdrawal_id: "w1".into(), account_id: "123".into(), amount: money(amount), time: at(MOVE) }
}

fn withdrawal_rejected(amount: &str, reason: Reason) -> Event {
    let (withdrawal_id, account_id) = ("w1".into(), "123".into());
    Event::WithdrawalRejected { withdrawal_id, account_id, amount: money(amount), time: at(MOVE), reason }
}

fn open() -> Command {
    Command::Open { account_id: "123".into(), customer_id: "c1".into(), time: at(OPEN) }
}

fn close() -> Command {
    Command::Close { account_id: "123".into(), time: at(CLOSE), expected_version: None }
}

#[test]
fn an_account_is_opened() {
    given::<Account>([]).when(open()).then([opened()]);
}

#[test]
fn an_open_account_is_not_opened_again() {
    given::<Account>([opened()]).when(open()).then([]);
}

#[test]
fn a_closed_account_is_not_opened_again() {
    given::<Account>([opened(), closed()]).when(open()).then([]);
}

#[test]
fn money_is_deposited() {
    given::<Account>([opened()]).when(deposit("7.50")).then([deposited("7.50")]);
}

#[test]
fn a_second_message_for_a_deposit_changes_nothing_whatever_it_says() {
    given::<Account>([opened()]).when(deposit("7.50")).then_repeat(deposit("7.50"), []);
    given::<Account>([opened()]).when(deposit("7.50")).then_repeat(deposit("9.90"), []);
}

#[test]
fn a_deposit_of_nothing_or_less_is_rejected() {
    for amount in ["0.00", "-50.00"] {
        given::<Account>([opened()]).when(deposit(amount)).then([deposit_rejected(amount, Reason::AmountNotPositive)]);
    }
}

#[test]
fn a_deposit_to_an_account_that_is_not_open_is_rejected() {
    given::<Account>([]).when(deposit("7.50")).then([deposit_rejected("7.50", Reason::AccountNotOpen)]);
    given::<Account>([opened(), closed()])
        .when(deposit("7.50"))
        .then([deposit_rejected("7.50", Reason::AccountClosed)]);
}

#[test]
fn a_deposit_or_withdrawal_whose_id_is_empty_or_absurdly_long_is_rejected() {
    for id in [String::new(), "x".repeat(256), "x".repeat(100_000)] {
        let (account_id, amount, time, reason) = ("123", money("1.00"), at(MOVE), Reason::InvalidId);
        given::<Account>([opened(), deposited("7.50")])
            .when(Command::Deposit {
                deposit_id: id.clone(),
                account_id: account_id.into(),
                amount,
                time,
                expected_version: None,
            })
            .then([Event::DepositRejected {
                deposit_id: id.clone(),
                account_id: account_id.into(),
                amount,
                time,
                reason,
            }]);
        given::<Account>([opened(), deposited("7.50")])
            .when(Command::Withdraw {
                withdrawal_id: id.clone(),
                account_id: account_id.into(),
                amount,
                time,
                expected_version: None,
            })
            .then([Event::WithdrawalRejected {
                withdrawal_id: id,
                account_id: account_id.into(),
                amount,
                time,
                reason,
            }]);
    }
    let longest = "x".repeat(255);
    let (deposit_id, account_id, amount, time) = (longest, "123".to_owned(), money("1.00"), at(MOVE));
    given::<Account>([opened()])
        .when(Command::Deposit {
            deposit_id: deposit_id.clone(),
            account_id: account_id.clone(),
            amount,
            time,
            expected_version: None,
        })
        .then([Event::Deposited { deposit_id, account_id, amount, time }]);
}

#[test]
fn a_deposit_to_an_account_with_an_absurdly_long_id_is_rejected() {
    let (deposit_id, account_id, amount, time) = ("d1".to_owned(), "x".repeat(129), money("1.00"), at(MOVE));
    let reason = Reason::InvalidId;
    given::<Account>([])
        .when(Command::Deposit {
            deposit_id: deposit_id.clone(),
            account_id: account_id.clone(),
            amount,
            time,
            expected_version: None,
        })
        .then([Event::DepositRejected { deposit_id, account_id, amount, time, reason }]);
}

#[test]
fn money_is_withdrawn_down_to_the_last_hundredth() {
    given::<Account>([opened(), deposited("7.50")]).when(withdraw("7.50")).then([withdrawn("7.50")]);
}

#[test]
fn a_withdrawal_above_the_balance_is_rejected() {
    given::<Account>([opened(), deposited("7.50")])
        .when(withdraw("7.51"))
        .then([withdrawal_rejected("7.51", Reason::InsufficientFunds)]);
}

#[test]
fn a_withdrawal_of_nothing_or_less_is_rejected() {
    given::<Account>([opened(), deposited("7.50")])
        .when(withdraw("-1.00"))
        .then([withdrawal_rejected("-1.00", Reason::AmountNotPositive)]);
}

#[test]
fn a_withdrawal_from_an_account_that_is_not_open_is_rejected() {
    given::<Account>([]).when(withdraw("1.00")).then([withdrawal_rejected("1.00", Reason::AccountNotOpen)]);
    given::<Account>([opened(), deposited("7.50"), closed()])
        .when(withdraw("1.00"))
        .then([withdrawal_rejected("1.00", Reason::AccountClosed)]);
}

#[test]
fn an_open_account_is_closed_once() {
    given::<Account>([opened()]).when(close()).then([closed()]);
    given::<Account>([opened(), closed()]).when(close()).then([]);
    given::<Account>([]).when(close()).then([]);
}

#[test]
fn messages_are_written_as_eventide_writes_them() {
    let command = NewMessage::from_variant(&deposit("7.50")).unwrap();
    assert_eq!(command.message_type, "Deposit");
    assert_eq!(
        command.data.text(),
        r#"{"depositId":"d1","accountId":"123","amount":7.50,"time":"1970-01-01T00:00:11Z"}"#
    );
    let event = NewMessage::from_variant(&withdrawal_rejected("7.51", Reason::InsufficientFunds)).unwrap();
    assert_eq!(event.message_type, "WithdrawalRejected");
    assert!(event.data.text().ends_with(r#""reason":"insufficientFunds"}"#), "{:?}", event.data);
}
