//! The rules: what each command leads to.
//!
//! Nothing here loads, stamps, retries or asks whether a command came before: the runtime does. What the rules have to say
//! about repeats is which messages want the same thing done once ([`Decider::intent`]).

use message_store::handling::Decider;
use message_store::intents::Intent;

use crate::messages::{MAX_ACCOUNT_ID_BYTES, MAX_ID_BYTES};
use crate::{Account, Command, Event, Reason};

impl Decider for Account {
    type Command = Command;
    const SEQUENCE_FIELD: Option<&'static str> = Some("sequence");
    const PROCESSED_TIME_FIELD: Option<&'static str> = Some("processedTime");

    fn decide(&self, command: &Command) -> Vec<Event> {
        match command.clone() {
            Command::Open { .. } if self.opened.is_some() => vec![],
            Command::Open { account_id, customer_id, time } => vec![Event::Opened { account_id, customer_id, time }],

            Command::Deposit { deposit_id, account_id, amount, time } => {
                vec![match refuses_ids(&deposit_id, &account_id).or(self.refuses(amount)) {
                    None => Event::Deposited { deposit_id, account_id, amount, time },
                    Some(reason) => Event::DepositRejected { deposit_id, account_id, amount, time, reason },
                }]
            }

            Command::Withdraw { withdrawal_id, account_id, amount, time } => {
                vec![match refuses_ids(&withdrawal_id, &account_id).or(self.refuses_withdrawal(amount)) {
                    None => Event::Withdrawn { withdrawal_id, account_id, amount, time },
                    Some(reason) => Event::WithdrawalRejected { withdrawal_id, account_id, amount, time, reason },
                }]
            }

            Command::Close { .. } if self.opened.is_none() || self.closed.is_some() => vec![],
            Command::Close { account_id, time } => vec![Event::Closed { account_id, time }],
        }
    }

    fn intent(command: &Command) -> Option<Intent> {
        let (operation, id) = match command {
            Command::Deposit { deposit_id, .. } => ("deposit", deposit_id),
            Command::Withdraw { withdrawal_id, .. } => ("withdrawal", withdrawal_id),
            // Opening and closing twice is told by the account's state.
            Command::Open { .. } | Command::Close { .. } => return None,
        };
        if refuses_ids(id, command.account_id()).is_some() {
            return None;
        }
        // A sender that tries again may well give another time: it means the same deposit.
        Some(Intent::new("accountTransaction", [operation, id]).ignoring(["time"]))
    }
}

/// An id that cannot tell one deposit from another names no intent: what it stands for is refused, by an event like every refusal.
fn refuses_ids(id: &str, account_id: &str) -> Option<Reason> {
    let is_invalid = id.is_empty() || id.len() > MAX_ID_BYTES || account_id.len() > MAX_ACCOUNT_ID_BYTES;
    is_invalid.then_some(Reason::InvalidId)
}
