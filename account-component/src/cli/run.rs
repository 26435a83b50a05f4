//! `account-component run`: the component as a service.

use anyhow::Result;

use account_component::component::service;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The store: `postgres://…` or `sqlite:PATH`
    #[arg(long, value_name = "URL", env = "MESSAGE_STORE_URL", hide_env_values = true)]
    store: String,
    /// The number of commands that are handled at the same time, each of another account
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let store = super::connect(&arguments.store).await?;
    Ok(service(&store, arguments.concurrency).run().await?)
}
