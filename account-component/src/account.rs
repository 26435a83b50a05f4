//! The account: its state, and the checks on it. It does not depend on messages or storage.

use jiff::Timestamp;
use serde::Serialize;

use crate::{Money, Reason};

/// An account. By default it is not open, and its balance is zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// The sum of the deposits, less the withdrawals.
    pub balance: Money,
    /// The time of the command that opened the account; `None` before.
    pub opened: Option<Timestamp>,
    /// The time of the command that closed the account; `None` before.
    pub closed: Option<Timestamp>,
    /// The number of its events.
    pub version: u64,
}

impl Account {
    /// Whether the account has the version that the sender of a command has seen, if it expects one.
    pub fn is_of_version(&self, expected: Option<u64>) -> bool {
        expected.is_none_or(|expected| expected == self.version)
    }

    /// The reason to refuse a deposit or withdrawal of this amount; `None` if both are allowed.
    pub fn refuses(&self, amount: Money) -> Option<Reason> {
        if self.opened.is_none() {
            Some(Reason::AccountNotOpen)
        } else if self.closed.is_some() {
            Some(Reason::AccountClosed)
        } else if !amount.is_positive() {
            Some(Reason::AmountNotPositive)
        } else {
            None
        }
    }

    /// The reason to refuse a withdrawal of this amount; `None` if it is allowed.
    pub fn refuses_withdrawal(&self, amount: Money) -> Option<Reason> {
        self.refuses(amount).or((self.balance < amount).then_some(Reason::InsufficientFunds))
    }
}
