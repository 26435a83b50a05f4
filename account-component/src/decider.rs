//! The rules: the events that each command leads to.
//!
//! The runtime loads the account, stamps the events, recognises repeats and decides again. About repeats, the rules say
//! only which messages have one intent ([`Decider::intent`]).

use message_store::handling::Decider;
use message_store::intents::Intent;

use crate::messages::{MAX_ACCOUNT_ID_BYTES, MAX_ID_BYTES};
use crate::{Account, Command, Event, Reason};

impl Decider for Account {
    type Command = Command;
    const SEQUENCE_FIELD: Option<&'static str> = Some("sequence");
    const PROCESSED_TIME_FIELD: Option<&'static str> = Some("processedTime");

    fn decide(&self, command: &Command) -> Vec<Event> {
        if !self.is_of_version(command.expected_version()) {
            return vec![];
        }
        match command.clone() {
            Command::Open { .. } if self.opened.is_some() => vec![],
            Command::Open { account_id, customer_id, time } => vec![Event::Opened { account_id, customer_id, time }],

            Command::Deposit { deposit_id, account_id, amount, time, .. } => {
                vec![match refuses_ids(&deposit_id, &account_id).or(self.refuses(amount)) {
                    None => Event::Deposited { deposit_id, account_id, amount, time },
                    Some(reason) => Event::DepositRejected { deposit_id, account_id, amount, time, reason },
                }]
            }

            Command::Withdraw { withdrawal_id, account_id, amount, time, .. } => {
                vec![match refuses_ids(&withdrawal_id, &account_id).or(self.refuses_withdrawal(amount)) {
                    None => Event::Withdrawn { withdrawal_id, account_id, amount, time },
                    Some(reason) => Event::WithdrawalRejected { withdrawal_id, account_id, amount, time, reason },
                }]
            }

            Command::Close { .. } if self.opened.is_none() || self.closed.is_some() => vec![],
            Command::Close { account_id, time, .. } => vec![Event::Closed { account_id, time }],
        }
    }

    fn intent(command: &Command) -> Option<Intent> {
        let (operation, id) = match command {
            Command::Deposit { deposit_id, .. } => ("deposit", deposit_id),
            Command::Withdraw { withdrawal_id, .. } => ("withdrawal", withdrawal_id),
            // The account's state shows whether it was opened or closed before.
            Command::Open { .. } | Command::Close { .. } => return None,
        };
        if refuses_ids(id, command.account_id()).is_some() {
            return None;
        }
        // A sender that sends again may give another time, or have seen another version. It is still the same deposit.
        Some(Intent::new("accountTransaction", [operation, id]).ignoring(["time", "expectedVersion"]))
    }
}

/// An id that cannot identify a deposit or withdrawal names no intent. The command is then rejected with an event.
fn refuses_ids(id: &str, account_id: &str) -> Option<Reason> {
    let is_invalid = id.is_empty() || id.len() > MAX_ID_BYTES || account_id.len() > MAX_ACCOUNT_ID_BYTES;
    is_invalid.then_some(Reason::InvalidId)
}
