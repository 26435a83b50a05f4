//! An account service: the example of an event-sourced component.
//!
//! Read it in this order: [`messages`] (commands and events), [`Account`] (the state), `projection.rs` (how events
//! change the state), `decider.rs` (the events that commands lead to), [`component`] (the consumer). These parts make a
//! complete component. [`transfer`] adds a process manager, which moves money between two accounts, and [`read_models`] adds tables for queries. The rest of this crate
//! is a command line to try it.
//!
//! ```
//! use account_component::{Account, Command, Event, Money};
//! use message_store::handling::Decider as _;
//!
//! let time = "2026-01-01T00:00:00Z".parse()?;
//! let withdraw = Command::Withdraw {
//!     withdrawal_id: "w1".into(),
//!     account_id: "123".into(),
//!     amount: "5.00".parse()?,
//!     time,
//!     expected_version: None,
//! };
//! let account = Account { balance: "7.50".parse()?, opened: Some(time), ..Account::default() };
//! assert!(matches!(account.decide(&withdraw)[..], [Event::Withdrawn { .. }]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod account;
pub mod component;
mod decider;
#[cfg(feature = "http")]
pub mod http;
pub mod messages;
mod money;
mod projection;
pub mod read_models;
pub mod statement;
pub mod transfer;

pub use account::Account;
pub use messages::{Command, Event, Reason};
pub use money::{Money, NotMoney};
pub use statement::Statement;

#[cfg(test)]
mod decider_tests;
