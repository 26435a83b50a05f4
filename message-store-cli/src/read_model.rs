//! `message-store read-model`: lists the versions of read models and skipped messages, and sets positions.

use anyhow::{Context as _, Result, bail};
use message_store::GlobalPosition;
use message_store::consumer::MoveTo;
use message_store::store::VersionState;

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
    /// List the versions of the read models: their states, and the global positions up to which messages are applied
    List,
    /// List the messages that a read model could not apply and has passed over
    Skipped {
        /// The name of the read model
        name: String,
    },
    /// Ask for a version to serve that stands by: its updater builds it further, and switches. For the version that serves:
    /// give up the one that is built
    Switch {
        /// The name of the read model
        name: String,
        /// The version
        #[arg(long)]
        to: u32,
    },
    /// Set the position of a read model, of the version that serves. Empty its tables before: the messages after the position are applied again
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
                let mut table = table(["read model", "version", "state", "position", "of", "stopped by"]);
                let versions = read_models.versions(None).await?;
                for version in &versions {
                    // A version is built up to the position of the one that serves.
                    let serving = versions
                        .iter()
                        .find(|other| other.name == version.name && other.state == VersionState::Serving);
                    let end = match version.state {
                        VersionState::Building => serving.map_or_else(String::new, |end| end.position.to_string()),
                        _ => String::new(),
                    };
                    table.add_row([
                        version.name.clone(),
                        version.version.to_string(),
                        version.state.to_string(),
                        version.position.to_string(),
                        end,
                        version.failure.clone().unwrap_or_default(),
                    ]);
                }
                println!("{table}");
            }
            Action::Skipped { name } => {
                let mut table = table(["version", "skipped at", "global position", "message", "type", "error"]);
                for skipped in read_models.skipped(&name).await? {
                    table.add_row([
                        skipped.version.to_string(),
                        skipped.skipped_at.to_string(),
                        skipped.message.global_position.to_string(),
                        skipped.message.to_string(),
                        skipped.message_type,
                        skipped.error,
                    ]);
                }
                println!("{table}");
            }
            Action::Switch { name, to } => {
                if !read_models.switch_to(&name, to).await? {
                    bail!("the read model {name:?} has no version {to} in this store");
                }
                println!(
                    "{name}: version {to} serves, or its updater builds it up to the version that serves, and switches"
                );
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
