//! An entity with time travel: its state at any version, and what each event changed.

use axum::extract::{Path, State};
use maud::{Markup, html};
use message_store::{Json, Position, StreamName};

use crate::Console;
use crate::entities::{At, Changed};
use crate::failure::Failure;
use crate::fields::Fields;
use crate::html::{cut, field, message_link, name, page, stream_link, time, visible};

/// What is shown of the value of a field, in bytes of the page.
const VALUE: usize = 400;
/// The number of fields that are shown of a state, and of a change.
const FIELDS: usize = 100;
const CHANGED: usize = 10;

pub(crate) async fn entity(
    State(console): State<Console>,
    Path(stream): Path<String>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let stream = StreamName::new(stream)?;
    let version = fields.parse::<i64>("version")?.map(|version| Position::new(version.max(0)));
    let at = console.entities.at(&*console.store, &stream, version).await?;
    let at = at.ok_or_else(|| Failure::not_found(format!("the stream {stream} has no messages")))?;
    let title = format!("Entity {stream}, version {}", at.version);
    let go =
        |version: i64, text: &str| html! { a href=(format!("?{}", fields.with("version", version))) { (text) } " " };
    Ok(page(
        &console,
        &title,
        "/categories",
        &html! {
            p { "Stream " (stream_link(&stream)) }
            nav aria-label="Versions" {
                @if at.version > Position::FIRST { (go(0, "First")) (go(at.version.get() - 1, "Before")) }
                @if at.has_later { (go(at.version.get() + 1, "After")) a href="?" { "Last" } }
            }
            form { (field("version", "Version", &at.version.to_string())) button { "Show" } }
            h2 { "State" }
            p { @if at.is_projected { "By the projection of its category." } @else { "The last value of each field of its events: no projection is known here." } }
            (state(&console, &at))
            h2 { "What each event changed" }
            @for changed in &at.changes { (event(&console, changed, at.version)) }
            @if at.changes.back().is_some_and(|last| last.event.position > Position::FIRST) {
                p { (go(at.changes.back().map_or(0, |last| last.event.position.get() - 1), "Earlier events")) }
            }
        },
    ))
}

fn state(console: &Console, at: &At) -> Markup {
    html! {
        @if let Some((position, error)) = &at.failure {
            p.bad { "The event at " (position) " cannot be applied: " (visible(&message_store::chain(error))) ". This is the state before it." }
        }
        @if console.hides_data { p { em { "hidden" } } }
        @else { dl.facts { @for (field, value) in at.state.iter().take(FIELDS) { dt { (name(field)) } dd { code { (shown(value)) } } } } }
        @if at.state.len() > FIELDS { p { "The first " (FIELDS) " of " (at.state.len()) " fields." } }
        @if at.is_cut { p { "Later versions are not shown: a page applies at most 100,000 events." } }
    }
}

fn shown(value: &Json) -> String {
    visible(&cut(value.text(), VALUE))
}

fn event(console: &Console, Changed { event, fields }: &Changed, version: Position) -> Markup {
    html! {
        h3 {
            (event.position) " " (name(&event.message_type)) " " (time(event.time)) " " (message_link(event.id))
            @if event.position == version { " (shown above)" }
        }
        @if event.is_erased() { p { em { "erased" } } }
        @else if console.hides_data { p { em { "hidden" } } }
        @else if fields.is_empty() { p { "It changed nothing." } }
        @else { dl.facts { @for (field, before, after) in fields.iter().take(CHANGED) {
            dt { (name(field)) }
            dd {
                @if let Some(before) = before { code { (shown(before)) } " → " }
                @match after { Some(after) => { code { (shown(after)) } }, None => { em { "removed" } } }
            }
        } }
        @if fields.len() > CHANGED { p { "The first " (CHANGED) " of " (fields.len()) " fields." } } }
    }
}
