//! Categories, and the types and streams of one.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use maud::{Markup, html};
use message_store::operations::Search;
use message_store::{Category, GlobalPosition, Message};

use crate::Console;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::html::{category_link, encoded, message_link, page, stream_link, time, visible};

/// The number of categories of a page.
const PAGE: usize = 200;
/// The number of global positions of a look.
const LOOK: i64 = 2_000;
/// The number of streams that are shown.
const STREAMS: usize = 100;

pub(crate) async fn categories(State(console): State<Console>, fields: Fields) -> Result<Markup, Failure> {
    let after = fields.get("after").map(Category::new).transpose()?;
    let found = console.store.categories(after.as_ref(), PAGE).await?;
    let is_own = |category: &Category| category.as_str().contains('+');
    Ok(page(
        &console,
        "Categories",
        "/categories",
        &html! {
            @if found.is_empty() { p { "There are none." } }
            @else { table {
                thead { tr { th { "Category" } th { "Use" } } }
                tbody { @for category in &found { tr {
                    td { (category_link(category.as_str())) }
                    td { @if is_own(category) { "of consumers" } }
                } } }
            } }
            @if let Some(last) = found.last().filter(|_| found.len() == PAGE) {
                p { a href=(format!("?{}", fields.with("after", last))) { "Next page" } }
            }
        },
    ))
}

/// The latest messages of a category up to a global position, and the position after which they are. Where there are none among the
/// last positions, it looks among ten times as many.
pub(super) async fn window(
    console: &Console,
    category: Option<&Category>,
    through: GlobalPosition,
) -> Result<(GlobalPosition, Vec<Message>), Failure> {
    let size = usize::try_from(LOOK).unwrap_or_default();
    let (mut positions, mut before) = (LOOK, through);
    loop {
        let after = GlobalPosition::new((through.get() - positions).max(0));
        let mut search = Search::of(&console.store).after(after).look_at(size);
        if let Some(category) = category {
            search = search.category(category.clone());
        }
        let mut found = search.page(size).await?.messages;
        found.retain(|message| message.global_position <= before);
        if !found.is_empty() || after == GlobalPosition::ZERO {
            return Ok((after, found));
        }
        (positions, before) = (positions.saturating_mul(10), after);
    }
}

/// What is known of a type from a look.
#[derive(Default)]
struct TypeRow<'a> {
    messages: usize,
    last: Option<&'a Message>,
}

pub(crate) async fn category(
    State(console): State<Console>,
    Path(name): Path<String>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let category = Category::new(name)?;
    let end = console.store.given_out(Some(&category)).await?;
    let through: GlobalPosition =
        GlobalPosition::new(fields.parse("through")?.unwrap_or(end.get()).clamp(0, end.get()));
    let (after, found) = window(&console, Some(&category), through).await?;
    if found.is_empty() && through == end {
        return Err(Failure::not_found(format!("the category {category} has no messages")));
    }
    let mut types: BTreeMap<&str, TypeRow<'_>> = BTreeMap::new();
    let mut streams: Vec<&Message> = Vec::new();
    for message in found.iter().rev() {
        let row = types.entry(&message.message_type).or_default();
        row.messages += 1;
        row.last.get_or_insert(message);
        if streams.len() < STREAMS && !streams.iter().any(|other| other.stream == message.stream) {
            streams.push(message);
        }
    }
    let title = format!("Category {category}");
    let query = format!("/search?category={}", encoded(category.as_str()));
    Ok(page(
        &console,
        &title,
        "/categories",
        &html! {
            p {
                "Global positions " (after.get() + 1) " to " (through) " of " (end) ": " (found.len()) " messages. "
                @if after > GlobalPosition::ZERO { a href=(format!("?{}", fields.with("through", after))) { "Earlier" } " " }
                a href=(query) { "Search" }
            }
            h2 { "Types" }
            div.wide { table {
                thead { tr { th { "Type" } th { "Messages here" } th { "Last" } th { "Time" } } }
                tbody { @for (name, row) in &types { tr {
                    td { a href=(format!("{query}&type={}", encoded(name))) { (visible(name)) } }
                    td.number { (row.messages) }
                    td { @if let Some(last) = row.last { (message_link(last.id)) } }
                    td { @if let Some(last) = row.last { (time(last.time)) } }
                } } }
            } }
            h2 { "Streams, those with the latest messages first" }
            div.wide { table {
                thead { tr { th { "Stream" } th { "Version" } th { "Last type" } th { "Time" } } }
                tbody { @for last in &streams { tr {
                    td { (stream_link(&last.stream)) }
                    td.number { (last.position) }
                    td { (visible(&last.message_type)) }
                    td { (time(last.time)) }
                } } }
            } }
        },
    ))
}
