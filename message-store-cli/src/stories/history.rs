//! `message-store history`: shows what each event of an entity changed.

use anyhow::Result;
use message_store::operations::{Change, EntityHistory, FieldChange};
use message_store::{Json, StreamName};
use serde_json::json;

use super::dot::Dot;
use crate::exit::Exit;
use crate::open::StoreUrl;
use crate::output::{Cell, Format, Rows, line, remark, without_control};

/// The number of events of one read.
const PAGE: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    #[command(flatten)]
    store: StoreUrl,
    /// The stream of the entity's events, such as account-123
    entity: StreamName,
    /// Show the changes from this position in the stream on
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    from: i64,
    /// The greatest number of events
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Print a graph in the language of Graphviz
    #[arg(long)]
    dot: bool,
}

impl History {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let mut history = EntityHistory::of(&store, &self.entity);
        let mut changes: Vec<Change> = Vec::new();
        let (mut is_there, mut next) = (false, None);
        while next.is_none() {
            let page = history.page(PAGE).await?;
            if page.is_empty() {
                break;
            }
            is_there = true;
            for change in page.into_iter().filter(|change| change.message.position.get() >= self.from) {
                if changes.len() == self.limit {
                    next = Some(change.message.position);
                    break;
                }
                changes.push(change);
            }
        }
        if !is_there {
            return Err(Exit::NotFound.because(format!("the stream {} has no messages", self.entity)));
        }
        if self.dot {
            graph(&changes)?;
        } else if format == Format::Table {
            changes.iter().try_for_each(told)?;
        } else {
            rows(format, &changes)?;
        }
        if let Some(next) = next {
            remark(format_args!("(there is more: --from {next})"));
        }
        Ok(())
    }
}

/// The field before and after, in one line.
fn changed(name: &str, before: Option<&Json>, after: &Json) -> String {
    let before = before.map_or_else(String::new, |before| format!("{} → ", before.text()));
    without_control(&format!("{name}: {before}{}", after.text()))
}

fn details(change: &Change) -> Vec<String> {
    let fields = change.fields.iter();
    let mut details: Vec<String> =
        fields.map(|field| changed(&field.name, field.before.as_ref(), &field.after)).collect();
    if change.message.is_erased() {
        details.push("(erased)".to_owned());
    }
    details
}

fn told(change: &Change) -> Result<()> {
    let message = &change.message;
    let message_type = without_control(&message.message_type);
    line(format_args!("{}  {message_type}  {}{}", message.position, message.time, caused_by(change)))?;
    for detail in details(change) {
        line(format_args!("     {detail}"))?;
    }
    Ok(())
}

/// The place of the cause that the metadata names.
fn cause(change: &Change) -> Option<String> {
    let metadata = change.message.decode_metadata();
    let stream = metadata.causation_message_stream_name?;
    let place = metadata.causation_message_position.map(|position| format!(" at {position}")).unwrap_or_default();
    Some(without_control(&format!("{stream}{place}")))
}

fn caused_by(change: &Change) -> String {
    cause(change).map_or_else(String::new, |cause| format!("  after {cause}"))
}

fn rows(format: Format, changes: &[Change]) -> Result<()> {
    let columns = ["position", "type", "time", "id", "cause", "erased", "changes"];
    let mut rows = Rows::new(format, columns)?;
    for change in changes {
        let field = |field: &FieldChange| {
            let (name, before) = (json!(field.name), field.before.as_ref().map_or("null", Json::text));
            format!("{name}:{{\"before\":{before},\"after\":{}}}", field.after.text())
        };
        let fields: Vec<String> = change.fields.iter().map(field).collect();
        rows.add([
            Cell::from(json!(change.message.position.get())),
            json!(change.message.message_type).into(),
            json!(change.message.time.to_string()).into(),
            json!(change.message.id.to_string()).into(),
            json!(cause(change)).into(),
            json!(change.message.is_erased()).into(),
            Cell::json(&format!("{{{}}}", fields.join(","))),
        ])?;
    }
    rows.print()
}

/// Each event follows the one before.
fn graph(changes: &[Change]) -> Result<()> {
    let (mut dot, mut before) = (Dot::default(), None);
    for change in changes {
        dot.add(&change.message, before, &details(change));
        before = Some(change.message.id);
    }
    dot.print()
}
