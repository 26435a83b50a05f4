//! The messages: the commands to an account, and its events.
//!
//! Names and JSON are those of Eventide's account component, so that each component can read the messages of the other.
// The names of the fields say everything about them.
#![allow(missing_docs)]

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Money;

/// A command to an account. Its stream is `account:command-{account_id}`.
///
/// With an `expected_version`, the command is only carried out on the [version](crate::Account::version) that its sender has seen: on
/// another one, it leads to no event. Versions only grow, so it never will.
/// This field is an addition to those of Eventide's component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Command {
    /// Opens the account for a customer.
    Open { account_id: String, customer_id: String, time: Timestamp },
    /// Adds money to the balance.
    Deposit {
        deposit_id: String,
        account_id: String,
        amount: Money,
        time: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected_version: Option<u64>,
    },
    /// Takes money from the balance.
    Withdraw {
        withdrawal_id: String,
        account_id: String,
        amount: Money,
        time: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected_version: Option<u64>,
    },
    /// Closes the account. A closed account rejects deposits and withdrawals.
    Close {
        account_id: String,
        time: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected_version: Option<u64>,
    },
}

/// An event of an account. The runtime writes it to `account-{account_id}`, and adds `sequence` and `processedTime`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Event {
    /// The account was opened.
    Opened { account_id: String, customer_id: String, time: Timestamp },
    /// The amount was added to the balance.
    Deposited { deposit_id: String, account_id: String, amount: Money, time: Timestamp },
    /// The deposit was rejected; the balance did not change.
    DepositRejected { deposit_id: String, account_id: String, amount: Money, time: Timestamp, reason: Reason },
    /// The amount was taken from the balance.
    Withdrawn { withdrawal_id: String, account_id: String, amount: Money, time: Timestamp },
    /// The withdrawal was rejected; the balance did not change.
    WithdrawalRejected { withdrawal_id: String, account_id: String, amount: Money, time: Timestamp, reason: Reason },
    /// The account was closed.
    Closed { account_id: String, time: Timestamp },
}

/// The reason for a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The balance is below the amount.
    InsufficientFunds,
    /// The amount is not above zero.
    AmountNotPositive,
    /// The account has not been opened.
    AccountNotOpen,
    /// The account has been closed.
    AccountClosed,
    /// The id of the deposit or withdrawal is empty or longer than [`MAX_ID_BYTES`], or the id of the account is longer
    /// than [`MAX_ACCOUNT_ID_BYTES`].
    InvalidId,
}

/// The longest id of a deposit or a withdrawal, in bytes.
pub const MAX_ID_BYTES: usize = 255;
/// The longest id of an account, in bytes. With it, the name of every stream is short enough.
pub const MAX_ACCOUNT_ID_BYTES: usize = 128;

impl Command {
    /// The version of the account on which the command is to be carried out, if its sender expects one.
    pub fn expected_version(&self) -> Option<u64> {
        match self {
            Self::Deposit { expected_version, .. }
            | Self::Withdraw { expected_version, .. }
            | Self::Close { expected_version, .. } => *expected_version,
            Self::Open { .. } => None,
        }
    }

    /// The id of the account to which the command is sent.
    pub fn account_id(&self) -> &str {
        match self {
            Self::Open { account_id, .. }
            | Self::Deposit { account_id, .. }
            | Self::Withdraw { account_id, .. }
            | Self::Close { account_id, .. } => account_id,
        }
    }
}
