//! The command line.

#[cfg(feature = "console")]
mod console;
mod demo;
mod logs;
#[cfg(feature = "otlp")]
mod otlp;
mod replay;
mod run;
#[cfg(feature = "http")]
mod serve;

use std::sync::Arc;

use anyhow::Result;
use clap::{Parser, Subcommand};
use message_store::{MessageStore, Openers};

pub(crate) use logs::log;

/// An example account service: every command takes effect exactly once, even if it comes repeatedly or out of order.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Arguments {
    /// Log the component's actions (once: the start of consumers; twice: every caught repeat)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show each kind of repeat, and the layer that catches it
    Demo(demo::Arguments),
    /// Run the component as a service, until SIGTERM or Ctrl-C
    Run(run::Arguments),
    /// Serve accounts over HTTP, until SIGTERM or Ctrl-C, with the component in the same process
    #[cfg(feature = "http")]
    Serve(serve::Arguments),
    /// Serve pages that show the store, its accounts and its transfers, until SIGTERM or Ctrl-C
    #[cfg(feature = "console")]
    Console(console::Arguments),
    /// Carry out the transactions of a CSV file, with repeats mixed in, and print the outcomes
    Replay(replay::Arguments),
}

impl Arguments {
    pub(crate) async fn run(self) -> Result<()> {
        match self.command {
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Run(arguments) => run::run(arguments).await,
            #[cfg(feature = "http")]
            Command::Serve(arguments) => serve::run(arguments).await,
            #[cfg(feature = "console")]
            Command::Console(arguments) => console::run(arguments).await,
            Command::Replay(arguments) => replay::run(arguments).await,
        }
    }
}

/// The store of a command.
#[derive(Debug, clap::Args)]
struct StoreUrl {
    /// The store: `postgres://…`, `sqlite:PATH` or `sqlite::memory:`
    #[arg(
        long = "store",
        value_name = "URL",
        env = "MESSAGE_STORE_URL",
        hide_env_values = true,
        default_value = "sqlite:accounts.db"
    )]
    url: String,
}

impl StoreUrl {
    async fn open(&self) -> message_store::Result<Arc<dyn MessageStore>> {
        connect(&self.url).await
    }
}

/// Opens the store that a URL names.
async fn connect(url: &str) -> message_store::Result<Arc<dyn MessageStore>> {
    let openers = Openers::default();
    #[cfg(feature = "jetstream")]
    let openers = message_store_jetstream::register(openers);
    openers.open(url).await
}
