//! Consumers: their positions, what they have not handled, their slots and their outcomes.

use std::time::Duration;

use axum::extract::State;
use maud::{Markup, html};
use message_store::Category;
use message_store::consumer::{Pause, Pauses, Positions, SavedPosition};
use message_store::store::{Backlog, GroupRecord};

use crate::Console;
use crate::actions::form;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::html::{category_link, field, page, stream_link, time, visible};

/// A consumer, or a member of a group.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) category: Category,
    pub(crate) saved: SavedPosition,
    pub(crate) backlog: Backlog,
    /// The age of the oldest message that it has not handled.
    pub(crate) age: Duration,
    pause: Option<Pause>,
    group: Option<GroupRecord>,
}

impl Row {
    pub(crate) fn state(&self) -> String {
        match (&self.pause, self.saved.saved_at, self.saved.is_stopped) {
            (Some(pause), ..) => pause.to_string(),
            (None, None, _) => "has never run".to_owned(),
            (None, _, true) => "stopped".to_owned(),
            (None, _, false) => "runs, or has crashed".to_owned(),
        }
    }
}

/// The consumers of a category, or all.
pub(crate) async fn rows(console: &Console, of: Option<&Category>) -> Result<Vec<Row>, Failure> {
    let (store, mut rows) = (&console.store, Vec::new());
    let now = store.now().await?;
    for category in
        Positions::categories(store).await?.into_iter().filter(|category| of.is_none_or(|of| of == category))
    {
        let positions = Positions::of(store, category.as_str())?;
        for saved in positions.list().await? {
            let backlog = positions.backlog(&saved).await?;
            let pause = Pauses::of(store, category.as_str(), saved.identifier.as_deref())?.current().await?;
            let group = match store.leases().filter(|_| saved.slots.is_some()) {
                Some(leases) => Some(leases.group(saved.stream.as_str()).await?),
                None => None,
            };
            rows.push(Row { category: category.clone(), age: backlog.age(now), saved, backlog, pause, group });
        }
    }
    Ok(rows)
}

pub(crate) async fn consumers(State(console): State<Console>, fields: Fields) -> Result<Markup, Failure> {
    let of = fields.get("category").map(Category::new).transpose()?;
    let rows = rows(&console, of.as_ref()).await?;
    Ok(page(
        &console,
        "Consumers",
        "/consumers",
        &html! {
            form { (field("category", "Category", fields.text("category"))) button { "Show" } }
            @if rows.is_empty() { p { (if of.is_some() { "No consumer of this category has run." } else { "No consumer has run on this store." }) } }
            @else { div.wide { table {
                thead { tr {
                    th { "Category" } th { "Identifier" } th { "Member" } th { "Position" } th { "End" } th { "Behind" } th { "Oldest" }
                    th { "Saved" } th { "State" } th { "Outcomes" } @if console.allows_actions { th { "Actions" } }
                } }
                tbody { @for row in &rows { (consumer(&console, row)) } }
            } } }
            @for row in rows.iter().filter(|row| row.group.is_some()) { (slots(row)) }
        },
    ))
}

fn consumer(console: &Console, row: &Row) -> Markup {
    let Row { category, saved, backlog, .. } = row;
    let identifier = saved.identifier.as_deref();
    let of = [("category", category.as_str()), ("identifier", identifier.unwrap_or_default())];
    html! { tr {
        td { (category_link(category.as_str())) }
        td { (identifier.map(visible).unwrap_or_default()) }
        td { @if let Some(member) = saved.member { (member.number()) "/" (member.size()) } }
        td.number { (saved.position) }
        td.number { (backlog.end) }
        td.number { (backlog.messages) }
        td.number { (row.age.as_secs()) " s" }
        td { @if let Some(saved_at) = saved.saved_at { (time(saved_at)) } }
        td {
            (visible(&row.state())) br;
            // A group saves its positions elsewhere.
            @if saved.slots.is_some() { (visible(saved.stream.as_str())) } @else { (stream_link(&saved.stream)) }
        }
        td { @for (outcome, count) in &saved.outcomes { (visible(outcome)) " " (count) br; } }
        @if console.allows_actions { td {
            @if row.pause.is_some() { (form(console, "resume", "Resume…", &of)) } @else { (form(console, "pause", "Pause…", &of)) }
            @if saved.is_stopped { (reset(console, &of, saved)) }
        } }
    } }
}

fn reset(console: &Console, of: &[(&str, &str)], saved: &SavedPosition) -> Markup {
    html! { form method="post" action="/actions/reset" {
        input type="hidden" name="form" value=(console.form);
        @for (name, value) in of { input type="hidden" name=(name) value=(value); }
        label { "To position " input name="to" size="8" inputmode="numeric" value=(saved.position); }
        button { "Reset…" }
    } }
}

fn slots(row: &Row) -> Markup {
    let Some(GroupRecord { members, slots, .. }) = &row.group else { return html! {} };
    let owner = |id| members.iter().find(|member| Some(member.id) == id).map_or("none", |member| member.name.as_str());
    html! {
        h2 { "Slots of " (visible(row.saved.stream.as_str())) }
        p { (members.len()) " members run, and " (slots.iter().filter(|slot| slot.owner.is_none()).count()) " of " (slots.len()) " slots have no owner." }
        details { summary { "Each slot" } div.wide { table {
            thead { tr { th { "Slot" } th { "Owner" } th { "Since" } th { "Epoch" } th { "Saved" } } }
            tbody { @for slot in slots { tr {
                td.number { (slot.number) }
                td { (visible(owner(slot.owner))) }
                td.number { (slot.owned_or_free_for.as_secs()) " s" }
                td.number { (slot.epoch) }
                td { @if let Some(saved_at) = slot.saved_at { (time(saved_at)) } }
            } } }
        } } }
    }
}
