//! `message-store position`: lists, shows and sets the positions of consumers.

use anyhow::{Result, bail};
use message_store::consumer::{MoveTo, Positions, SavedPosition};
use message_store::{GlobalPosition, GroupMember, Timestamp};

use crate::open::StoreUrl;
use crate::table::table;

#[derive(Debug, clap::Args)]
pub(crate) struct Position {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the consumers of a category, with their positions and what they have not handled
    List(Consumers),
    /// Show the position of one consumer
    Get(Consumer),
    /// Set the position of a consumer that has stopped. A group's members are all set, unless one is named
    Set(Set),
}

#[derive(Debug, clap::Args)]
struct Consumers {
    #[command(flatten)]
    store: StoreUrl,
    /// The category that the consumers read, such as account:command
    #[arg(long)]
    category: String,
}

#[derive(Debug, clap::Args)]
struct Consumer {
    #[command(flatten)]
    of: Consumers,
    /// The consumer's identifier, if it has one
    #[arg(long)]
    identifier: Option<String>,
    /// A member of a group, such as 0/4
    #[arg(long, value_parser = member, requires = "identifier")]
    member: Option<GroupMember>,
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    consumer: Consumer,
    /// The new position: a global position, `beginning`, `end`, or a time such as 2026-11-29T08:00:00Z
    #[arg(long, value_parser = place)]
    to: MoveTo,
    /// Also if the consumer runs or has crashed. A consumer that runs stops at its next save
    #[arg(long)]
    force: bool,
    /// Show what would be set, and set nothing
    #[arg(long)]
    dry_run: bool,
}

fn member(text: &str) -> Result<GroupMember, String> {
    let parts = text.split_once('/').and_then(|(number, size)| Some((number.parse().ok()?, size.parse().ok()?)));
    let (number, size) = parts.ok_or("a member is written as 0/4: its number, from 0, and the size of the group")?;
    GroupMember::new(number, size).map_err(|error| error.to_string())
}

pub(crate) fn place(text: &str) -> Result<MoveTo, String> {
    match (text, text.parse::<i64>(), text.parse::<Timestamp>()) {
        ("beginning", ..) => Ok(MoveTo::Beginning),
        ("end", ..) => Ok(MoveTo::End),
        (_, Ok(position @ 0..), _) => Ok(MoveTo::Position(GlobalPosition::new(position))),
        (_, _, Ok(time)) => Ok(MoveTo::Time(time)),
        _ => Err("it must be a global position, `beginning`, `end`, or a time such as 2026-11-29T08:00:00Z".to_owned()),
    }
}

impl Position {
    pub(crate) async fn run(self) -> Result<()> {
        match self.action {
            Action::List(of) => {
                let positions = of.open().await?;
                let all = positions.list().await?;
                if all.is_empty() {
                    bail!("no consumer of {} has ever run in this store", of.category);
                }
                show(&of, &positions, &all).await
            }
            Action::Get(consumer) => {
                let positions = consumer.of.open().await?;
                let found = consumer.positions(&positions).await?;
                show(&consumer.of, &positions, &found).await
            }
            Action::Set(set) => set.run().await,
        }
    }
}

impl Consumers {
    async fn open(&self) -> Result<Positions> {
        Ok(Positions::of(&self.store.open().await?, &self.category)?)
    }
}

impl Consumer {
    /// The position of the consumer, or those of the members of its group.
    async fn positions(&self, positions: &Positions) -> Result<Vec<SavedPosition>> {
        let one = positions.get(self.identifier.as_deref(), self.member).await?;
        if one.saved_at.is_some() || self.member.is_some() {
            return Ok(vec![one]);
        }
        let is_of_group = |saved: &SavedPosition| saved.member.is_some() && saved.identifier == self.identifier;
        let members: Vec<_> = positions.list().await?.into_iter().filter(is_of_group).collect();
        Ok(if members.is_empty() { vec![one] } else { members })
    }
}

impl Set {
    async fn run(self) -> Result<()> {
        let positions = self.consumer.of.open().await?;
        for saved in self.consumer.positions(&positions).await? {
            let from = saved.position;
            if self.dry_run {
                println!("{}: from {from} to {} (nothing was set)", saved.stream, positions.resolve(self.to).await?);
                continue;
            }
            let to = if self.force {
                positions.set_by_force(&saved, self.to).await?
            } else {
                positions.set(&saved, self.to).await?
            };
            println!("{}: from {from} to {to}", saved.stream);
        }
        Ok(())
    }
}

async fn show(of: &Consumers, positions: &Positions, found: &[SavedPosition]) -> Result<()> {
    let now = of.store.open().await?.now().await?;
    let mut table =
        table(["consumer", "member", "position", "end", "messages behind", "seconds behind", "saved", "state"]);
    for saved in found {
        let backlog = positions.backlog(saved).await?;
        let state = match (saved.saved_at, saved.is_stopped) {
            (None, _) => "has never run",
            (_, true) => "stopped",
            (_, false) => "runs, or has crashed",
        };
        table.add_row([
            saved.identifier.clone().unwrap_or_else(|| "-".to_owned()),
            saved.member.map_or_else(|| "-".to_owned(), |member| format!("{}/{}", member.number(), member.size())),
            saved.position.to_string(),
            backlog.end.to_string(),
            backlog.messages.to_string(),
            format!("{:.1}", backlog.age(now).as_secs_f64()),
            saved.saved_at.map_or_else(|| "-".to_owned(), |time| time.to_string()),
            state.to_owned(),
        ]);
    }
    println!("{table}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_position_a_word_or_a_time() {
        assert_eq!(place("beginning"), Ok(MoveTo::Beginning));
        assert_eq!(place("end"), Ok(MoveTo::End));
        assert_eq!(place("17"), Ok(MoveTo::Position(GlobalPosition::new(17))));
        assert!(matches!(place("2026-11-29T08:00:00Z"), Ok(MoveTo::Time(_))));
        for wrong in ["-1", "yesterday", ""] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_member_has_a_number_and_a_size() {
        assert_eq!(member("1/4").map(|member| (member.number(), member.size())), Ok((1, 4)));
        for wrong in ["4/4", "1", "a/b", "-1/4"] {
            assert!(member(wrong).is_err(), "{wrong}");
        }
    }
}
