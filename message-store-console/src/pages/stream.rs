//! A stream: its messages, a page at a time.

use axum::extract::{Path, State};
use maud::{Markup, html};
use message_store::{Position, StreamName, StreamRead};

use crate::Console;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::html::{category_link, encoded, messages, page};

/// The number of messages of a page.
const PAGE: usize = 50;

pub(crate) async fn stream(
    State(console): State<Console>,
    Path(name): Path<String>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let stream = StreamName::new(name)?;
    let from: i64 = fields.parse("from")?.unwrap_or_default();
    let read = StreamRead::forwards_from(Position::new(from.max(0))).limit(PAGE);
    let batch = console.store.read_stream_batch(&stream, read).await?;
    if batch.messages.is_empty() && from == 0 {
        return Err(Failure::not_found(format!("the stream {stream} has no messages")));
    }
    let next = batch.messages.last().filter(|_| !batch.is_end).map(|last| last.position.next());
    let title = format!("Stream {stream}");
    Ok(page(
        &console,
        &title,
        "/categories",
        &html! {
            p {
                "Of the category " (category_link(stream.category().as_str())) ". "
                a href=(format!("/entities/{}", encoded(stream.as_str()))) { "The entity, and what each event changed" }
            }
            (messages(&console, &batch.messages))
            p {
                @if from > 0 { a href=(format!("?{}", fields.with("from", (from - 50).max(0)))) { "Earlier" } " " }
                @if let Some(next) = next { a href=(format!("?{}", fields.with("from", next))) { "Later" } }
            }
        },
    ))
}
