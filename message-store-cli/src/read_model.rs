//! `message-store read-model`: lists and sets the positions of read models.

use anyhow::{Context as _, Result, bail};
use message_store::GlobalPosition;
use message_store::consumer::MoveTo;

use crate::open::StoreUrl;
use crate::position::place;
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
        /// The new position: a global position, `beginning` or `end` (of the store)
        #[arg(long, value_parser = place)]
        to: MoveTo,
        /// Show what would be set, and set nothing
        #[arg(long)]
        dry_run: bool,
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
            Action::Set { name, to, dry_run } => {
                let given_out = store.given_out(None).await?;
                let to = match to {
                    MoveTo::Position(position) if position > given_out => {
                        bail!("{position} is beyond the last position of {}, {given_out}", store.describe());
                    }
                    MoveTo::Position(position) => position,
                    MoveTo::Beginning => GlobalPosition::ZERO,
                    MoveTo::End => given_out,
                    MoveTo::Time(_) => bail!("a read model is set to a position, to `beginning` or to `end`"),
                };
                let all = read_models.positions().await?;
                let Some((_, from)) = all.into_iter().find(|(other, _)| *other == name) else {
                    bail!("no read model {name:?} was ever updated in this store");
                };
                if dry_run {
                    println!("{name}: from {from} to {to} (nothing was set)");
                    return Ok(());
                }
                if !read_models.set_position(&name, to).await? {
                    bail!("no read model {name:?} was ever updated in this store");
                }
                println!("{name}: from {from} to {to}");
            }
        }
        Ok(())
    }
}
