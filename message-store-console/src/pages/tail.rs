//! The live tail: the latest messages, loaded again by the browser.

use axum::extract::State;
use maud::{Markup, html};
use message_store::operations::Search;
use message_store::{Category, GlobalPosition};

use crate::Console;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::html::{field, live_page, messages};

/// The number of messages that are shown.
const PAGE: usize = 50;
/// The number of global positions in which they are sought.
const LOOK: i64 = 1_000;
/// The seconds after which the page is loaded again.
const AGAIN: u32 = 2;

pub(crate) async fn tail(State(console): State<Console>, fields: Fields) -> Result<Markup, Failure> {
    let category = fields.get("category").map(Category::new).transpose()?;
    let is_paused = fields.get("paused").is_some();
    let end = console.store.given_out(category.as_ref()).await?;
    let size = usize::try_from(LOOK).unwrap_or_default();
    let mut search = Search::of(&console.store).after(GlobalPosition::new((end.get() - LOOK).max(0))).look_at(size);
    if let Some(category) = category {
        search = search.category(category);
    }
    let found = search.page(size).await?.messages;
    let again = (!is_paused).then_some(AGAIN);
    Ok(live_page(
        &console,
        ("Live tail", "/tail"),
        again,
        &html! {
            form { (field("category", "Category", fields.text("category"))) button { "Show" } }
            p {
                @if is_paused { a href=(format!("?{}", fields.with("paused", ""))) { "Go on" } }
                @else { "The page is loaded again every " (AGAIN) " s. " a href=(format!("?{}", fields.with("paused", "yes"))) { "Pause" } }
            }
            (messages(&console, found.iter().rev().take(PAGE)))
        },
    ))
}
