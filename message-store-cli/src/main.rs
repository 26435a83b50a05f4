//! `message-store`: operate a store from a shell.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod allow_sql_condition;
mod archive;
mod check;
mod confirm;
mod dead_letter;
mod erase;
mod identity;
mod migrate;
mod open;
mod position;
mod read_model;
mod table;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Operate a message store.
#[derive(Debug, Parser)]
#[command(name = "message-store", version, propagate_version = true)]
struct Arguments {
    /// Log progress (once: the main actions; twice: everything)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create or upgrade a store's schema, or adopt a database of Message DB
    Migrate(migrate::Migrate),
    /// Report what is installed in a store, what is missing or changed, and the effects
    Check(check::Check),
    /// Allow sessions of a PostgreSQL store to insert SQL conditions into reads, as Message DB does when its setting is
    /// on
    AllowSqlCondition(allow_sql_condition::AllowSqlCondition),
    /// List, show, retry and discard messages that could not be handled
    DeadLetter(dead_letter::DeadLetterCommand),
    /// List, show and set the positions of consumers
    Position(position::Position),
    /// List the versions of read models and the messages that they have skipped, and set positions
    ReadModel(read_model::ReadModel),
    /// Move old messages of a category to the archive
    Archive(archive::Archive),
    /// Erase the data of a stream or of an entity. The messages stay, without their content
    Erase(erase::Erase),
    /// Show the identity of a store, or give a copy its own
    Identity(identity::Identity),
}

impl Arguments {
    async fn run(self) -> Result<()> {
        match self.command {
            Command::Migrate(arguments) => arguments.run().await,
            Command::Check(arguments) => arguments.run().await,
            Command::AllowSqlCondition(arguments) => arguments.run().await,
            Command::DeadLetter(arguments) => arguments.run().await,
            Command::Position(arguments) => arguments.run().await,
            Command::ReadModel(arguments) => arguments.run().await,
            Command::Archive(arguments) => arguments.run().await,
            Command::Erase(arguments) => arguments.run().await,
            Command::Identity(arguments) => arguments.run().await,
        }
    }
}

/// Logs to standard error, at the level that `RUST_LOG` or `--verbose` sets. Warnings are always logged.
fn log(verbose: u8) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("message_store={level}")));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal).with_writer(std::io::stderr).init();
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.verbose);
    match arguments.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message_store::chain(&*error));
            ExitCode::FAILURE
        }
    }
}
