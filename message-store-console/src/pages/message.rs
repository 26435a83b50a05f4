//! A message: its content, its causes and its effects.

use axum::extract::{Path, State};
use maud::{Markup, html};
use message_store::operations::Tracing;
use message_store::{Message, MessageId};

use crate::Console;
use crate::failure::Failure;
use crate::graph::graph;
use crate::html::{category_link, encoded, long_json, messages, name, page, stream_link, time};

/// The number of messages at which the search for effects looks.
const LOOK: usize = 2_000;
/// The number of messages in the list of causes and effects.
const MOST: usize = 30;

pub(crate) async fn message(State(console): State<Console>, Path(id): Path<String>) -> Result<Markup, Failure> {
    let id: MessageId = id.trim().parse().map_err(|_| Failure::invalid(format!("{id:?} is no id of a message")))?;
    let found = console.store.message(id).await?;
    let found = found.ok_or_else(|| Failure::not_found(format!("there is no message {id}")))?;
    let trace = Tracing::of(&console.store).look_at(LOOK).message(&found).await?;
    let title = format!("{} {id}", name(&found.message_type));
    Ok(page(
        &console,
        &title,
        "/search",
        &html! {
            (facts(&console, &found))
            h2 { "Causes and effects" }
            (graph(&trace, id))
            @if !trace.is_end {
                p { "Looked through global position " (trace.looked_through) " of " (trace.end) ": later effects are not shown." }
            }
            details { summary { "The same as a list" } (messages(&console, trace.messages.iter().take(MOST).map(|traced| &traced.message))) }
            h2 { "Data" }
            @if found.is_erased() { p { em { "erased" } } } @else { (long_json(&console, found.data.text())) }
            h2 { "Metadata" }
            (long_json(&console, found.metadata.text()))
        },
    ))
}

fn facts(console: &Console, message: &Message) -> Markup {
    let metadata = message.decode_metadata();
    let at = format!("/entities/{}?version={}", encoded(message.stream.as_str()), message.position);
    html! { dl.facts {
        dt { "Type" } dd { (name(&message.message_type)) }
        dt { "Category" } dd { (category_link(message.stream.category().as_str())) }
        dt { "Stream" } dd { (stream_link(&message.stream)) " at " (message.position) ", " a href=(at) { "the entity at this version" } }
        dt { "Global position" } dd { (message.global_position) }
        dt { "Time" } dd { (time(message.time)) }
        @if !console.hides_data {
            @if let Some(correlation) = &metadata.correlation_stream_name { dt { "Correlation" } dd { (name(correlation)) } }
            @if let Some(trace) = &metadata.traceparent { dt { "Trace" } dd { code { (name(trace)) } } }
        }
    } }
}
