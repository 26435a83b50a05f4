//! `message-store explain`: says what is known of a message.

use std::sync::Arc;

use anyhow::Result;
use message_store::consumer::{DeadLetters, Positions};
use message_store::operations::Tracing;
use message_store::{Error, Message, MessageStore};
use serde_json::json;

use crate::messages::{Name, name};
use crate::open::StoreUrl;
use crate::output::{Format, Rows, line, without_control};

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    store: StoreUrl,
    /// The message's id, or its global position
    #[arg(value_parser = name)]
    message: Name,
    /// The number of messages, about, at which the search for effects looks before it ends
    #[arg(long, default_value_t = 20_000)]
    look_at: usize,
}

/// What is known, and about what.
struct Fact(&'static str, String);

impl Explain {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let message = self.message.find(&*store).await?;
        let mut facts = vec![
            Fact("message", format!("{} {}", message.message_type, message.id)),
            Fact("place", format!("{}, written {}", message.reference(), message.time)),
        ];
        if message.is_erased() {
            facts.push(Fact("content", "erased".to_owned()));
        }
        if let Some(origin) = message.decode_metadata().origin {
            let place = format!("global position {} of {}", origin.global_position, origin.origin.category);
            facts.push(Fact("origin", format!("it was {place} in the store {}", origin.origin.store_id)));
        }
        facts.extend(of_trace(&store, &message, self.look_at).await?);
        facts.extend(of_consumers(&store, &message).await?);
        show(format, facts)
    }
}

/// Its cause, and its effects.
async fn of_trace(store: &Arc<dyn MessageStore>, message: &Message, look_at: usize) -> Result<Vec<Fact>> {
    let trace = match Tracing::of(store).look_at(look_at).message(message).await {
        Err(Error::Unsupported { what, .. }) => {
            return Ok(vec![Fact("effect", format!("not looked for, because the store does not support {what}"))]);
        }
        trace => trace?,
    };
    let place = |message: &Message| format!("{} at {}", message.message_type, message.reference());
    let own = trace.messages.iter().find(|traced| traced.message.id == message.id);
    let cause = own.and_then(|own| own.cause);
    let causes = trace.messages.iter().filter(|traced| Some(traced.message.id) == cause);
    let mut facts: Vec<Fact> = causes.map(|cause| Fact("cause", place(&cause.message))).collect();
    if facts.is_empty()
        && let Some(stream) = message.decode_metadata().causation_message_stream_name
    {
        facts.push(Fact("cause", format!("a message of {stream}, which this store does not have at that place")));
    }
    let effects = trace.messages.iter().filter(|traced| traced.cause == Some(message.id));
    let before = facts.len();
    facts.extend(effects.map(|effect| Fact("effect", place(&effect.message))));
    if facts.len() == before {
        let looked = if trace.is_end {
            "no message names it as its cause".to_owned()
        } else {
            format!("no message up to global position {} of {} names it as its cause", trace.looked_through, trace.end)
        };
        facts.push(Fact("effect", looked));
    }
    Ok(facts)
}

/// The consumers of its category: whether each has passed it, or has set it aside.
async fn of_consumers(store: &Arc<dyn MessageStore>, message: &Message) -> Result<Vec<Fact>> {
    let category = message.stream.category();
    let mut facts = Vec::new();
    let mut identifiers = Vec::new();
    for saved in Positions::of(store, category.as_str())?.list().await? {
        let (name, position) = (&saved.stream, saved.position);
        let passed = if position >= message.global_position { "has passed it" } else { "has not passed it yet" };
        facts.push(Fact("consumer", format!("{name} {passed}: all messages up to {position} are handled")));
        if !identifiers.contains(&saved.identifier) {
            identifiers.push(saved.identifier);
        }
    }
    if identifiers.is_empty() {
        facts.push(Fact("consumer", format!("no consumer of {category} has ever run in this store")));
    }
    for identifier in identifiers {
        let letters = DeadLetters::of(store, category.as_str(), identifier.as_deref())?;
        if let Some(letter) = letters.show(message.id).await? {
            facts.push(Fact(
                "dead letter",
                format!("{}, after {} attempts: {}", letter.state, letter.attempts, letter.error),
            ));
        }
    }
    Ok(facts)
}

fn show(format: Format, facts: Vec<Fact>) -> Result<()> {
    if format == Format::Table {
        return facts
            .iter()
            .try_for_each(|Fact(about, known)| line(format_args!("{about:<12} {}", without_control(known))));
    }
    let mut rows = Rows::new(format, ["about", "known"])?;
    for Fact(about, known) in facts {
        rows.add([json!(about), json!(known)])?;
    }
    rows.print()
}
