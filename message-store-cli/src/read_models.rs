//! `message-store read-models`: lists the versions of read models and skipped messages, and sets positions.

use anyhow::{Context as _, Result, bail};
use message_store::GlobalPosition;
use message_store::consumer::MoveTo;
use message_store::store::VersionState;
use serde_json::json;

use crate::confirm::Confirm;
use crate::consumers::place;
use crate::exit::Exit;
use crate::open::StoreUrl;
use crate::output::{Format, Rows, done, line};

#[derive(Debug, clap::Args)]
pub(crate) struct ReadModels {
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
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Set the position of a read model, of the version that serves. Empty its tables before: the messages after the position are applied again
    Set {
        /// The name of the read model
        name: String,
        /// The new position: a global position, `beginning` or `end` (of the store)
        #[arg(long, value_parser = place)]
        to: MoveTo,
        #[command(flatten)]
        confirm: Confirm,
    },
}

impl ReadModels {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let read_models = store.read_models().context("this store has no read models")?;
        match self.action {
            Action::List => {
                let mut rows = Rows::new(format, ["read model", "version", "state", "position", "of", "stopped by"])?;
                let versions = read_models.versions(None).await?;
                for version in &versions {
                    // A version is built up to the position of the one that serves.
                    let serving = versions
                        .iter()
                        .find(|other| other.name == version.name && other.state == VersionState::Serving);
                    let end = match version.state {
                        VersionState::Building => serving.map(|serving| serving.position.get()),
                        _ => None,
                    };
                    rows.add([
                        json!(version.name),
                        json!(version.version),
                        json!(version.state.to_string()),
                        json!(version.position.get()),
                        json!(end),
                        json!(version.failure),
                    ])?;
                }
                return rows.print();
            }
            Action::Skipped { name } => {
                let mut rows =
                    Rows::new(format, ["version", "skipped at", "global position", "message", "type", "error"])?;
                for skipped in read_models.skipped(&name).await? {
                    rows.add([
                        json!(skipped.version),
                        json!(skipped.skipped_at.to_string()),
                        json!(skipped.message.global_position.get()),
                        json!(skipped.message.to_string()),
                        json!(skipped.message_type),
                        json!(skipped.error),
                    ])?;
                }
                return rows.print();
            }
            Action::Switch { name, to, confirm } => {
                let versions = read_models.versions(Some(&name)).await?;
                let serving = versions.iter().find(|version| version.state == VersionState::Serving);
                let Some(found) = versions.iter().find(|version| version.version == to) else {
                    return Err(
                        Exit::NotFound.because(format!("the read model {name:?} has no version {to} in this store"))
                    );
                };
                let serving = serving.map_or_else(|| "none".to_owned(), |serving| serving.version.to_string());
                line(format_args!("{name}: from version {serving} to version {to}, which {}", found.state))?;
                if !confirm.goes_on("Ask for it?", "changed")? {
                    return Ok(());
                }
                if !read_models.switch_to(&name, to).await? {
                    bail!("the read model {name:?} has no version {to} in this store");
                }
                let text = format!(
                    "{name}: version {to} serves, or its updater builds it up to the version that serves, and switches"
                );
                done(text, [("read model", json!(name)), ("version", json!(to))])?;
            }
            Action::Set { name, to, confirm } => {
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
                    return Err(
                        Exit::NotFound.because(format!("no read model {name:?} was ever updated in this store"))
                    );
                };
                line(format_args!("{name}: from {from} to {to}"))?;
                if !confirm.goes_on("Set it?", "set")? {
                    return Ok(());
                }
                if !read_models.set_position(&name, to).await? {
                    bail!("no read model {name:?} was ever updated in this store");
                }
            }
        }
        Ok(())
    }
}
