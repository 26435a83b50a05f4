//! Applies events to the account. It decides nothing, because the events have already happened.

use message_store::entity::Projection;

use crate::{Account, Event};

impl Projection for Account {
    const CATEGORY: &'static str = "account";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        self.version += 1;
        match event {
            Event::Opened { time, .. } => self.opened = Some(*time),
            Event::Deposited { amount, .. } => self.balance += *amount,
            Event::Withdrawn { amount, .. } => self.balance -= *amount,
            Event::Closed { time, .. } => self.closed = Some(*time),
            Event::DepositRejected { .. } | Event::WithdrawalRejected { .. } => {}
        }
    }

    fn apply_erased(&mut self, _: &str) {
        self.version += 1;
    }
}
