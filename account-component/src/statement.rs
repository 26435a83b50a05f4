//! A statement: another view of the same events, to be read and not decided on.

use message_store::entity::Projection;

use crate::{Event, Money};

/// What has gone through an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statement {
    /// What is in it.
    pub balance: Money,
    /// How many deposits there were.
    pub deposits: u64,
    /// How many withdrawals there were.
    pub withdrawals: u64,
    /// How many withdrawals were rejected.
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
