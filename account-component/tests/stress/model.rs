//! The model: computes the expected result from the sent commands, independent of deliveries, order and processes.

use std::collections::{BTreeMap, BTreeSet};

use account_component::{Command, Event, Money, Reason};
use message_store::Message;

/// The commands that were sent to each account.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    accounts: BTreeMap<String, Account>,
}

#[derive(Debug, Default)]
struct Account {
    /// The ids of the sent deposits and withdrawals.
    intents: BTreeSet<String>,
    opens: u32,
    closes: u32,
}

/// The state of an account in the model.
#[derive(Debug, Default)]
struct State {
    is_open: bool,
    is_closed: bool,
    balance: Money,
    carried_out: BTreeSet<String>,
}

impl Sent {
    pub(crate) fn note(&mut self, command: &Command) {
        let account = self.accounts.entry(command.account_id().to_owned()).or_default();
        match command {
            Command::Open { .. } => account.opens += 1,
            Command::Close { .. } => account.closes += 1,
            Command::Deposit { deposit_id: id, .. } | Command::Withdraw { withdrawal_id: id, .. } => {
                account.intents.insert(id.clone());
            }
        }
    }

    /// The differences between the model and the events in the store.
    pub(crate) fn compare(&self, events: &[Message]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut states: BTreeMap<String, State> = BTreeMap::new();
        for message in events {
            let event: Event = message.decode_variant().unwrap().unwrap();
            let state = states.entry(message.stream.id().unwrap().to_owned()).or_default();
            if let Err(reason) = state.apply(&event) {
                wrong.push(format!("{}: {event:?}: {reason}", message.reference()));
            }
        }
        for (id, sent) in &self.accounts {
            let state = states.remove(id).unwrap_or_default();
            if sent.opens > 0 && !state.is_open {
                wrong.push(format!("account {id}: its Open is lost"));
            }
            // This command is sent only after the account is open.
            if sent.closes > 0 && !state.is_closed {
                wrong.push(format!("account {id}: its Close is lost"));
            }
            for lost in sent.intents.difference(&state.carried_out) {
                wrong.push(format!("account {id}: the command of {lost} is lost"));
            }
        }
        wrong.extend(states.keys().map(|id| format!("account {id}: nothing was sent to it")));
        wrong
    }
}

impl State {
    /// Applies an event, or returns why it is impossible in this state.
    fn apply(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Opened { .. } if self.is_open => return Err("it was open".into()),
            Event::Opened { .. } => self.is_open = true,
            Event::Closed { .. } if !self.is_open || self.is_closed => return Err("it was not open".into()),
            Event::Closed { .. } => self.is_closed = true,
            Event::Deposited { deposit_id, amount, .. } => {
                self.carry_out(deposit_id, None, self.refusal(*amount, false))?;
                self.balance += *amount;
            }
            Event::Withdrawn { withdrawal_id, amount, .. } => {
                self.carry_out(withdrawal_id, None, self.refusal(*amount, true))?;
                self.balance -= *amount;
            }
            Event::DepositRejected { deposit_id, amount, reason, .. } => {
                self.carry_out(deposit_id, Some(*reason), self.refusal(*amount, false))?;
            }
            Event::WithdrawalRejected { withdrawal_id, amount, reason, .. } => {
                self.carry_out(withdrawal_id, Some(*reason), self.refusal(*amount, true))?;
            }
        }
        Ok(())
    }

    fn refusal(&self, amount: Money, takes: bool) -> Option<Reason> {
        match (self.is_open, self.is_closed) {
            (false, _) => Some(Reason::AccountNotOpen),
            (_, true) => Some(Reason::AccountClosed),
            _ if amount <= Money::ZERO => Some(Reason::AmountNotPositive),
            _ if takes && self.balance < amount => Some(Reason::InsufficientFunds),
            _ => None,
        }
    }

    fn carry_out(&mut self, intent: &str, is: Option<Reason>, expected: Option<Reason>) -> Result<(), String> {
        if is != expected {
            return Err(format!("the model says {expected:?}"));
        }
        if self.carried_out.insert(intent.to_owned()) {
            Ok(())
        } else {
            Err("its intent was carried out before".into())
        }
    }
}
