//! `message-store trace`: shows the causes and the effects of a message.

use anyhow::Result;
use message_store::operations::{Trace as Found, Tracing};
use message_store::{Message, MessageStore, Position, StreamName, StreamRead};
use serde_json::json;

use super::dot::Dot;
use crate::exit::Exit;
use crate::messages::{Name, name};
use crate::open::StoreUrl;
use crate::output::{Format, Rows, line, remark, without_control};

#[derive(Debug, clap::Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    store: StoreUrl,
    #[command(flatten)]
    what: What,
    /// The number of messages, about, at which the search for effects looks before it ends
    #[arg(long, default_value_t = 20_000)]
    look_at: usize,
    /// Print a graph in the language of Graphviz
    #[arg(long)]
    dot: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A message's id, or its global position
    #[arg(value_parser = name)]
    message: Option<Name>,
    /// All messages whose correlation is this stream, such as fundsTransfer-7
    #[arg(long, value_name = "STREAM")]
    correlation: Option<StreamName>,
    /// The message that has this reservation of an intent, such as accountTransaction-7+deposit+d1
    #[arg(long, value_name = "STREAM")]
    intent: Option<StreamName>,
}

impl Trace {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let tracing = Tracing::of(&store).look_at(self.look_at);
        let found = match (&self.what.message, &self.what.correlation, &self.what.intent) {
            (Some(message), ..) => tracing.message(&message.find(&*store).await?).await?,
            (_, Some(correlation), _) => tracing.case(correlation).await?,
            (_, _, Some(intent)) => tracing.message(&reservation(&*store, intent).await?).await?,
            // Required by the arguments.
            (None, None, None) => return Ok(()),
        };
        if let Some(correlation) = self.what.correlation.filter(|_| found.messages.is_empty()) {
            return Err(Exit::NotFound.because(format!("no message has the correlation {correlation}")));
        }
        if self.dot {
            graph(&found)?;
        } else if format == Format::Table {
            tree(&found)?;
        } else {
            rows(format, &found)?;
        }
        if !found.is_end {
            remark(format_args!(
                "(looked through global position {} of {}; --look-at looks further)",
                found.looked_through, found.end
            ));
        }
        Ok(())
    }
}

async fn reservation(store: &dyn MessageStore, stream: &StreamName) -> Result<Message> {
    let first = store.read_stream(stream, StreamRead::forwards_from(Position::FIRST).limit(1)).await?;
    first.into_iter().next().ok_or_else(|| Exit::NotFound.because(format!("nothing is reserved in {stream}")))
}

fn tree(found: &Found) -> Result<()> {
    let depths: Vec<usize> = found.messages.iter().map(|traced| traced.depth).collect();
    for (index, traced) in found.messages.iter().enumerate() {
        let message = &traced.message;
        line(format_args!(
            "{}{}  {} at {}, global {}, {}",
            branches(traced.depth, &depths[index + 1..]),
            without_control(&message.message_type),
            without_control(message.stream.as_str()),
            message.position,
            message.global_position,
            message.time,
        ))?;
    }
    Ok(())
}

/// The lines of a tree before a message of this depth, which is followed by messages of those depths.
fn branches(depth: usize, after: &[usize]) -> String {
    // Whether another branch of this depth follows before the tree goes back beyond it.
    let goes_on = |level: usize| after.iter().find(|next| **next <= level) == Some(&level);
    (1..=depth)
        .map(|level| match (level == depth, goes_on(level)) {
            (true, true) => "├─ ",
            (true, false) => "└─ ",
            (false, true) => "│  ",
            (false, false) => "   ",
        })
        .collect()
}

fn rows(format: Format, found: &Found) -> Result<()> {
    let columns = ["id", "cause", "depth", "type", "stream", "position", "global position", "time"];
    let mut rows = Rows::new(format, columns)?;
    for traced in &found.messages {
        let message = &traced.message;
        rows.add([
            json!(message.id.to_string()),
            json!(traced.cause.map(|cause| cause.to_string())),
            json!(traced.depth),
            json!(message.message_type),
            json!(message.stream.as_str()),
            json!(message.position.get()),
            json!(message.global_position.get()),
            json!(message.time.to_string()),
        ])?;
    }
    rows.print()
}

fn graph(found: &Found) -> Result<()> {
    let mut dot = Dot::default();
    for traced in &found.messages {
        dot.add(&traced.message, traced.cause, &[]);
    }
    dot.print()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_a_branch_for_each_effect() {
        let depths = [0, 1, 2, 2, 1, 2, 0];
        let drawn: Vec<String> = (0..depths.len()).map(|index| branches(depths[index], &depths[index + 1..])).collect();
        assert_eq!(drawn, ["", "├─ ", "│  ├─ ", "│  └─ ", "└─ ", "   └─ ", ""]);
    }
}
