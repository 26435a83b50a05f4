//! Every message that this component has ever written is still read, and is still written as before.
//!
//! `golden/` has one file for every form. No form has changed so far, so there are no upcasters.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;

use account_component::transfer::Transfer;
use account_component::transfer::messages::{Event as TransferEvent, Received};
use account_component::{Account, Command, Event, Reason, Statement};
use message_store::entity::Projection;
use message_store::handling::{Decider, ProcessManager};
use message_store::testing::Golden;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

const REASONS: [Reason; 5] = [
    Reason::InsufficientFunds,
    Reason::AmountNotPositive,
    Reason::AccountNotOpen,
    Reason::AccountClosed,
    Reason::InvalidId,
];

/// Fails to compile when there is another reason. Add it to [`REASONS`].
const fn all_reasons(reason: Reason) {
    match reason {
        Reason::InsufficientFunds
        | Reason::AmountNotPositive
        | Reason::AccountNotOpen
        | Reason::AccountClosed
        | Reason::InvalidId => {}
    }
}

struct Values {
    account_id: String,
    amount: account_component::Money,
    time: message_store::Timestamp,
}

fn values() -> Values {
    let (amount, time) = ("11.50".parse().unwrap(), "2026-01-01T00:00:00Z".parse().unwrap());
    Values { account_id: "123".into(), amount, time }
}

#[test]
fn every_command_of_an_account_is_read_and_written_as_ever() {
    let Values { account_id, amount, time } = values();
    let (id, deposit_id, withdrawal_id) = (|| account_id.clone(), "d1".to_owned(), "w1".to_owned());
    let samples = [
        Command::Open { account_id: id(), customer_id: "c1".into(), time },
        Command::Deposit { deposit_id, account_id: id(), amount, time, expected_version: None },
        Command::Withdraw { withdrawal_id, account_id: id(), amount, time, expected_version: None },
        Command::Close { account_id: id(), time, expected_version: None },
        Command::Deposit { deposit_id: "d1".into(), account_id: id(), amount, time, expected_version: Some(5) },
        Command::Withdraw { withdrawal_id: "w1".into(), account_id: id(), amount, time, expected_version: Some(5) },
        Command::Close { account_id: id(), time, expected_version: Some(5) },
    ];
    Golden::in_folder(folder("account-commands")).upcasters(Account::COMMAND_UPCASTERS).check(samples);
}

#[test]
fn every_event_of_an_account_is_read_and_written_as_ever() {
    let Values { account_id, amount, time } = values();
    let (id, deposit, withdrawal) = (|| account_id.clone(), || "d1".to_owned(), || "w1".to_owned());
    let mut samples = vec![
        Event::Opened { account_id: id(), customer_id: "c1".into(), time },
        Event::Deposited { deposit_id: deposit(), account_id: id(), amount, time },
        Event::Withdrawn { withdrawal_id: withdrawal(), account_id: id(), amount, time },
        Event::Closed { account_id: id(), time },
    ];
    for reason in REASONS {
        all_reasons(reason);
        samples.push(Event::DepositRejected { deposit_id: deposit(), account_id: id(), amount, time, reason });
        samples.push(Event::WithdrawalRejected { withdrawal_id: withdrawal(), account_id: id(), amount, time, reason });
    }
    let added = [Account::SEQUENCE_FIELD, Account::PROCESSED_TIME_FIELD].into_iter().flatten();
    let golden = Golden::in_folder(folder("account-events")).added_fields(added);
    golden.upcasters(Account::UPCASTERS).check(samples);
    assert_eq!(Account::UPCASTERS.len(), Statement::UPCASTERS.len(), "both read the same events");
}

#[test]
fn every_command_of_a_transfer_is_read_and_written_as_ever() {
    let Values { account_id, amount, time } = values();
    let (transfer_id, deposit_account_id) = ("t1".into(), "456".into());
    let transfer =
        Received::Transfer { transfer_id, withdrawal_account_id: account_id, deposit_account_id, amount, time };
    let time_out = Received::TimeOut { transfer_id: "t1".into() };
    let problems = Golden::in_folder(folder("transfer-commands"))
        .upcasters(Transfer::MESSAGE_UPCASTERS)
        .problems([transfer, time_out]);
    // The other variants are events of accounts, of which a transfer reads some fields.
    let others = ["Withdrawn", "WithdrawalRejected", "Deposited", "DepositRejected"];
    assert_eq!(problems, others.map(|name| format!("the variant {name} has no sample")));
}

#[test]
fn a_transfer_reads_every_event_of_an_account_to_which_it_reacts() {
    let mut read = 0;
    for file in std::fs::read_dir(folder("account-events")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let message = stored(&text);
        read += message.decode_upcast::<Received>(Transfer::MESSAGE_UPCASTERS).unwrap().unwrap_or_default().len();
    }
    assert_eq!(read, 12, "a deposit, a withdrawal, and a rejection of each for each reason");
}

#[test]
fn every_event_of_a_transfer_is_read_and_written_as_ever() {
    let Values { account_id, amount, time } = values();
    let id = || "t1".to_owned();
    let (deposit_account_id, reason) = ("456".into(), Reason::AccountClosed);
    let samples = [
        TransferEvent::Initiated {
            transfer_id: id(),
            withdrawal_account_id: account_id,
            deposit_account_id,
            amount,
            time,
        },
        TransferEvent::Cancelled { transfer_id: id(), reason },
        TransferEvent::TimedOut { transfer_id: id() },
        TransferEvent::Withdrawn { transfer_id: id() },
        TransferEvent::Transferred { transfer_id: id() },
        TransferEvent::DepositRefused { transfer_id: id(), reason },
        TransferEvent::Refunded { transfer_id: id() },
        TransferEvent::RefundRefused { transfer_id: id(), reason },
    ];
    Golden::in_folder(folder("transfer-events")).upcasters(Transfer::UPCASTERS).check(samples);
}

/// A file's message, as a store returns it.
fn stored(text: &str) -> message_store::Message {
    use message_store::{GlobalPosition, Json, NewMessage, Position, StreamName, Timestamp};
    let fields = message_store::Fields::of(&Json::parse(text).unwrap()).unwrap();
    let message_type: String = fields.get("type").unwrap().unwrap();
    let message = NewMessage::new(message_type, fields.get("data").unwrap().unwrap());
    let stream = StreamName::new("account-123").unwrap();
    message.written(stream, Position::FIRST, GlobalPosition::new(1), Timestamp::UNIX_EPOCH)
}
