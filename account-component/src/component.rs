//! The component is a consumer that carries out the commands of all accounts.

use std::sync::Arc;

use message_store::consumer::{Consumer, ElasticGroup, OnFailure};
use message_store::handling::{CommandHandler, Handler};
use message_store::service::Service;
use message_store::{Category, MessageStore, Result, StreamName};

use crate::{Account, read_models, transfer};

/// The category of the commands.
pub const COMMANDS: &str = "account:command";

/// The stream of the commands for an account.
///
/// # Errors
/// Returns an error if the id is empty or too long.
pub fn command_stream(account_id: &str) -> Result<StreamName> {
    Category::new(COMMANDS)?.stream(account_id)
}

/// The component as a service: accounts, transfers between them, and read models. It is not started yet. Several processes
/// can run it: they divide the accounts and the transfers among themselves. A command that cannot be handled is set aside with the
/// later ones of its account, and the other accounts go on.
pub fn service(store: &Arc<dyn MessageStore>, concurrency: usize) -> Service {
    let service = Service::new(store).consumer(in_service(commands(store), concurrency));
    let transfers = transfer::consumers(&transfer::handler(store));
    let service =
        transfers.into_iter().fold(service, |service, consumer| service.consumer(in_service(consumer, concurrency)));
    read_models::updaters().into_iter().fold(service, Service::read_model)
}

fn in_service<H: Handler>(consumer: Consumer<H>, concurrency: usize) -> Consumer<H> {
    consumer.concurrency(concurrency).elastic_group(ElasticGroup::new()).on_failure(OnFailure::Hold)
}

/// The consumer of the commands. It is not started yet.
pub fn commands(store: &Arc<dyn MessageStore>) -> Consumer<CommandHandler<Account>> {
    Consumer::new(COMMANDS, CommandHandler::new(store))
}
