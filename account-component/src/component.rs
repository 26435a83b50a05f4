//! The component: the consumer that carries out the commands of all accounts.

use std::sync::Arc;

use message_store::consumer::Consumer;
use message_store::handling::CommandHandler;
use message_store::{Category, MessageStore, Result, StreamName};

use crate::Account;

/// The category that commands are written to.
pub const COMMANDS: &str = "account:command";

/// The stream that the commands of an account are written to.
///
/// # Errors
/// When the id is empty or too long.
pub fn command_stream(account_id: &str) -> Result<StreamName> {
    Category::new(COMMANDS)?.stream(account_id)
}

/// The consumer of the commands, ready to start.
pub fn commands(store: &Arc<dyn MessageStore>) -> Consumer<CommandHandler<Account>> {
    Consumer::new(COMMANDS, CommandHandler::new(store))
}
