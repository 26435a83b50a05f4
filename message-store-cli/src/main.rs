//! `message-store`: operate a store from a shell.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod allow_sql_condition;
mod archive;
mod catalog;
mod check;
mod confirm;
#[cfg(feature = "console")]
mod console;
mod consumers;
mod context;
mod contexts;
mod dead_letters;
mod dedup;
mod diagnose;
mod erase;
mod exit;
mod export;
mod groups;
mod identity;
mod import;
mod messages;
mod migrate;
mod open;
mod output;
mod read_models;
mod services;
mod shell;
mod stories;
mod timers;
mod transfer;
mod verify;
mod when;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use exit::{code_of, is_broken_pipe};
use output::{Format, remark};

/// Operate a message store.
#[derive(Debug, Parser)]
#[command(name = "message-store", version, propagate_version = true, after_help = exit::HELP)]
struct Arguments {
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Format,

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
    /// Say what is wrong with a store and with what runs on it, and what mends it
    Diagnose(diagnose::Diagnose),
    /// List the services that run on a store, or have run on it within a day, and what they report
    Services(services::Services),
    /// Append a message to a stream
    Write(messages::Write),
    /// List the messages of a stream, of a category or of the store
    Read(messages::Read),
    /// Find messages by category, entity, types, tags, time and text
    Search(messages::Search),
    /// Show a message
    Get(messages::Get),
    /// Show the last message of a stream
    Last(messages::Last),
    /// Print messages as they are written
    Tail(messages::Tail),
    /// Count the messages of each category
    Stats(catalog::Stats),
    /// List the message types of a category or of the store
    Types(catalog::Types),
    /// List the streams of a category or of the store, those with the latest messages first
    Streams(catalog::Streams),
    /// Show the causes and the effects of a message, of a correlation or of an intent
    Trace(stories::Trace),
    /// Show what each event of an entity changed
    History(stories::History),
    /// Say what is known of a message: its cause and effects, and what consumers have done with it
    Explain(stories::Explain),
    /// Read the whole store, such as a restored backup, and say what is wrong in it
    Verify(verify::Verify),
    /// Allow sessions of a PostgreSQL store to insert SQL conditions into reads, as Message DB does when its setting is
    /// on
    AllowSqlCondition(allow_sql_condition::AllowSqlCondition),
    /// List, show, retry and discard messages that could not be handled
    DeadLetters(dead_letters::DeadLettersCommand),
    /// List, check and reset consumers
    Consumers(consumers::Consumers),
    /// List the versions of read models and the messages that they have skipped, and set positions
    ReadModels(read_models::ReadModels),
    /// Show the members and slots of elastic groups
    Groups(groups::Groups),
    /// List and cancel timers
    Timers(timers::Timers),
    /// Remove keys of de-duplication whose windows are over
    Dedup(dedup::Dedup),
    /// Copy categories to another store, with their ids and timers. It can be run again
    Transfer(transfer::Transfer),
    /// Write messages and timers to a file, one line of JSON each. It can be run again, and goes on
    Export(export::Export),
    /// Write the messages and timers of an export into a store, with their ids. It can be run again
    Import(import::Import),
    /// Move old messages of a category to the archive
    Archive(archive::Archive),
    /// Erase the data of a stream or of an entity. The messages stay, without their content
    Erase(erase::Erase),
    /// Show the identity of a store, or give a copy its own
    Identity(identity::Identity),
    /// Give stores names, for `--context`
    Context(context::Context),
    /// Serve pages that show what a store contains and what runs on it, until SIGTERM or Ctrl-C
    #[cfg(feature = "console")]
    Console(console::Console),
    /// Print completions for a shell
    Completions(shell::Completions),
    /// Print the manual in the format of man pages
    Man,
}

impl Arguments {
    async fn run(self) -> Result<()> {
        let format = self.output;
        output::set_form(format);
        match self.command {
            Command::Write(arguments) => arguments.run(format).await,
            Command::Read(arguments) => arguments.run(format).await,
            Command::Search(arguments) => arguments.run(format).await,
            Command::Get(arguments) => arguments.run(format).await,
            Command::Last(arguments) => arguments.run(format).await,
            Command::Tail(arguments) => arguments.run(format).await,
            Command::Stats(arguments) => arguments.run(format).await,
            Command::Types(arguments) => arguments.run(format).await,
            Command::Streams(arguments) => arguments.run(format).await,
            Command::Trace(arguments) => arguments.run(format).await,
            Command::History(arguments) => arguments.run(format).await,
            Command::Explain(arguments) => arguments.run(format).await,
            Command::Verify(arguments) => arguments.run(format).await,
            Command::Export(arguments) => arguments.run().await,
            Command::Import(arguments) => arguments.run(format).await,
            Command::Diagnose(arguments) => arguments.run(format).await,
            Command::Services(arguments) => arguments.run(format).await,
            Command::Context(arguments) => arguments.run(format),
            #[cfg(feature = "console")]
            Command::Console(arguments) => arguments.run().await,
            Command::Completions(arguments) => arguments.run::<Self>(),
            Command::Man => shell::manual::<Self>(),
            Command::Migrate(arguments) => arguments.run().await,
            Command::Check(arguments) => arguments.run(format).await,
            Command::AllowSqlCondition(arguments) => arguments.run().await,
            Command::DeadLetters(arguments) => arguments.run(format).await,
            Command::Consumers(arguments) => arguments.run(format).await,
            Command::ReadModels(arguments) => arguments.run(format).await,
            Command::Groups(arguments) => arguments.run(format).await,
            Command::Timers(arguments) => arguments.run(format).await,
            Command::Dedup(arguments) => arguments.run(format).await,
            Command::Transfer(arguments) => arguments.run(format).await,
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
    // A task of its own, because a command may wait for an answer or for input, and then does nothing else.
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            remark("error: interrupted");
            std::process::exit(exit::Exit::Interrupted as i32);
        }
    });
    match arguments.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            remark(format_args!("error: {}", message_store::chain(&*error)));
            code_of(&error)
        }
    }
}
