//! `message-store groups`: shows the members and slots of elastic groups.

use anyhow::{Context as _, Result};
use message_store::consumer::GroupStatus;
use serde_json::json;

use crate::exit::Exit;
use crate::open::StoreUrl;
use crate::output::{Format, Rows};

#[derive(Debug, clap::Args)]
pub(crate) struct Groups {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the groups, with the numbers of their members and of their slots without an owner
    List {
        #[command(flatten)]
        store: StoreUrl,
    },
    /// List the members of a group that have a lease, with their slots
    Owners(Group),
    /// List the slots of a group, with their owners and positions
    Slots(Group),
}

#[derive(Debug, clap::Args)]
struct Group {
    #[command(flatten)]
    store: StoreUrl,
    /// The category that the group's consumers read, such as account:command
    #[arg(long)]
    category: String,
    /// The consumers' identifier, if they have one
    #[arg(long)]
    identifier: Option<String>,
}

impl Group {
    async fn status(&self) -> Result<GroupStatus> {
        let status = GroupStatus::of(&self.store.open().await?, &self.category, self.identifier.as_deref()).await?;
        status.ok_or_else(|| {
            let identifier =
                self.identifier.as_ref().map_or_else(String::new, |name| format!(" with the identifier {name}"));
            Exit::NotFound
                .because(format!("no elastic group of {}{identifier} has ever run in this store", self.category))
        })
    }
}

impl Groups {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        match self.action {
            Action::List { store } => list(format, &store).await,
            Action::Owners(group) => owners(format, &group.status().await?),
            Action::Slots(group) => slots(format, &group.status().await?),
        }
    }
}

async fn list(format: Format, store: &StoreUrl) -> Result<()> {
    let store = store.open().await?;
    let leases = store.leases().context("this store has no groups")?;
    let mut rows = Rows::new(format, ["group", "members", "slots", "unowned slots"])?;
    for name in leases.groups().await? {
        let group = leases.group(&name).await?;
        let owned = group.slots.iter().filter(|slot| slot.owner.is_some()).count();
        rows.add([
            json!(name),
            json!(group.members.len()),
            json!(group.slots.len()),
            json!(group.slots.len() - owned),
        ])?;
    }
    rows.print()
}

fn owners(format: Format, status: &GroupStatus) -> Result<()> {
    let mut rows = Rows::new(format, ["member", "id", "slots", "seconds of lease left", "takes slots"])?;
    for member in &status.members {
        let slots = status.slots.iter().filter(|slot| slot.owner.as_ref() == Some(&member.name)).count();
        rows.add([
            json!(member.name),
            json!(member.id.to_string()),
            json!(slots),
            json!(member.lease_left.as_secs()),
            json!(member.wants_slots),
        ])?;
    }
    rows.print()
}

fn slots(format: Format, status: &GroupStatus) -> Result<()> {
    let mut rows = Rows::new(format, ["slot", "owner", "epoch", "position", "seconds in this state", "saved"])?;
    for slot in &status.slots {
        rows.add([
            json!(slot.number),
            json!(slot.owner),
            json!(slot.epoch),
            json!(slot.position.get()),
            json!(slot.owned_or_free_for.as_secs()),
            json!(slot.saved_at.map(|time| time.to_string())),
        ])?;
    }
    rows.print()
}
