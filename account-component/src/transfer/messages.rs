//! The messages of transfers.
//!
//! The names of the command and of the events are those of Eventide's funds transfer component.
// The names of the fields say everything about them.
#![allow(missing_docs)]

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Money, Reason};

/// A message to which a transfer reacts. Of the events of accounts, only the fields that it needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Received {
    /// The command. Its stream is `fundsTransfer:command-{transfer_id}`.
    Transfer {
        transfer_id: String,
        withdrawal_account_id: String,
        deposit_account_id: String,
        amount: Money,
        time: Timestamp,
    },
    /// A timer of the transfer: its withdrawal was not answered in time.
    TimeOut {
        transfer_id: String,
    },
    Withdrawn {
        withdrawal_id: String,
        account_id: String,
        amount: Money,
    },
    WithdrawalRejected {
        withdrawal_id: String,
        account_id: String,
        amount: Money,
        reason: Reason,
    },
    Deposited {
        deposit_id: String,
        account_id: String,
        amount: Money,
    },
    DepositRejected {
        deposit_id: String,
        account_id: String,
        amount: Money,
        reason: Reason,
    },
}

/// An event of a transfer. The runtime writes it to `fundsTransfer-{transfer_id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Event {
    /// The withdrawal is requested.
    Initiated {
        transfer_id: String,
        withdrawal_account_id: String,
        deposit_account_id: String,
        amount: Money,
        time: Timestamp,
    },
    /// The withdrawal was rejected. No money moved.
    Cancelled { transfer_id: String, reason: Reason },
    /// The withdrawal was not answered in time. If it is answered later, the money goes back.
    TimedOut { transfer_id: String },
    /// The money was withdrawn, and the deposit is requested: a refund after a time-out.
    Withdrawn { transfer_id: String },
    /// The money was deposited.
    Transferred { transfer_id: String },
    /// The deposit was rejected, and the refund is requested.
    DepositRefused { transfer_id: String, reason: Reason },
    /// The money is where it came from.
    Refunded { transfer_id: String },
    /// The refund was rejected, because its account was closed meanwhile. An operator must decide.
    RefundRefused { transfer_id: String, reason: Reason },
}
