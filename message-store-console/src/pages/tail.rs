//! The live tail: the latest messages, loaded again by the browser.

use axum::extract::State;
use maud::{Markup, html};
use message_store::Category;

use super::categories::window;
use crate::Console;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::html::{field, live_page, messages};

/// The number of messages that are shown.
const PAGE: usize = 50;
/// The seconds after which the page is loaded again.
const AGAIN: u32 = 2;

pub(crate) async fn tail(State(console): State<Console>, fields: Fields) -> Result<Markup, Failure> {
    let category = fields.get("category").map(Category::new).transpose()?;
    let is_paused = fields.get("paused").is_some();
    let end = console.store.given_out(category.as_ref()).await?;
    let (_, found) = window(&console, category.as_ref(), end).await?;
    let again = (!is_paused).then_some(AGAIN);
    Ok(live_page(
        &console,
        ("Live tail", "/tail"),
        again,
        &html! {
            // The form would lose what is typed when the page is loaded again.
        @if is_paused {
            form {
                input type="hidden" name="paused" value="yes";
                (field("category", "Category", fields.text("category")))
                button { "Show" }
            }
            p { a href=(format!("?{}", fields.with("paused", ""))) { "Go on" } }
        } @else {
            p { a href=(format!("?{}", fields.with("paused", "yes"))) { "Pause, to select and to filter" } ". The page is loaded again every " (AGAIN) " s." }
        }
        (messages(&console, found.iter().rev().take(PAGE)))
        },
    ))
}
