//! The overview: what is in the store, what is wrong, what runs, and what came again.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use maud::{Markup, html};
use message_store::Timestamp;
use message_store::operations::{Diagnosing, Search};
use message_store::service::ServiceReport;

use super::consumers::{Row, rows};
use crate::Console;
use crate::failure::Failure;
use crate::html::{category_link, error, page, time, visible};

/// The time whose messages are counted, and the number at which the count ends.
const MINUTE: Duration = Duration::from_mins(1);
const MOST: usize = 2_000;
/// The outcomes of a repeat, and the layers that find them.
const LAYERS: [(&str, &str); 4] = [
    ("redelivered", "the consumer, by its own record of what it has handled"),
    ("already processed", "the entity, by the events of the message"),
    ("duplicate", "the reservation of the intent"),
    ("conflict", "the reservation of the intent, which has another content"),
];

pub(crate) async fn overview(State(console): State<Console>) -> Result<Markup, Failure> {
    let store = &console.store;
    let (now, end) = (store.now().await?, store.given_out(None).await?);
    let since = now.checked_sub(MINUTE).unwrap_or(Timestamp::UNIX_EPOCH);
    let last = Search::of(store).since(since).look_at(MOST).page(MOST).await?;
    let rate = if last.is_end { last.messages.len().to_string() } else { format!("more than {}", last.messages.len()) };
    let troubles = Diagnosing::of(store).troubles().await?;
    let services = match store.service_reports() {
        Some(reports) => reports.reports().await?,
        None => Vec::new(),
    };
    let consumers = rows(&console, None).await?;
    let behind: u64 = consumers.iter().map(|row| row.backlog.messages).sum();
    let caught = caught(&consumers);
    Ok(page(
        &console,
        "Overview",
        "/",
        &html! {
            ul.cards {
                li { strong { (end) } "last global position" }
                li { strong { (rate) } "messages in the last minute" }
                li { strong { (consumers.len()) } "consumers, " (behind) " messages behind" }
                li { strong { (caught.values().sum::<u64>()) } "repeats caught" }
                li { strong.bad[!troubles.is_empty()] { (troubles.len()) } "troubles" }
            }
            p { "The store's clock: " (time(now)) ", its identity: " code { (store.store_id()) } }
            h2 { "Troubles" }
            @if troubles.is_empty() { p { "None was found." } }
            dl {
                @for trouble in &troubles {
                    dt.bad { (trouble.kind.name()) ": " (error(&console, &trouble.what)) }
                    dd { (visible(&trouble.mend)) }
                }
            }
            h2 { "Repeats caught, by layer" }
            table {
                thead { tr { th { "Outcome" } th { "Found" } th { "Repeats" } } }
                tbody { @for (name, layer) in LAYERS {
                    tr { td { (name) } td { (layer) } td.number { (caught.get(name).copied().unwrap_or_default()) } }
                } }
            }
            p { a href="/repeats" { "The last of them" } }
            h2 { "Services" }
            (services_table(&console, &services)?)
            h2 { "Consumers" }
            (consumers_table(&consumers))
        },
    ))
}

/// The number of repeats by outcome, of all consumers.
fn caught(consumers: &[Row]) -> BTreeMap<&'static str, u64> {
    let counted = |name: &str| consumers.iter().filter_map(|row| row.saved.outcomes.get(name)).sum();
    LAYERS.iter().map(|(name, _)| (*name, counted(name))).collect()
}

fn services_table(console: &Console, services: &[message_store::store::SavedReport]) -> Result<Markup, Failure> {
    let mut reports = Vec::new();
    for saved in services {
        reports.push((saved, ServiceReport::of(saved)?));
    }
    Ok(html! {
        @if reports.is_empty() { p { "No service has reported within a day." } }
        @else { div.wide { table {
            thead { tr { th { "Service" } th { "Host" } th { "Process" } th { "State" } th { "Reported" } th { "Consumers" } } }
            tbody { @for (saved, report) in &reports { tr {
                td { (visible(&report.name)) }
                td { (visible(&report.host)) }
                td.number { (report.process) }
                td {
                    @if report.has_ended { "ended" } @else if report.is_ready { "ready" } @else { span.bad { "not ready" } }
                    @for reason in &report.reasons { br; (error(console, reason)) }
                }
                td { (saved.age.as_secs()) " s ago" }
                td.number { (report.consumers.len()) }
            } } }
        } } }
    })
}

fn consumers_table(consumers: &[Row]) -> Markup {
    html! {
        @if consumers.is_empty() { p { "None has run on this store." } }
        @else { div.wide { table {
            thead { tr { th { "Category" } th { "Identifier" } th { "Behind" } th { "Oldest" } th { "State" } } }
            tbody { @for row in consumers { tr {
                td { (category_link(row.category.as_str())) }
                td { (row.saved.identifier.as_deref().map(visible).unwrap_or_default()) }
                td.number { (row.backlog.messages) }
                td.number { (row.age.as_secs()) " s" }
                td { (visible(&row.state())) }
            } } }
        } }
        p { a href="/consumers" { "Positions, slots and outcomes" } } }
    }
}
