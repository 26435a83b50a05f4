//! The replay carries out a file of real transactions, with repeats mixed in, and ends with the right balances.
//!
//! `transactions.rs` reads the file. `plan.rs` makes messages of it and mixes repeats in. `sender.rs` writes the
//! messages. `courier.rs` delivers some of them again. `report.rs` prints the results.

mod courier;
mod plan;
mod report;
mod sender;
mod transactions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use account_component::Account;
use account_component::component::COMMANDS;
use anyhow::{Context as _, Result};
use message_store::consumer::{Consumer, ConsumerHandle};
use message_store::handling::CommandHandler;
use message_store::{GlobalPosition, MessageStore};

use courier::Courier;
use plan::Plan;
use report::{Progress, Summary};

use super::StoreUrl;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The transactions: CSV with the header `transaction_id,account_id,date,kind,amount`
    file: PathBuf,

    #[command(flatten)]
    store: StoreUrl,

    /// Share of transactions with a second message that has the same transaction id (per cent)
    #[arg(long, value_name = "PCT", default_value_t = 0.0, value_parser = percentage)]
    duplicates: f64,

    /// Share of messages that are delivered a second time (per cent)
    #[arg(long, value_name = "PCT", default_value_t = 0.0, value_parser = percentage)]
    redeliveries: f64,

    /// Share of transactions with a second message that has the same transaction id and another amount (per cent)
    #[arg(long, value_name = "PCT", default_value_t = 0.0, value_parser = percentage)]
    conflicts: f64,

    /// Number of accounts that are handled at a time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    /// Seed for the choice of the transactions that are repeated
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// File for the balances: CSV with the header `account_id,balance,deposits,withdrawals,rejected`
    #[arg(long, value_name = "OUT.csv")]
    balances: Option<PathBuf>,
}

fn percentage(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share @ 0.0..=100.0) => Ok(share),
        _ => Err("it must be a number from 0 to 100".to_owned()),
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let transactions = transactions::read(&arguments.file)?;
    let plan = Plan::new(&transactions, arguments.seed, arguments.duplicates, arguments.conflicts)?;
    let store = arguments.store.open().await.context("opening the store")?;
    let concurrency = usize::from(arguments.concurrency);
    let began = Instant::now();

    let courier = Courier::start(&store, arguments.seed, arguments.redeliveries, concurrency);
    let handler = courier.watch(CommandHandler::<Account>::new(&store));
    let mut running = Consumer::new(COMMANDS, handler).concurrency(concurrency).start(&store).await?;
    eprintln!("{}", running.startup_report());

    let progress = Progress::new(plan.messages());
    let handled = follow(&store, &plan, &mut running, &progress).await;
    progress.finish();
    handled?;
    let counts = running.stop().await?;
    let redelivered = courier.finish().await?;

    let summary = Summary { plan: &plan, counts: &counts, redelivered: &redelivered, elapsed: began.elapsed() };
    println!("{summary}");
    let statements = report::statements(&store, &transactions).await?;
    match &arguments.balances {
        Some(file) => {
            report::write(&statements, file)?;
            println!("balances of {} accounts in {}", statements.len(), file.display());
        }
        None => println!("{} accounts, with {} in them", statements.len(), report::total(&statements)),
    }
    Ok(())
}

/// Writes all messages, and waits until the consumer has handled them.
async fn follow(
    store: &Arc<dyn MessageStore>,
    plan: &Plan,
    running: &mut ConsumerHandle,
    progress: &Progress,
) -> Result<()> {
    let last = tokio::select! {
        last = sender::send(store, plan, |written| progress.written(written)) => last?,
        // The consumer ends by itself only when it fails.
        failed = running.wait_for(GlobalPosition::new(i64::MAX)) => { failed?; GlobalPosition::ZERO }
    };
    loop {
        progress.handled(running.counts().messages());
        tokio::select! {
            handled = running.wait_for(last) => return Ok(handled?),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}
