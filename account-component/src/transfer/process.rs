//! The reactions: the events of a transfer, and the commands to accounts.
//!
//! The runtime loads the transfer, recognises repeats, and writes the events and the commands in one append. So a command
//! is sent once, and only if the transfer has recorded it.

use message_store::Message;
use message_store::handling::{ProcessManager, Reaction};
use message_store::intents::Intent;

use super::answer::Request;
use super::messages::{Event, Received};
use super::{Stage, Transfer};
use crate::{Command, component};

impl ProcessManager for Transfer {
    type Message = Received;

    fn process_id(_: &Message, received: &Received) -> Option<String> {
        match received {
            Received::Transfer { transfer_id, .. } => Some(transfer_id.clone()),
            // Other deposits and withdrawals belong to no transfer.
            _ => Some(received.answer()?.transfer_id.to_owned()),
        }
    }

    fn react(&self, received: &Received) -> Reaction<Event> {
        if let Received::Transfer { .. } = received {
            return if self.stage == Stage::Absent { initiate(received.clone()) } else { Reaction::none() };
        }
        let Some(answer) = received.answer().filter(|answer| self.awaits(answer)) else { return Reaction::none() };
        let transfer_id = self.transfer_id.clone();
        match (answer.request, answer.refused) {
            (Request::Withdrawal, None) => {
                send(Reaction::event(Event::Withdrawn { transfer_id }), &self.deposit(Request::Deposit))
            }
            (Request::Withdrawal, Some(reason)) => Reaction::event(Event::Cancelled { transfer_id, reason }),
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
    };
    let initiated = Event::Initiated { transfer_id, withdrawal_account_id, deposit_account_id, amount, time };
    send(Reaction::event(initiated), &withdraw)
}

/// Adds a command to an account.
fn send(reaction: Reaction<Event>, command: &Command) -> Reaction<Event> {
    reaction.send(component::COMMANDS, command.account_id(), command)
}
