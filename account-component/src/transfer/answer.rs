//! The requests of a transfer to accounts, and the answers.

use super::messages::Received;
use super::{Stage, Transfer};
use crate::{Command, Money, Reason};

/// A request to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Withdrawal,
    Deposit,
    Refund,
}

/// An event of an account that answers a request.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) request: Request,
    pub(super) transfer_id: &'a str,
    account_id: &'a str,
    amount: Money,
    /// `None` if the account did what was requested.
    pub(super) refused: Option<Reason>,
}

impl Request {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Withdrawal => "transfer-out:",
            Self::Deposit => "transfer-in:",
            Self::Refund => "transfer-back:",
        }
    }

    /// The id of the withdrawal or deposit. It names the transfer, so the event that answers the request names it too.
    pub(super) fn id(self, transfer_id: &str) -> String {
        format!("{}{transfer_id}", self.prefix())
    }
}

/// Whether a deposit or a withdrawal with this id would be taken for that of a transfer. Others must not use such an id.
pub fn is_reserved(id: &str) -> bool {
    [Request::Withdrawal, Request::Deposit, Request::Refund].iter().any(|request| id.starts_with(request.prefix()))
}

impl Received {
    /// The answer that an event of an account is. `None` if the event answers no transfer.
    pub(super) fn answer(&self) -> Option<Answer<'_>> {
        let (requests, id, account_id, amount, refused) = match self {
            Self::Withdrawn { withdrawal_id: id, account_id, amount } => {
                (&[Request::Withdrawal][..], id, account_id, amount, None)
            }
            Self::WithdrawalRejected { withdrawal_id: id, account_id, amount, reason } => {
                (&[Request::Withdrawal][..], id, account_id, amount, Some(*reason))
            }
            Self::Deposited { deposit_id: id, account_id, amount } => {
                (&[Request::Deposit, Request::Refund][..], id, account_id, amount, None)
            }
            Self::DepositRejected { deposit_id: id, account_id, amount, reason } => {
                (&[Request::Deposit, Request::Refund][..], id, account_id, amount, Some(*reason))
            }
            Self::Transfer { .. } | Self::TimeOut { .. } => return None,
        };
        let (request, transfer_id) =
            requests.iter().find_map(|request| Some((*request, id.strip_prefix(request.prefix())?)))?;
        Some(Answer { request, transfer_id, account_id, amount: *amount, refused })
    }
}

impl Transfer {
    /// Whether the transfer waits for this answer: others may use the same ids, for other accounts or amounts.
    pub(super) fn awaits(&self, answer: &Answer<'_>) -> bool {
        let request = match self.stage {
            Stage::Withdrawing | Stage::TimedOut => Request::Withdrawal,
            Stage::Depositing => Request::Deposit,
            Stage::Refunding => Request::Refund,
            Stage::Absent | Stage::Transferred | Stage::Cancelled | Stage::Refunded | Stage::Stuck => return false,
        };
        answer.request == request && answer.account_id == self.account_of(request) && answer.amount == self.amount
    }

    fn account_of(&self, request: Request) -> &str {
        match request {
            Request::Withdrawal | Request::Refund => &self.withdrawal_account_id,
            Request::Deposit => &self.deposit_account_id,
        }
    }

    /// The command for a deposit or a refund.
    pub(super) fn deposit(&self, request: Request) -> Command {
        Command::Deposit {
            deposit_id: request.id(&self.transfer_id),
            account_id: self.account_of(request).to_owned(),
            amount: self.amount,
            time: self.time,
            expected_version: None,
        }
    }
}
