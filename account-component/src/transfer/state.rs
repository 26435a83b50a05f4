//! A transfer: its state, and how its events change it.

use jiff::Timestamp;
use message_store::entity::Projection;
use serde::Serialize;

use super::messages::Event;
use crate::Money;

/// A transfer. By default it has not begun.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Transfer {
    #[allow(missing_docs)]
    pub transfer_id: String,
    /// The account from which the money is withdrawn.
    pub withdrawal_account_id: String,
    /// The account to which the money is deposited.
    pub deposit_account_id: String,
    #[allow(missing_docs)]
    pub amount: Money,
    /// The time of the command.
    pub time: Timestamp,
    #[allow(missing_docs)]
    pub stage: Stage,
}

/// The stage of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It has not begun.
    #[default]
    Absent,
    /// The withdrawal is requested.
    Withdrawing,
    /// The withdrawal was not answered in time.
    TimedOut,
    /// The money was withdrawn, and the deposit is requested.
    Depositing,
    /// The deposit was rejected, or the withdrawal came after the time-out, and the refund is requested.
    Refunding,
    /// The money was deposited.
    Transferred,
    /// The withdrawal was rejected.
    Cancelled,
    /// The money is where it came from.
    Refunded,
    /// The refund was rejected. An operator must decide.
    Stuck,
}

impl Projection for Transfer {
    const CATEGORY: &'static str = "fundsTransfer";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        self.stage = match event {
            Event::Initiated { transfer_id, withdrawal_account_id, deposit_account_id, amount, time } => {
                self.transfer_id.clone_from(transfer_id);
                self.withdrawal_account_id.clone_from(withdrawal_account_id);
                self.deposit_account_id.clone_from(deposit_account_id);
                (self.amount, self.time) = (*amount, *time);
                Stage::Withdrawing
            }
            Event::Cancelled { .. } => Stage::Cancelled,
            Event::TimedOut { .. } => Stage::TimedOut,
            Event::Withdrawn { .. } if self.stage == Stage::TimedOut => Stage::Refunding,
            Event::Withdrawn { .. } => Stage::Depositing,
            Event::Transferred { .. } => Stage::Transferred,
            Event::DepositRefused { .. } => Stage::Refunding,
            Event::Refunded { .. } => Stage::Refunded,
            Event::RefundRefused { .. } => Stage::Stuck,
        };
    }
}
