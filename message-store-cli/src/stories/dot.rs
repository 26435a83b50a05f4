//! A graph in the language of Graphviz.

use std::collections::HashSet;
use std::fmt;

use anyhow::Result;
use message_store::{Message, MessageId};

use crate::output::put;

/// Messages, and arrows between them.
#[derive(Debug, Default)]
pub(super) struct Dot {
    lines: Vec<String>,
    nodes: HashSet<MessageId>,
}

impl Dot {
    /// A message, with an arrow from its cause.
    pub(super) fn add(&mut self, message: &Message, cause: Option<MessageId>, details: &[String]) {
        let place = format!("{} at {}", message.stream, message.position);
        let label: Vec<&str> =
            [&*message.message_type, &place].into_iter().chain(details.iter().map(String::as_str)).collect();
        self.lines.push(format!("  {} [label={}];", quoted(message.id), quoted(label.join("\n"))));
        self.nodes.insert(message.id);
        if let Some(cause) = cause.filter(|cause| self.nodes.contains(cause)) {
            self.lines.push(format!("  {} -> {};", quoted(cause), quoted(message.id)));
        }
    }

    pub(super) fn print(self) -> Result<()> {
        put("digraph messages {")?;
        put("  node [shape=box];")?;
        self.lines.iter().try_for_each(put)?;
        put("}")
    }
}

/// A string of the language.
fn quoted(text: impl fmt::Display) -> String {
    format!("\"{}\"", text.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_contains_stays_within_its_string() {
        assert_eq!(quoted("a\"]; b\\"), r#""a\"]; b\\""#);
        assert_eq!(quoted("two\nlines"), r#""two\nlines""#);
    }
}
