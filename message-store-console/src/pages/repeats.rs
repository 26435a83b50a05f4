//! Repeats: what came again, when, and what it repeated.

use axum::extract::State;
use maud::{Markup, html};
use message_store::service::ServiceReport;

use crate::Console;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::html::{field, message_link, page, stream_link, time, visible};

pub(crate) async fn repeats(State(console): State<Console>, fields: Fields) -> Result<Markup, Failure> {
    let mut found = Vec::new();
    if let Some(reports) = console.store.service_reports() {
        for saved in reports.reports().await? {
            let report = ServiceReport::of(&saved)?;
            for consumer in report.consumers {
                found.extend(
                    consumer.repeats.into_iter().map(|repeat| (report.name.clone(), consumer.category.clone(), repeat)),
                );
            }
        }
    }
    let wanted = |name: &str, value: &str| fields.get(name).is_none_or(|wanted| wanted == value);
    found.retain(|(_, category, repeat)| wanted("category", category) && wanted("outcome", &repeat.outcome));
    found.sort_by_key(|(.., repeat)| std::cmp::Reverse(repeat.at));
    Ok(page(
        &console,
        "Repeats",
        "/repeats",
        &html! {
            p { "The last repeats that each consumer of a service has recognised, within a day: a message that was delivered again, another message with the intent of an earlier one, and one that claims its intent with another content." }
            form {
                (field("category", "Category", fields.text("category")))
                (field("outcome", "Outcome", fields.text("outcome")))
                button { "Show" }
            }
            @if found.is_empty() { p { "None." } }
            @else { div.wide { table {
                thead { tr { th { "Recognised" } th { "Service" } th { "Category" } th { "Outcome" } th { "Message" } th { "Stream" } th { "Original" } th { "Its stream" } } }
                tbody { @for (service, category, repeat) in found.iter().take(200) { tr {
                    td { (time(repeat.at)) }
                    td { (visible(service)) }
                    td { (visible(category)) }
                    td { (visible(&repeat.outcome)) }
                    td { (message_link(repeat.id)) }
                    td { (stream_link(&repeat.stream)) " at " (repeat.position) }
                    td { (message_link(repeat.original_id)) }
                    td { (stream_link(&repeat.original_stream)) " at " (repeat.original_position) }
                } } }
            } } }
        },
    ))
}
