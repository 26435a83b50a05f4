//! The messages: what is asked of an account, and what has happened to it.
//!
//! Names and JSON are those of Eventide's account component, so that each can read what the other has written.
// The fields speak for themselves.
#![allow(missing_docs)]

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Money;

/// What is asked of an account. Written to `account:command-{account_id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Command {
    /// Open the account for a customer.
    Open { account_id: String, customer_id: String, time: Timestamp },
    /// Put money in.
    Deposit { deposit_id: String, account_id: String, amount: Money, time: Timestamp },
    /// Take money out.
    Withdraw { withdrawal_id: String, account_id: String, amount: Money, time: Timestamp },
    /// Close the account.
    Close { account_id: String, time: Timestamp },
}

/// What has happened to an account. Written to `account-{account_id}`, by the runtime, which adds `sequence` and
/// `processedTime`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Event {
    /// It was opened.
    Opened { account_id: String, customer_id: String, time: Timestamp },
    /// Money was put in.
    Deposited { deposit_id: String, account_id: String, amount: Money, time: Timestamp },
    /// Money could not be put in.
    DepositRejected { deposit_id: String, account_id: String, amount: Money, time: Timestamp, reason: Reason },
    /// Money was taken out.
    Withdrawn { withdrawal_id: String, account_id: String, amount: Money, time: Timestamp },
    /// Money could not be taken out.
    WithdrawalRejected { withdrawal_id: String, account_id: String, amount: Money, time: Timestamp, reason: Reason },
    /// It was closed.
    Closed { account_id: String, time: Timestamp },
}

/// Why something was rejected.
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
    /// The id of the deposit or withdrawal is empty, or longer than [`MAX_ID_BYTES`]; or that of the account is longer than
    /// [`MAX_ACCOUNT_ID_BYTES`].
    InvalidId,
}

/// The longest id of a deposit or a withdrawal.
pub const MAX_ID_BYTES: usize = 255;
/// The longest id of an account: it has room in the name of every stream.
pub const MAX_ACCOUNT_ID_BYTES: usize = 128;

impl Command {
    /// The account it concerns.
    pub fn account_id(&self) -> &str {
        match self {
            Self::Open { account_id, .. }
            | Self::Deposit { account_id, .. }
            | Self::Withdraw { account_id, .. }
            | Self::Close { account_id, .. } => account_id,
        }
    }
}
