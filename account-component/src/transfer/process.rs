//! The reactions: the events of a transfer, the commands to accounts, and the time-out.
//!
//! The runtime loads the transfer, recognises repeats, and writes the events, the commands and the timer in one append. So
//! a command is sent once, and only if the transfer has recorded it.

use std::time::Duration;

use message_store::Message;
use message_store::handling::{ProcessManager, Reaction};
use message_store::intents::Intent;
use message_store::store::Due;

use super::answer::Request;
use super::messages::{Event, Received};
use super::{COMMANDS, Stage, Transfer};
use crate::{Command, component};

/// The timer that is set when the withdrawal is requested, and cancelled when it is answered.
const TIME_OUT: &str = "time-out";
/// How long a transfer waits for its withdrawal.
const WAITS_FOR: Duration = Duration::from_hours(24);

impl ProcessManager for Transfer {
    type Message = Received;

    fn process_id(_: &Message, received: &Received) -> Option<String> {
        match received {
            Received::Transfer { transfer_id, .. } | Received::TimeOut { transfer_id } => Some(transfer_id.clone()),
            // Other deposits and withdrawals belong to no transfer.
            _ => Some(received.answer()?.transfer_id.to_owned()),
        }
    }

    fn react(&self, received: &Received) -> Reaction<Event> {
        match (received, self.stage) {
            (Received::Transfer { .. }, Stage::Absent) => return initiate(received.clone()),
            (Received::TimeOut { transfer_id }, Stage::Withdrawing) => {
                return Reaction::event(Event::TimedOut { transfer_id: transfer_id.clone() });
            }
            // A time-out that comes when the withdrawal is answered changes nothing.
            (Received::Transfer { .. } | Received::TimeOut { .. }, _) => return Reaction::none(),
            _ => {}
        }
        let Some(answer) = received.answer().filter(|answer| self.awaits(answer)) else { return Reaction::none() };
        let transfer_id = self.transfer_id.clone();
        match (answer.request, answer.refused) {
            (Request::Withdrawal, None) => {
                let next = if self.stage == Stage::TimedOut { Request::Refund } else { Request::Deposit };
                send(Reaction::event(Event::Withdrawn { transfer_id }), &self.deposit(next)).cancel_timer(TIME_OUT)
            }
            (Request::Withdrawal, Some(reason)) => {
                Reaction::event(Event::Cancelled { transfer_id, reason }).cancel_timer(TIME_OUT)
            }
            (Request::Deposit, None) => Reaction::event(Event::Transferred { transfer_id }),
            (Request::Deposit, Some(reason)) => {
                send(Reaction::event(Event::DepositRefused { transfer_id, reason }), &self.deposit(Request::Refund))
            }
            (Request::Refund, None) => Reaction::event(Event::Refunded { transfer_id }),
            (Request::Refund, Some(reason)) => Reaction::event(Event::RefundRefused { transfer_id, reason }),
        }
    }

    fn intent(received: &Received) -> Option<Intent> {
        match received {
            Received::Transfer { transfer_id, .. } => {
                Some(Intent::new("fundsTransferRequest", [transfer_id]).ignoring(["time"]))
            }
            _ => None,
        }
    }
}

fn initiate(transfer: Received) -> Reaction<Event> {
    let Received::Transfer { transfer_id, withdrawal_account_id, deposit_account_id, amount, time } = transfer else {
        return Reaction::none();
    };
    let withdraw = Command::Withdraw {
        withdrawal_id: Request::Withdrawal.id(&transfer_id),
        account_id: withdrawal_account_id.clone(),
        amount,
        time,
        expected_version: None,
    };
    let time_out = Received::TimeOut { transfer_id: transfer_id.clone() };
    let id = transfer_id.clone();
    let initiated = Event::Initiated { transfer_id, withdrawal_account_id, deposit_account_id, amount, time };
    send(Reaction::event(initiated), &withdraw).timer(TIME_OUT, Due::After(WAITS_FOR), COMMANDS, &id, &time_out)
}

/// Adds a command to an account.
fn send(reaction: Reaction<Event>, command: &Command) -> Reaction<Event> {
    reaction.send(component::COMMANDS, command.account_id(), command)
}
