//! The reaction of a process manager to a message: own events, and messages for other streams.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Append, Category, Error, NewMessage, Result, StreamName};

/// What a process manager writes for one message, in one append: events of its own stream, and messages for other
/// streams.
///
/// ```
/// use message_store::handling::Reaction;
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// enum Event { Initiated { amount: u64 } }
/// #[derive(Serialize)]
/// enum Command { Withdraw { amount: u64 } }
///
/// let reaction = Reaction::event(Event::Initiated { amount: 7 })
///     .send("account:command", "123", &Command::Withdraw { amount: 7 });
/// assert_eq!(reaction.events().len(), 1);
/// assert_eq!(reaction.sent()?[0].0.as_str(), "account:command-123");
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a reaction is written only if it is returned"]
pub struct Reaction<E> {
    events: Vec<E>,
    sent: Result<Vec<(StreamName, NewMessage)>>,
}

impl<E> Reaction<E> {
    /// No reaction: nothing is written. If the message is delivered again, it is reacted to again.
    pub const fn none() -> Self {
        Self { events: Vec::new(), sent: Ok(Vec::new()) }
    }

    /// A reaction with this event of the process's own stream.
    pub fn event(event: E) -> Self {
        Self::of_events(vec![event])
    }

    pub(crate) const fn of_events(events: Vec<E>) -> Self {
        Self { events, sent: Ok(Vec::new()) }
    }

    /// Adds an event of the process's own stream.
    pub fn and_event(mut self, event: E) -> Self {
        self.events.push(event);
        self
    }

    /// Adds a message for the stream of this category with this id. `message` is an enum: the variant's name is the
    /// message type, and its fields are the data. If the message or the stream's name is invalid, the reaction is
    /// refused with the reason when it would be written.
    pub fn send(self, category: &str, id: &str, message: &impl Serialize) -> Self {
        let message = Category::new(category)
            .and_then(|category| category.stream(id))
            .and_then(|stream| Ok((stream, NewMessage::from_variant(message)?)));
        self.with(message)
    }

    /// As [`send`](Self::send), for a message with metadata of its own: it is merged with that which follows from the
    /// message that is reacted to.
    pub fn send_message(self, stream: StreamName, message: NewMessage) -> Self {
        self.with(Ok((stream, message)))
    }

    fn with(mut self, message: Result<(StreamName, NewMessage)>) -> Self {
        match (&mut self.sent, message) {
            (Ok(sent), Ok(message)) => sent.push(message),
            (sent @ Ok(_), Err(error)) => *sent = Err(error),
            // The first error is kept.
            (Err(_), _) => {}
        }
        self
    }

    /// The events of the process's own stream.
    pub fn events(&self) -> &[E] {
        &self.events
    }

    /// The messages for other streams, in the order in which they were added.
    ///
    /// # Errors
    /// The reason why one of them is invalid.
    pub fn sent(&self) -> Result<&[(StreamName, NewMessage)]> {
        self.sent.as_deref().map_err(Error::shared)
    }

    /// Whether it writes nothing.
    pub fn is_none(&self) -> bool {
        self.events.is_empty() && matches!(&self.sent, Ok(sent) if sent.is_empty())
    }

    /// The events, and one append for each other stream.
    ///
    /// # Errors
    /// The reason why a message is invalid; [`Error::Invalid`] for messages without an own event, and for a message for
    /// the process's own stream.
    pub(crate) fn into_parts(self, own: &StreamName) -> Result<(Vec<E>, Vec<Append>)> {
        let sent = self.sent?;
        if sent.is_empty() {
            return Ok((self.events, Vec::new()));
        }
        if self.events.is_empty() {
            let reason = format!(
                "it sends {} messages and has no event of {own}; add one, by which a repeat is recognised",
                sent.len()
            );
            return Err(Error::invalid("reaction", reason));
        }
        let mut streams: BTreeMap<StreamName, usize> = BTreeMap::new();
        let mut appends: Vec<Append> = Vec::new();
        for (stream, message) in sent {
            if stream == *own {
                let reason = format!("it sends a {} to {own}; make it an event", message.message_type);
                return Err(Error::invalid("reaction", reason));
            }
            let index = *streams.entry(stream.clone()).or_insert_with(|| {
                appends.push(Append::to(stream));
                appends.len() - 1
            });
            appends[index].messages.push(message);
        }
        Ok((self.events, appends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;

    #[derive(Serialize)]
    enum Command {
        Withdraw { amount: u64 },
    }

    fn own() -> StreamName {
        StreamName::new("transfer-7").unwrap()
    }

    #[test]
    fn messages_of_one_stream_are_one_append_in_order() {
        let withdraw = |amount| Command::Withdraw { amount };
        let reaction = Reaction::event("event").send("a", "1", &withdraw(1)).send("b", "1", &withdraw(2));
        let (events, appends) = reaction.send("a", "1", &withdraw(3)).into_parts(&own()).unwrap();
        assert_eq!(events, ["event"]);
        let sent: Vec<_> = appends.iter().map(|append| (append.stream.as_str(), append.messages.len())).collect();
        assert_eq!(sent, [("a-1", 2), ("b-1", 1)]);
        assert_eq!(appends[0].messages[1].data.text(), r#"{"amount":3}"#);
    }

    #[test]
    fn what_cannot_be_written_is_refused_with_its_reason() {
        let message = || NewMessage::new("Sent", Json::NULL);
        let withdraw = Command::Withdraw { amount: 1 };
        for (reaction, reason) in [
            (Reaction::none().send("a", "1", &withdraw), "no event of transfer-7"),
            (Reaction::event(1).send("a", "", &withdraw).send("b", "1", &withdraw), "stream id"),
            (Reaction::event(1).send("a-1", "1", &withdraw), "names a stream"),
            (Reaction::event(1).send("a", "1", &7), "variant"),
            (Reaction::event(1).send_message(own(), message()), "make it an event"),
        ] {
            let refused = reaction.into_parts(&own()).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        assert!(Reaction::<u8>::none().is_none());
        assert!(!Reaction::<u8>::none().send("a", "", &withdraw).is_none(), "an invalid message is not dropped");
    }
}
