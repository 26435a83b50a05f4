//! The reaction of a process manager to a message: own events, messages for other streams, and timers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::store::{Due, TimerChange, TimerKey};
use crate::{Append, Category, Error, NewMessage, Result, StreamName};

/// What a process manager writes for one message, in one append: events of its own stream, messages for other streams, and
/// changes of its timers.
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
    others: Result<Others>,
}

/// What is written besides the events.
#[derive(Debug, Default)]
struct Others {
    sent: Vec<(StreamName, NewMessage)>,
    timers: Vec<(String, ChangeOfTimer)>,
}

#[derive(Clone, Debug)]
enum ChangeOfTimer {
    Set(Due, StreamName, NewMessage),
    Move(Due),
    Cancel,
}

/// A reaction of which every part is valid.
pub(crate) struct ReactionParts<E> {
    pub(crate) events: Vec<E>,
    /// One append for each other stream.
    pub(crate) appends: Vec<Append>,
    pub(crate) timers: Vec<TimerChange>,
}

impl Others {
    const NONE: Self = Self { sent: Vec::new(), timers: Vec::new() };

    fn is_none(&self) -> bool {
        self.sent.is_empty() && self.timers.is_empty()
    }
}

impl<E> Reaction<E> {
    /// No reaction: nothing is written. If the message is delivered again, it is reacted to again.
    pub const fn none() -> Self {
        Self { events: Vec::new(), others: Ok(Others::NONE) }
    }

    /// A reaction with this event of the process's own stream.
    pub fn event(event: E) -> Self {
        Self::of_events(vec![event])
    }

    pub(crate) const fn of_events(events: Vec<E>) -> Self {
        Self { events, others: Ok(Others::NONE) }
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
        self.with(
            message_for(category, id, message)
                .map(|(stream, message)| move |others: &mut Others| others.sent.push((stream, message))),
        )
    }

    /// As [`send`](Self::send), for a message with metadata of its own: it is merged with that which follows from the
    /// message that is reacted to.
    pub fn send_message(self, stream: StreamName, message: NewMessage) -> Self {
        self.with(Ok(|others: &mut Others| others.sent.push((stream, message))))
    }

    /// Sets a timer of the process: when it is due, the message is written to the stream of this category with this id,
    /// as by [`send`](Self::send). If a timer of this name waits, this one replaces it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use message_store::handling::Reaction;
    /// use message_store::store::Due;
    /// use serde::Serialize;
    ///
    /// #[derive(Serialize)]
    /// enum Command { TimeOut {} }
    ///
    /// let due = Due::After(Duration::from_secs(60 * 60));
    /// let reaction = Reaction::event("Initiated").timer("time-out", due, "transfer:command", "7", &Command::TimeOut {});
    /// # assert!(!reaction.is_none());
    /// ```
    ///
    /// The store must have [timers](crate::MessageStore::timers), and a [service](crate::service::Service) must fire them.
    pub fn timer(self, name: &str, due: Due, category: &str, id: &str, message: &impl Serialize) -> Self {
        self.with(message_for(category, id, message).map(|(stream, message)| {
            let set = ChangeOfTimer::Set(due, stream, message);
            move |others: &mut Others| others.timers.push((name.to_owned(), set))
        }))
    }

    /// As [`timer`](Self::timer), for a message with metadata of its own.
    pub fn timer_message(self, name: &str, due: Due, stream: StreamName, message: NewMessage) -> Self {
        let set = ChangeOfTimer::Set(due, stream, message);
        self.with(Ok(|others: &mut Others| others.timers.push((name.to_owned(), set))))
    }

    /// Changes the time at which a timer of the process is due. If it does not wait, this does nothing.
    pub fn move_timer(self, name: &str, due: Due) -> Self {
        self.with(Ok(|others: &mut Others| others.timers.push((name.to_owned(), ChangeOfTimer::Move(due)))))
    }

    /// Cancels a timer of the process. If it does not wait, this does nothing: its message may have been written already,
    /// and not yet been handled.
    pub fn cancel_timer(self, name: &str) -> Self {
        self.with(Ok(|others: &mut Others| others.timers.push((name.to_owned(), ChangeOfTimer::Cancel))))
    }

