//! The account: its state, and questions to it. It knows nothing of messages or storage.

use jiff::Timestamp;

use crate::{Money, Reason};

/// An account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// What is in it.
    pub balance: Money,
    /// When it was opened, if it was.
    pub opened: Option<Timestamp>,
    /// When it was closed, if it was.
    pub closed: Option<Timestamp>,
}

impl Account {
    /// Why a movement of this amount is refused, whatever its direction; `None` if it is not.
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

    /// Why this amount cannot be taken out; `None` if it can.
    pub fn refuses_withdrawal(&self, amount: Money) -> Option<Reason> {
        self.refuses(amount).or((self.balance < amount).then_some(Reason::InsufficientFunds))
    }
}
