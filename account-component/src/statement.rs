//! A statement: another projection of the same events. It is only read; no command is decided on it.

use message_store::entity::Projection;

use crate::{Event, Money};

/// The totals of an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statement {
    /// The balance of the account.
    pub balance: Money,
    /// The number of accepted deposits.
    pub deposits: u64,
    /// The number of accepted withdrawals.
    pub withdrawals: u64,
    /// The number of rejected withdrawals.
    pub rejected: u64,
}

impl Projection for Statement {
    const CATEGORY: &'static str = "account";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Deposited { amount, .. } => {
                self.balance += *amount;
                self.deposits += 1;
            }
            Event::Withdrawn { amount, .. } => {
                self.balance -= *amount;
                self.withdrawals += 1;
            }
            Event::WithdrawalRejected { .. } => self.rejected += 1,
            Event::Opened { .. } | Event::DepositRejected { .. } | Event::Closed { .. } => {}
        }
    }
}
