//! `message-store read-model`: lists and sets the positions of read models.

use anyhow::{Context as _, Result, bail};
use message_store::GlobalPosition;

use crate::open::StoreUrl;
use crate::table::table;

#[derive(Debug, clap::Args)]
pub(crate) struct ReadModel {
    #[command(flatten)]
    store: StoreUrl,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the read models, with the global positions up to which messages are applied
    List,
    /// Set the position of a read model. Empty its tables before: the messages after the position are applied again
    Set {
        /// The name of the read model
        name: String,
        /// The new global position; 0 is before the first message
        #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
        to: i64,
    },
}

impl ReadModel {
    pub(crate) async fn run(self) -> Result<()> {
        let store = self.store.open().await?;
        let read_models = store.read_models().context("this store has no read models")?;
        match self.action {
            Action::List => {
                let mut table = table(["read model", "position"]);
                for (name, position) in read_models.positions().await? {
                    table.add_row([name, position.to_string()]);
                }
                println!("{table}");
            }
            Action::Set { name, to } => {
                if !read_models.set_position(&name, GlobalPosition::new(to)).await? {
                    bail!("no read model {name:?} was ever updated in this store");
                }
                println!("{name}: at {to}");
            }
        }
        Ok(())
    }
}
