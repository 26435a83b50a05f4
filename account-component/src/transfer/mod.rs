//! Transfers of money between two accounts: the example of a process manager.
//!
//! Read it in this order: [`messages`] (the command, the account events to which a transfer reacts, and its own events),
//! `state.rs` (how its events change its state), `process.rs` (its reactions), `answer.rs` (which account event answers
//! which request).
//!
//! ```text
//! Transfer ──▶ Initiated ── Withdraw ──▶ Withdrawn ── Deposit ──▶ Transferred
//!                               │                        │
//!                               ▼                        ▼
//!                           Cancelled           DepositRefused ── Deposit (refund) ──▶ Refunded
//! ```
//!
//! If the withdrawal is not answered within a day, the transfer has `TimedOut`. An account that withdraws the money after
//! that gets it back.

mod answer;
pub mod messages;
mod process;
#[cfg(test)]
mod process_tests;
mod state;

use std::sync::Arc;

use message_store::consumer::Consumer;
use message_store::handling::ProcessHandler;
use message_store::{Category, MessageStore, Result, StreamName};

pub use answer::is_reserved;
pub use state::{Stage, Transfer};

/// The category of the commands, and of the messages of timers.
pub const COMMANDS: &str = "fundsTransfer:command";

/// The stream of the commands for a transfer.
///
/// # Errors
/// Returns an error if the id is empty or too long.
pub fn command_stream(transfer_id: &str) -> Result<StreamName> {
    Category::new(COMMANDS)?.stream(transfer_id)
}

/// The consumers of a transfer: of its commands, and of the events of accounts. They are not started yet.
pub fn consumers(handler: &ProcessHandler<Transfer>) -> [Consumer<ProcessHandler<Transfer>>; 2] {
    [COMMANDS, "account"].map(|category| Consumer::new(category, handler.clone()).identifier("fundsTransfer"))
}

/// The handler of the messages to which a transfer reacts.
pub fn handler(store: &Arc<dyn MessageStore>) -> ProcessHandler<Transfer> {
    ProcessHandler::new(store)
}
