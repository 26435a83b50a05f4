//! `account-component console`: the console of a store, which knows accounts and transfers.

use std::path::Path;

use account_component::Account;
use account_component::transfer::Transfer;
use anyhow::{Result, bail};
use message_store::service::stop_signal;
use message_store_console::{Console, Options};

use super::StoreUrl;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreUrl,
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    // A console makes no store: the name may be misspelt.
    if let Some(path) =
        arguments.store.url.strip_prefix("sqlite:").filter(|path| *path != ":memory:" && !Path::new(path).exists())
    {
        bail!("there is no such file as {path}; `account-component serve` makes it");
    }
    let store = arguments.store.open().await?;
    let console = Console::new(&store).projection::<Account>().projection::<Transfer>();
    let stop = async {
        let _ = stop_signal().await;
    };
    Ok(arguments.options.serve(console, stop).await?)
}
