//! `message-store consumers`: lists, checks and resets consumers.

use std::sync::Arc;

use anyhow::Result;
use message_store::consumer::{MoveTo, Pauses, Positions, SavedPosition};
use message_store::store::Backlog;
use message_store::{Category, GlobalPosition, GroupMember, MessageStore, Timestamp};
use serde_json::json;

use crate::confirm::Confirm;
use crate::exit::Exit;
use crate::open::StoreUrl;
use crate::output::{Format, Rows, done, line, remark};

#[derive(Debug, clap::Args)]
pub(crate) struct Consumers {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the consumers of a category, with their positions and what they have not handled
    #[command(visible_alias = "lag")]
    List(OfCategory),
    /// Fail, with exit code 6, if a consumer of a category is behind. For probes and alarms
    Check(Check),
    /// Show the position of one consumer
    Show(Consumer),
    /// Let a consumer hand out no message, wherever it runs, until it is resumed. A group's members pause together
    Pause(Pause),
    /// Let a consumer go on that was paused
    Resume(Resume),
    /// Set the position of a consumer that has stopped. A group's members are all set, unless one is named
    Reset(Reset),
}

#[derive(Debug, clap::Args)]
struct OfCategory {
    #[command(flatten)]
    store: StoreUrl,
    /// The category that the consumers read, such as account:command
    #[arg(long)]
    category: String,
}

#[derive(Debug, clap::Args)]
struct Consumer {
    #[command(flatten)]
    of: OfCategory,
    /// The consumer's identifier, if it has one
    #[arg(long)]
    identifier: Option<String>,
    /// A member of a group, such as 0/4
    #[arg(long, value_parser = member, requires = "identifier")]
    member: Option<GroupMember>,
}

#[derive(Debug, clap::Args)]
struct Pause {
    #[command(flatten)]
    of: OfCategory,
    /// The consumer's identifier, if it has one
    #[arg(long)]
    identifier: Option<String>,
    /// The reason, which others see
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    why: String,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Debug, clap::Args)]
struct Resume {
    #[command(flatten)]
    of: OfCategory,
    /// The consumer's identifier, if it has one
    #[arg(long)]
    identifier: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Reset {
    #[command(flatten)]
    consumer: Consumer,
    /// The new position: a global position, `beginning`, `end`, or a time such as 2026-11-29T08:00:00Z
    #[arg(long, value_parser = place)]
    to: MoveTo,
    /// Also if the consumer runs or has crashed. A consumer that runs stops at its next save
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Debug, clap::Args)]
struct Check {
    #[command(flatten)]
    of: OfCategory,
    /// The number of messages that a consumer may have not handled yet
    #[arg(long, default_value_t = 1_000)]
    messages: u64,
    /// The age of the oldest of them, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
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

impl Consumers {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        match self.action {
            Action::List(of) => {
                let (store, positions) = of.open().await?;
                let all = with_backlogs(&positions, of.all(&positions).await?).await?;
                show(format, (&store, &of.category), &all).await
            }
            Action::Check(check) => check.run(format).await,
            Action::Show(consumer) => {
                let (store, positions) = consumer.of.open().await?;
                let found = with_backlogs(&positions, consumer.positions(&positions).await?).await?;
                show(format, (&store, &consumer.of.category), &found).await
            }
            Action::Pause(pause) => pause.run().await,
            Action::Resume(resume) => resume.run().await,
            Action::Reset(reset) => reset.run().await,
        }
    }
}

impl OfCategory {
    async fn open(&self) -> Result<(Arc<dyn MessageStore>, Positions)> {
        let store = self.store.open().await?;
        let positions = Positions::of(&store, &self.category)?;
        Ok((store, positions))
    }

    /// All consumers, at least one.
    async fn all(&self, positions: &Positions) -> Result<Vec<SavedPosition>> {
        let all = positions.list().await?;
        if all.is_empty() {
            return Err(Exit::NotFound.because(format!("no consumer of {} has ever run in this store", self.category)));
        }
        Ok(all)
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
        if members.is_empty() {
            let text = format!("no such consumer of {} has ever run in this store", self.of.category);
            return Err(Exit::NotFound.because(text));
        }
        Ok(members)
    }
}

impl Check {
    /// Prints the consumers that are behind.
    async fn run(self, format: Format) -> Result<()> {
        let (store, positions) = self.of.open().await?;
        let mut behind = with_backlogs(&positions, self.of.all(&positions).await?).await?;
        let now = store.now().await?;
        behind.retain(|(_, backlog)| {
            backlog.messages > self.messages || backlog.messages > 0 && backlog.age(now).as_secs() > self.seconds
        });
        if behind.is_empty() {
            line(format_args!("all consumers of {} are up to date", self.of.category))?;
            return if format == Format::Table { Ok(()) } else { show(format, (&store, &self.of.category), &[]).await };
        }
        show(format, (&store, &self.of.category), &behind).await?;
        Err(Exit::Problems.because(format!("{} consumers of {} are behind", behind.len(), self.of.category)))
    }
}

