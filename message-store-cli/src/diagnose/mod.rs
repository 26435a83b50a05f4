//! `message-store diagnose`: says what is wrong with a store and what runs on it, and what mends it.

mod server;

use std::time::Duration;

use anyhow::Result;
use message_store::operations::{Diagnosing, Trouble, TroubleKind};
use serde_json::json;

use server::server_troubles;

use crate::exit::Exit;
use crate::open::{Backend, StoreUrl, open};
use crate::output::{Format, Rows, line, remark, without_control};

#[derive(Debug, clap::Args)]
pub(crate) struct Diagnose {
    #[command(flatten)]
    store: StoreUrl,
    /// How many seconds something may stand still before it is a trouble
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    patience: u64,
}

impl Diagnose {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let (url, patience) = (self.store.url()?, Duration::from_secs(self.patience));
        let mut troubles = Vec::new();
        if Backend::of(&url)? == Backend::Postgres {
            troubles.extend(server_troubles(&url, patience).await?);
        }
        let cannot_open = match open(&url).await {
            Ok(store) => {
                troubles.extend(Diagnosing::of(&store).patience(patience).troubles().await?);
                None
            }
            // The schema says why.
            Err(error) if troubles.iter().any(|trouble| trouble.kind == TroubleKind::SchemaToUpgrade) => Some(error),
            Err(error) => return Err(error),
        };
        if let Some(error) = cannot_open {
            remark(format_args!("(the store cannot be opened, so what runs on it was not looked at: {error:#})"));
        }
        show(format, &troubles)?;
        match troubles.len() {
            0 => Ok(()),
            1 => Err(Exit::Problems.because("1 trouble")),
            count => Err(Exit::Problems.because(format!("{count} troubles"))),
        }
    }
}

fn show(format: Format, troubles: &[Trouble]) -> Result<()> {
    if format == Format::Table {
        if troubles.is_empty() {
            return line("no trouble was found");
        }
        return troubles.iter().try_for_each(|Trouble { kind, what, mend, .. }| {
            line(format_args!("{}: {}", kind.name(), without_control(what)))?;
            line(format_args!("    {}", without_control(mend)))
        });
    }
    let mut rows = Rows::new(format, ["trouble", "what", "mend"])?;
    for Trouble { kind, what, mend, .. } in troubles {
        rows.add([json!(kind.name()), json!(what), json!(mend)])?;
    }
    rows.print()
}
