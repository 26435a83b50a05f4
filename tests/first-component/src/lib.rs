//! Lockers that are rented.
// The names say it.
#![allow(missing_docs)]

use message_store::entity::Projection;
use message_store::handling::Decider;
use message_store::intents::Intent;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Command {
    Rent { rental_id: String, member: String },
    Return { rental_id: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Event {
    Rented { rental_id: String, member: String },
    RentRejected { rental_id: String, rented_to: String },
    Returned { rental_id: String },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locker {
    rental: Option<Rental>,
}

#[derive(Clone, Debug, PartialEq)]
struct Rental {
    id: String,
    member: String,
}

impl Projection for Locker {
    const CATEGORY: &'static str = "locker";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Rented { rental_id, member } => {
                self.rental = Some(Rental { id: rental_id.clone(), member: member.clone() });
            }
            Event::Returned { .. } => self.rental = None,
            Event::RentRejected { .. } => {}
        }
    }
}

impl Decider for Locker {
    type Command = Command;

    fn decide(&self, command: &Command) -> Vec<Event> {
        match (command, &self.rental) {
            (Command::Rent { rental_id, .. }, Some(rental)) => {
                vec![Event::RentRejected { rental_id: rental_id.clone(), rented_to: rental.member.clone() }]
            }
            (Command::Rent { rental_id, member }, None) => {
                vec![Event::Rented { rental_id: rental_id.clone(), member: member.clone() }]
            }
            (Command::Return { rental_id }, Some(rental)) if rental.id == *rental_id => {
                vec![Event::Returned { rental_id: rental_id.clone() }]
            }
            // It was returned before, or another member has it by now.
            (Command::Return { .. }, _) => vec![],
        }
    }

    fn intent(command: &Command) -> Option<Intent> {
        match command {
            Command::Rent { rental_id, .. } => Some(Intent::new("lockerRental", [rental_id])),
            Command::Return { .. } => None,
        }
    }

    fn is_refusal(event: &Event) -> bool {
        matches!(event, Event::RentRejected { .. })
    }
}