impl Pause {
    async fn run(self) -> Result<()> {
        let (store, positions) = self.of.open().await?;
        let category = &self.of.category;
        let identifier = self.identifier.as_deref();
        let found: Vec<SavedPosition> =
            positions.list().await?.into_iter().filter(|saved| saved.identifier.as_deref() == identifier).collect();
        if found.is_empty() {
            remark(format_args!(
                "no such consumer of {category} has run in this store yet; one that starts will be paused"
            ));
        }
        for saved in &found {
            line(format_args!("{saved}, {} messages behind", positions.backlog(saved).await?.messages))?;
        }
        if !self.confirm.goes_on("Pause it?", "paused")? {
            return Ok(());
        }
        let is_new = Pauses::of(&store, category, identifier)?.pause(&self.why).await?;
        let text =
            if is_new { "it is paused; consumers that run read that within seconds" } else { "it was paused already" };
        done(text, [("paused", json!(true)), ("was paused", json!(!is_new))])
    }
}

impl Resume {
    async fn run(self) -> Result<()> {
        let (store, _) = self.of.open().await?;
        let resumed = Pauses::of(&store, &self.of.category, self.identifier.as_deref())?.resume().await?;
        let text = if resumed { "it goes on" } else { "it was not paused" };
        done(text, [("paused", json!(false)), ("was paused", json!(resumed))])
    }
}

impl Reset {
    async fn run(self) -> Result<()> {
        let (store, positions) = self.consumer.of.open().await?;
        let category = Category::new(&self.consumer.of.category)?;
        let found = self.consumer.positions(&positions).await?;
        let to = positions.resolve(self.to).await?;
        for saved in &found {
            let from = saved.position;
            let messages = if self.confirm.counts() {
                let backlog = |after| store.backlog(&category, after);
                let (before, after) = (backlog(from).await?.messages, backlog(to).await?.messages);
                match after.checked_sub(before) {
                    Some(again) => format!(": {again} messages are delivered again"),
                    None => format!(": {} messages are passed over", before - after),
                }
            } else {
                String::new()
            };
            line(format_args!("{}: from {from} to {to}{messages}", saved.stream))?;
        }
        if !self.confirm.goes_on("Set it?", "set")? {
            return Ok(());
        }
        for saved in &found {
            // Not to `self.to`, which may be another position by now than the one that was shown.
            let to = MoveTo::Position(to);
            if self.force {
                positions.set_by_force(saved, to).await?
            } else {
                positions.set(saved, to).await?
            };
        }
        let fields = [("set", json!(found.len())), ("position", json!(to.get()))];
        done(format_args!("{} positions are set", found.len()), fields)
    }
}

/// Each consumer with the messages that it has not handled.
async fn with_backlogs(positions: &Positions, found: Vec<SavedPosition>) -> Result<Vec<(SavedPosition, Backlog)>> {
    let mut all = Vec::new();
    for saved in found {
        let backlog = positions.backlog(&saved).await?;
        all.push((saved, backlog));
    }
    Ok(all)
}

/// As a table shows them: `handled 12, duplicate 1`.
fn counted(saved: &SavedPosition) -> String {
    let counts: Vec<String> = saved.outcomes.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    counts.join(", ")
}

async fn show(
    format: Format,
    (store, category): (&Arc<dyn MessageStore>, &str),
    found: &[(SavedPosition, Backlog)],
) -> Result<()> {
    let columns =
        ["consumer", "member", "position", "end", "messages behind", "seconds behind", "outcomes", "saved", "state"];
    let mut rows = Rows::new(format, columns)?;
    let now = store.now().await?;
    for (saved, backlog) in found {
        let pause = Pauses::of(store, category, saved.identifier.as_deref())?.current().await?;
        let state = match (saved.saved_at, saved.is_stopped, &pause) {
            (_, _, Some(pause)) => pause.to_string(),
            (None, ..) => "has never run".to_owned(),
            (_, true, _) => "stopped".to_owned(),
            (_, false, _) => "runs, or has crashed".to_owned(),
        };
        let outcomes = if format == Format::Table { json!(counted(saved)) } else { json!(saved.outcomes) };
        rows.add([
            json!(saved.identifier),
            json!(saved.member.map(|member| format!("{}/{}", member.number(), member.size()))),
            json!(saved.position.get()),
            json!(backlog.end.get()),
            json!(backlog.messages),
            json!((backlog.age(now).as_secs_f64() * 10.0).round() / 10.0),
            outcomes,
            json!(saved.saved_at.map(|time| time.to_string())),
            json!(state),
        ])?;
    }
    rows.print()
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
