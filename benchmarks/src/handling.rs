//! Consumers of the account component's commands, in this process or as a group of processes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use account_component::Account;
use account_component::component::COMMANDS;
use anyhow::{Result, ensure};
use clap::Args;
use futures_util::future::try_join_all;
use message_store::consumer::Consumer;
use message_store::handling::CommandHandler;
use message_store::{GlobalPosition, GroupMember, MessageStore, connect};
use serde::{Deserialize, Serialize};

use crate::processes::start;

pub const CONCURRENCY: usize = 256;

/// A member of a group, in a process of its own.
#[derive(Clone, Debug, Args)]
pub struct Member {
    #[arg(long)]
    url: String,
    #[arg(long)]
    number: u16,
    #[arg(long)]
    members: u16,
    #[arg(long)]
    last: i64,
}

/// What a consumer handled, and when, in seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handled {
    begun: f64,
    ended: f64,
    messages: u64,
}

impl Handled {
    pub fn per_second(&self, expected: usize) -> Result<f64> {
        ensure!(self.messages == expected as u64, "{} of {expected} messages", self.messages);
        Ok(expected as f64 / (self.ended - self.begun))
    }
}

impl Member {
    pub async fn run(&self) -> Result<()> {
        let (store, member) = (connect(&self.url).await?, GroupMember::new(self.number, self.members)?);
        let handled = handle(&store, "group", Some(member), GlobalPosition::new(self.last)).await?;
        println!("{}", serde_json::to_string(&handled)?);
        Ok(())
    }
}

/// Handles all messages up to `last`.
pub async fn handle(
    store: &Arc<dyn MessageStore>,
    identifier: &str,
    member: Option<GroupMember>,
    last: GlobalPosition,
) -> Result<Handled> {
    let consumer =
        Consumer::new(COMMANDS, CommandHandler::<Account>::new(store)).identifier(identifier).concurrency(CONCURRENCY);
    let consumer = match member {
        Some(member) => consumer.group(member),
        None => consumer,
    };
    let begun = now()?;
    let mut running = consumer.start(store).await?;
    running.wait_for(last).await?;
    let ended = now()?;
    let messages = running.stop().await?.messages();
    Ok(Handled { begun, ended, messages })
}

/// Handles all messages up to `last` in a group of processes. The time counts from the first start to the last end.
pub async fn handle_in_group(url: &str, members: u16, last: GlobalPosition) -> Result<Handled> {
    let (count, last) = (members.to_string(), last.get().to_string());
    let started = (0..members).map(|member| {
        let (number, count, last) = (member.to_string(), &count, &last);
        async move { start("member", &["--url", url, "--number", &number, "--members", count, "--last", last]).await }
    });
    let mut all = Handled { begun: f64::INFINITY, ended: 0.0, messages: 0 };
    let members: Vec<Handled> = try_join_all(started).await?;
    for handled in members {
        all.begun = all.begun.min(handled.begun);
        all.ended = all.ended.max(handled.ended);
        all.messages += handled.messages;
    }
    Ok(all)
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}
