//! Troubles of consumers: their positions and their groups.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;

use super::{Trouble, TroubleKind, letters};
use crate::consumer::{Pauses, Positions, SavedPosition};
use crate::store::GroupRecord;
use crate::{Category, Message, MessageStore, MessageStoreExt as _, Read, Result, StreamName, Timestamp};

/// The end of the names of the categories with the wishes of operators.
const CONTROL: &str = "+control";

/// How an operator names a consumer in a command.
pub(super) fn arguments(category: &Category, identifier: Option<&str>) -> String {
    let identifier = identifier.map_or_else(String::new, |identifier| format!(" --identifier {identifier}"));
    format!("--category {category}{identifier}")
}

pub(super) async fn look(store: &Arc<dyn MessageStore>, patience: Duration, troubles: &mut Vec<Trouble>) -> Result<()> {
    let now = store.now().await?;
    for category in Positions::categories(store).await? {
        let saved = Positions::of(store, category.as_str())?.list().await?;
        let identifiers: BTreeSet<Option<&str>> = saved.iter().map(|saved| saved.identifier.as_deref()).collect();
        for identifier in identifiers.iter().copied() {
            letters::look(store, &category, identifier, troubles).await?;
        }
        paused_before_their_start(store, &category, &identifiers, troubles).await?;
        for saved in &saved {
            Look { store, category: &category, saved, now, patience }.at_position(troubles).await?;
        }
    }
    Ok(())
}

/// Consumers that are paused and have never run: their names may be misspelt.
async fn paused_before_their_start(
    store: &Arc<dyn MessageStore>,
    category: &Category,
    have_run: &BTreeSet<Option<&str>>,
    troubles: &mut Vec<Trouble>,
) -> Result<()> {
    let control = Category::new(format!("{category}{CONTROL}"))?;
    let wishes: Vec<Message> = store.category_messages(&control, Read::default()).try_collect().await?;
    let streams: BTreeSet<&StreamName> = wishes.iter().map(|wish| &wish.stream).collect();
    for stream in streams {
        let identifier = stream.id();
        if have_run.contains(&identifier) {
            continue;
        }
        if let Some(pause) = Pauses::of(store, category.as_str(), identifier)?.current().await? {
            let arguments = arguments(category, identifier);
            let what = format!("a consumer that has never run ({arguments}) is {pause}");
            let mend = format!("If its name is misspelt, or it may run: `message-store consumers resume {arguments}`");
            troubles.push(Trouble::new(TroubleKind::Paused, what, mend));
        }
    }
    Ok(())
}

/// A look at one consumer.
struct Look<'a> {
    store: &'a Arc<dyn MessageStore>,
    category: &'a Category,
    saved: &'a SavedPosition,
    now: Timestamp,
    patience: Duration,
}

impl Look<'_> {
    async fn at_position(&self, troubles: &mut Vec<Trouble>) -> Result<()> {
        let Self { store, category, saved, .. } = *self;
        let (stream, arguments) = (&saved.stream, arguments(category, saved.identifier.as_deref()));
        let given_out = store.given_out(Some(category)).await?;
        if saved.position > given_out {
            let what = format!("{stream} is at {}, and the store has given out {given_out}", saved.position);
            let mend = format!(
                "The store was restored, or is another one. If it was restored: stop its services, `message-store identity \
                 rotate`, and `message-store consumers reset {arguments} --to beginning --force`. What was handled is recognised"
            );
            troubles.push(Trouble::new(TroubleKind::StoreBehind, what, mend));
            return Ok(());
        }
        if let Some((message, times @ 2..)) = saved.suspect {
            let what = format!("the message {message} has ended the process of {stream} {times} times");
            let mend = format!(
                "`message-store get {message}` shows it. A consumer that sets messages aside does so with it after a few \
                 attempts; until its handler is mended, `message-store consumers pause {arguments} --why \"…\"`"
            );
            troubles.push(Trouble::new(TroubleKind::PoisonLoop, what, mend));
        }
        if let Some(pause) = Pauses::of(store, category.as_str(), saved.identifier.as_deref())?.current().await? {
            let mend = format!("`message-store consumers resume {arguments}`");
            troubles.push(Trouble::new(TroubleKind::Paused, format!("{stream} is {pause}"), mend));
            return Ok(());
        }
        let found =
            if saved.slots.is_some() { self.at_group(&arguments).await? } else { self.at_time(&arguments).await? };
        troubles.extend(found);
        Ok(())
    }

    /// Whether messages wait, and the consumer saves nothing.
    async fn at_time(&self, arguments: &str) -> Result<Option<Trouble>> {
        let Self { store, category, saved, now, patience } = *self;
        let backlog = store.backlog(category, saved.position).await?;
        let age = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let is_late = backlog.messages > 0 && backlog.age(now) > patience;
        if !is_late || saved.saved_at.is_some_and(|saved_at| age(saved_at) <= patience) {
            return Ok(None);
        }
        let state = if saved.is_stopped { "has stopped" } else { "saves no progress" };
        let (stream, messages, seconds) = (&saved.stream, backlog.messages, backlog.age(now).as_secs());
        let what = format!("{stream} {state}, and {messages} messages wait for it, the oldest for {seconds} s");
        let mend = format!(
            "Start its service, or look why it does not go on (`message-store services`). If the consumer is not needed any more, \
             `message-store consumers reset {arguments} --to end`"
        );
        Ok(Some(Trouble::new(TroubleKind::ConsumerStandsStill, what, mend)))
    }

    /// Whether messages wait, and a slot has no owner. A group that has handled everything may have been stopped on purpose.
    async fn at_group(&self, arguments: &str) -> Result<Option<Trouble>> {
        let Self { store, category, saved, patience, .. } = *self;
        let Some(leases) = store.leases() else { return Ok(None) };
        let GroupRecord { members, slots, .. } = leases.group(saved.stream.as_str()).await?;
        let is_unowned = |slot: &&crate::store::SlotRecord| slot.owner.is_none() && slot.owned_or_free_for > patience;
        let unowned: Vec<_> = slots.iter().filter(is_unowned).collect();
        let Some(longest) = unowned.iter().map(|slot| slot.owned_or_free_for).max() else { return Ok(None) };
        if store.backlog(category, saved.position).await?.messages == 0 {
            return Ok(None);
        }
        let (none, all, stream, seconds) = (unowned.len(), slots.len(), &saved.stream, longest.as_secs());
        let what = format!(
            "{none} of the {all} slots of {stream} have no owner, for up to {seconds} s, and {} members run",
            members.len()
        );
        let mend = format!("Start a member of the group; `message-store groups slots {arguments}` shows the slots");
        Ok(Some(Trouble::new(TroubleKind::UnownedSlot, what, mend)))
    }
}