    fn with(mut self, addition: Result<impl FnOnce(&mut Others)>) -> Self {
        match (&mut self.others, addition) {
            (Ok(others), Ok(add)) => add(others),
            (others @ Ok(_), Err(error)) => *others = Err(error),
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
        self.others.as_ref().map(|others| &others.sent[..]).map_err(Error::shared)
    }

    /// Whether it writes nothing.
    pub fn is_none(&self) -> bool {
        self.events.is_empty() && self.others.as_ref().is_ok_and(Others::is_none)
    }

    /// # Errors
    /// The reason why a message is invalid; [`Error::Invalid`] for messages or timers without an own event, and for a message
    /// for the process's own stream.
    pub(crate) fn into_parts(self, own: &StreamName) -> Result<ReactionParts<E>> {
        let Others { sent, timers } = self.others?;
        let mut parts = ReactionParts { events: self.events, appends: Vec::new(), timers: Vec::new() };
        if sent.is_empty() && timers.is_empty() {
            return Ok(parts);
        }
        if parts.events.is_empty() {
            let reason = format!(
                "it sends {} messages, changes {} timers, and has no event of {own}; add one, by which a repeat is recognised",
                sent.len(),
                timers.len()
            );
            return Err(Error::invalid("reaction", reason));
        }
        let is_other = |stream: &StreamName, message: &NewMessage| {
            if stream != own {
                return Ok(());
            }
            let reason = format!("it sends a {} to {own}; make it an event", message.message_type);
            Err(Error::invalid("reaction", reason))
        };
        let mut streams: BTreeMap<StreamName, usize> = BTreeMap::new();
        for (stream, message) in sent {
            is_other(&stream, &message)?;
            let index = *streams.entry(stream.clone()).or_insert_with(|| {
                parts.appends.push(Append::to(stream));
                parts.appends.len() - 1
            });
            parts.appends[index].messages.push(message);
        }
        for (name, change) in timers {
            let key = TimerKey::new(own.clone(), name);
            parts.timers.push(match change {
                ChangeOfTimer::Set(due, to, message) => {
                    is_other(&to, &message)?;
                    TimerChange::set(key, due, to, message)
                }
                ChangeOfTimer::Move(due) => TimerChange::Move { key, due },
                ChangeOfTimer::Cancel => TimerChange::Cancel { key },
            });
        }
        Ok(parts)
    }
}

/// The stream of this category with this id, and a message for it.
fn message_for(category: &str, id: &str, message: &impl Serialize) -> Result<(StreamName, NewMessage)> {
    let stream = Category::new(category)?.stream(id)?;
    Ok((stream, NewMessage::from_variant(message)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let ReactionParts { events, appends, timers } =
            reaction.send("a", "1", &withdraw(3)).into_parts(&own()).unwrap();
        assert!(timers.is_empty());
        assert_eq!(events, ["event"]);
        let sent: Vec<_> = appends.iter().map(|append| (append.stream.as_str(), append.messages.len())).collect();
        assert_eq!(sent, [("a-1", 2), ("b-1", 1)]);
        assert_eq!(appends[0].messages[1].data.text(), r#"{"amount":3}"#);
    }

    #[test]
    fn what_cannot_be_written_is_refused_with_its_reason() {
        let message = || NewMessage::new("Sent", Json::NULL);
        let (withdraw, now) = (Command::Withdraw { amount: 1 }, Due::After(Duration::ZERO));
        for (reaction, reason) in [
            (Reaction::none().send("a", "1", &withdraw), "no event of transfer-7"),
            (Reaction::event(1).send("a", "", &withdraw).send("b", "1", &withdraw), "stream id"),
            (Reaction::event(1).send("a-1", "1", &withdraw), "names a stream"),
            (Reaction::event(1).send("a", "1", &7), "variant"),
            (Reaction::event(1).send_message(own(), message()), "make it an event"),
            (Reaction::event(1).timer_message("t", now, own(), message()), "make it an event"),
            (Reaction::event(1).timer("t", now, "a", "", &withdraw), "stream id"),
            (Reaction::none().cancel_timer("t"), "no event of transfer-7"),
        ] {
            let Err(refused) = reaction.into_parts(&own()) else { panic!("{reason}") };
            let refused = refused.to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        assert!(Reaction::<u8>::none().is_none());
        assert!(!Reaction::<u8>::none().cancel_timer("t").is_none());
        assert!(!Reaction::<u8>::none().send("a", "", &withdraw).is_none(), "an invalid message is not dropped");
    }
}
