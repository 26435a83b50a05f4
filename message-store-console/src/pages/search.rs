//! Search: by category, entity, types, tag, time and text, with a bounded cost.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use message_store::operations::Search;
use message_store::{Category, GlobalPosition, MessageId, Tag, Timestamp};

use crate::Console;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::html::{field, messages, page};

/// The number of messages of a page, and at which a page looks.
const PAGE: usize = 50;
const LOOK: usize = 5_000;
/// The fields of the form, and their names for people.
const FIELDS: [(&str, &str); 7] = [
    ("category", "Category"),
    ("entity", "Entity"),
    ("type", "Type"),
    ("tag", "Tag"),
    ("since", "Since"),
    ("until", "Until"),
    ("text", "Text"),
];

pub(crate) async fn search(State(console): State<Console>, fields: Fields) -> Result<Response, Failure> {
    if let Some(id) = fields.parse::<MessageId>("id")? {
        return Ok(Redirect::to(&format!("/messages/{id}")).into_response());
    }
    let mut search = Search::of(&console.store).look_at(LOOK).types(fields.get("type"));
    if let Some(category) = fields.get("category") {
        search = search.category(Category::new(category)?);
    }
    if let Some(entity) = fields.get("entity") {
        search = search.entity(entity);
    }
    if let Some(tag) = fields.get("tag") {
        search = search.tag(Tag::new(tag)?);
    }
    if let Some(since) = fields.parse::<Timestamp>("since")? {
        search = search.since(since);
    }
    if let Some(until) = fields.parse::<Timestamp>("until")? {
        search = search.until(until);
    }
    if let Some(text) = fields.get("text") {
        if console.hides_data {
            return Err(Failure::invalid("this console hides data (--hide-data), so it finds no message by a text"));
        }
        search = search.text(text);
    }
    let after: i64 = fields.parse("after")?.unwrap_or_default();
    let found = search.after(GlobalPosition::new(after.max(0))).page(PAGE).await?;
    let shown = page(
        &console,
        "Search",
        "/search",
        &html! {
            form {
                @for (name, label) in FIELDS.into_iter().filter(|(name, _)| !(console.hides_data && *name == "text")) {
                    (field(name, label, fields.text(name)))
                }
                button { "Search" }
            }
            form { (field("id", "Id of a message", "")) button { "Show" } }
            p {
                "Looked through global position " (found.looked_through) " of " (found.end) ". "
                @if !found.is_end { a href=(format!("?{}", fields.with("after", found.looked_through))) { "Go on" } }
            }
            (messages(&console, &found.messages))
        },
    );
    Ok(shown.into_response())
}
