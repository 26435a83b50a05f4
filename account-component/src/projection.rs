//! From events to the account. No decisions here: what is in the stream has happened.

use message_store::entity::Projection;

use crate::{Account, Event};

impl Projection for Account {
    const CATEGORY: &'static str = "account";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Opened { time, .. } => self.opened = Some(*time),
            Event::Deposited { amount, .. } => self.balance += *amount,
            Event::Withdrawn { amount, .. } => self.balance -= *amount,
            Event::Closed { time, .. } => self.closed = Some(*time),
            Event::DepositRejected { .. } | Event::WithdrawalRejected { .. } => {}
        }
    }
}
