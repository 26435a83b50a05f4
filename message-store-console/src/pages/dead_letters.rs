//! Dead letters: messages that could not be handled, with their attempts.

use std::pin::pin;

use axum::extract::State;
use futures_util::{StreamExt as _, TryStreamExt as _};
use maud::{Markup, html};
use message_store::Category;
use message_store::consumer::{DeadLetter, DeadLetters, LetterQuery, LetterState, Positions};

use crate::Console;
use crate::actions::form;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::html::{category_link, error, field, message_link, name, page, stream_link, time, visible};

/// The number of letters that are shown of a consumer.
const PAGE: usize = 30;
/// The number of deliveries that are shown of a letter.
const DELIVERIES: usize = 3;

pub(crate) async fn dead_letters(State(console): State<Console>, fields: Fields) -> Result<Markup, Failure> {
    let of = fields.get("category").map(Category::new).transpose()?;
    let mut found = Vec::new();
    for (category, identifier) in consumers(&console, of.as_ref()).await? {
        let letters = DeadLetters::of(&console.store, category.as_str(), identifier.as_deref())?;
        let query = match fields.get("type") {
            Some(message_type) => LetterQuery::default().message_type(message_type),
            None => LetterQuery::default(),
        };
        let skip: usize = fields.parse("skip")?.unwrap_or_default();
        let mut selected = pin!(letters.select(&query).skip(skip));
        let mut shown: Vec<DeadLetter> = Vec::new();
        while shown.len() < PAGE
            && let Some(letter) = selected.try_next().await?
        {
            shown.push(letter);
        }
        if !shown.is_empty() {
            found.push((category, identifier, shown));
        }
    }
    Ok(page(
        &console,
        "Dead letters",
        "/dead-letters",
        &html! {
            form {
                (field("category", "Category", fields.text("category")))
                (field("type", "Type", fields.text("type")))
                button { "Show" }
            }
            @if found.is_empty() { p { "No message waits." } }
            @for (category, identifier, letters) in &found {
                h2 { (category_link(category.as_str())) @if let Some(identifier) = identifier { " (" (visible(identifier)) ")" } }
                @if letters.len() == PAGE { p { a href=(next(&fields)) { "Next " (PAGE) } } }
                div.wide { table {
                    thead { tr { th { "Set aside" } th { "Message" } th { "Stream" } th { "Attempts" } th { "State" } th { "Error" } @if console.allows_actions { th { "Actions" } } } }
                    tbody { @for letter in letters { (row(&console, (category, identifier.as_deref()), letter)) } }
                } }
            }
        },
    ))
}

/// The link to the next letters of each consumer.
fn next(fields: &Fields) -> String {
    let skipped: usize = fields.text("skip").parse().unwrap_or_default();
    format!("?{}", fields.with("skip", skipped + PAGE))
}

/// The consumers of a category, or all.
async fn consumers(console: &Console, of: Option<&Category>) -> Result<Vec<(Category, Option<String>)>, Failure> {
    let (store, mut found) = (&console.store, Vec::new());
    for category in
        Positions::categories(store).await?.into_iter().filter(|category| of.is_none_or(|of| of == category))
    {
        let saved = Positions::of(store, category.as_str())?.list().await?;
        found.extend(saved.into_iter().map(|saved| (category.clone(), saved.identifier)));
    }
    // A group has a position for each member.
    found.dedup();
    Ok(found)
}

fn row(console: &Console, (category, identifier): (&Category, Option<&str>), letter: &DeadLetter) -> Markup {
    let id = letter.message.id.to_string();
    let of = [("category", category.as_str()), ("identifier", identifier.unwrap_or_default()), ("message", &id)];
    let waits = letter.state == LetterState::Parked;
    let state = html! { @if console.hides_data { @if waits { "set aside" } @else { "requested" } } @else { (visible(&letter.state.to_string())) } };
    html! { tr {
        td { (time(letter.parked_at)) }
        td { (name(&letter.message_type)) " " (message_link(letter.message.id)) }
        td { (stream_link(&letter.message.stream)) }
        td.number { (letter.attempts) }
        td { (state) }
        td {
            (error(console, &letter.error))
            @if letter.failures.len() > 1 { details { summary { (letter.failures.len()) " deliveries" } ol {
                @for failure in letter.failures.iter().rev().take(DELIVERIES) {
                    li { (time(failure.time)) ", " (failure.attempts) " attempts: " (error(console, &failure.error)) }
                }
            } } }
        }
        @if console.allows_actions { td { @if waits { (form(console, "retry", "Retry…", &of)) (form(console, "discard", "Discard…", &of)) } } }
    } }
}
