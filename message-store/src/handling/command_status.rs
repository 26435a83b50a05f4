//! The status of a command for its entity: new, late or processed.
//!
//! Problem: a mark alone does not distinguish a late command from a repeat, and the look-ups that do are needed for few
//! commands. Fix: [`classify`] uses the facts that are known so far. If they are not enough, it returns the next
//! look-up. The caller does that look-up and calls it again. Why it is right: a command is processed only if an event
//! was found, and late only after every look-up that could find one.

use crate::entity::Sequences;
use crate::{MessageRef, Sequence};

/// The status of a command for its entity.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CommandStatus {
    /// Its sequence is above the mark of its origin.
    New,
    /// Its sequence is at or below the mark, and no event was written for it.
    Late,
    /// An event was written for it. This is the first one.
    Processed(MessageRef),
}

/// A look-up of the first event of a command, the cheapest one first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LookUp {
    /// Search the recent commands that the entity remembers.
    Memory,
    /// Read the message with the derived id from the store.
    Id,
    /// Search the entity's stream for the stamps of other toolkits.
    Stamps,
}

/// The facts from which a command is classified.
#[derive(Clone, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) handler: &'a str,
    pub(crate) sequence: &'a Sequence,
    /// The other places of the command, if it is a copy.
    pub(crate) copies: &'a [Sequence],
    /// The marks of the entity.
    pub(crate) marks: &'a Sequences,
    /// The store has a message with one of the command's derived ids, as an append has shown.
    pub(crate) id_exists: bool,
    /// The last look-up, and the event that it found.
    pub(crate) last_look_up: Option<LookUp>,
    pub(crate) event: Option<MessageRef>,
}

/// Returns the status, or as `Err` the next look-up.
pub(crate) fn classify(found: &Evidence<'_>) -> Result<CommandStatus, LookUp> {
    if let Some(event) = &found.event {
        return Ok(CommandStatus::Processed(event.clone()));
    }
    let Evidence { marks, handler, .. } = *found;
    // A copy keeps its first sequence. But another toolkit that carried it out has stamped the copy's place in that
    // store.
    let is_new = marks.is_new(handler, found.sequence)
        && !(found.copies.iter().any(|copy| !marks.is_new(handler, copy)) && marks.has_foreign());
    match found.last_look_up {
        None if is_new && !found.id_exists => Ok(CommandStatus::New),
        None => Err(LookUp::Memory),
        Some(LookUp::Memory) => Err(LookUp::Id),
        Some(LookUp::Id) if marks.has_foreign() => Err(LookUp::Stamps),
        Some(LookUp::Id | LookUp::Stamps) if is_new => Ok(CommandStatus::New),
        Some(LookUp::Id | LookUp::Stamps) => Ok(CommandStatus::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Category, GlobalPosition, MessageId, Position, StoreId, StreamName};

    const OWN: Option<&str> = Some("account");
    const OTHER: Option<&str> = Some("interest");
    const FOREIGN: Option<&str> = None;

    /// The name of the case, the marks, whether an id exists, and the look-up that finds the event. Then the expected
    /// status and look-ups.
    type Case<'a> = (&'a str, &'a [(Option<&'a str>, Sequence)], bool, Option<LookUp>, CommandStatus, &'a [LookUp]);

    fn at(category: &str, position: i64) -> Sequence {
        let store = StoreId::from_uuid(uuid::Uuid::nil());
        Sequence::new(store, Category::new(category).unwrap(), GlobalPosition::new(position))
    }

    /// Classifies the command at position 7 of `account:command`. The look-up `event_at` finds the event. Returns the
    /// status, and the look-ups that were asked for.
    fn classify_command(
        marks: &[(Option<&str>, Sequence)],
        copies: &[Sequence],
        id_exists: bool,
        event_at: Option<LookUp>,
    ) -> (CommandStatus, Vec<LookUp>) {
        let (sequence, mut known, mut look_ups) = (at("account:command", 7), Sequences::default(), Vec::new());
        for (handler, mark) in marks {
            known.record(*handler, mark);
        }
        let (last_look_up, event) = (None, None);
        let mut found =
            Evidence { handler: "account", sequence: &sequence, copies, marks: &known, id_exists, last_look_up, event };
        loop {
            match classify(&found) {
                Ok(status) => return (status, look_ups),
                Err(look_up) => {
                    look_ups.push(look_up);
                    found.last_look_up = Some(look_up);
                    found.event = (event_at == Some(look_up)).then(event_of);
                }
            }
        }
    }

    fn event_of() -> MessageRef {
        MessageRef {
            id: MessageId::from_uuid(uuid::Uuid::nil()),
            stream: StreamName::new("account-1").unwrap(),
            position: Position::FIRST,
            global_position: GlobalPosition::new(9),
        }
    }

    #[test]
    fn the_status_is_new_without_a_look_up_late_after_all_look_ups_and_processed_when_an_event_is_found() {
        use LookUp::{Id, Memory, Stamps};
        let (below, above) = (at("account:command", 6), at("account:command", 8));
        let here = at("account:command", 7);
        let processed = || CommandStatus::Processed(event_of());
        #[rustfmt::skip]
        let cases: [Case<'_>; 16] = [
            ("no mark", &[], false, None, CommandStatus::New, &[]),
            ("above the mark", &[(OWN, below.clone())], false, None, CommandStatus::New, &[]),
            ("another origin's mark is higher", &[(OWN, at("teller", 9))], false, None, CommandStatus::New, &[]),
            ("another handler's mark is higher", &[(OTHER, above.clone())], false, None, CommandStatus::New, &[]),
            ("a foreign mark is lower", &[(FOREIGN, below.clone())], false, None, CommandStatus::New, &[]),
            ("at the mark, remembered", &[(OWN, here.clone())], false, Some(Memory), processed(), &[Memory]),
            ("at the mark, found by id", &[(OWN, here.clone())], false, Some(Id), processed(), &[Memory, Id]),
            ("at the mark, not found", &[(OWN, here.clone())], false, None, CommandStatus::Late, &[Memory, Id]),
            ("below the mark, found by id", &[(OWN, above.clone())], false, Some(Id), processed(), &[Memory, Id]),
            ("below the mark, not found", &[(OWN, above.clone())], false, None, CommandStatus::Late, &[Memory, Id]),
            ("a foreign mark is higher", &[(FOREIGN, above.clone())], false, None, CommandStatus::Late, &[Memory, Id, Stamps]),
            ("a foreign event names it", &[(FOREIGN, here)], false, Some(Stamps), processed(), &[Memory, Id, Stamps]),
            ("a foreign mark beside our own", &[(OWN, above), (FOREIGN, at("teller", 1))], false, None, CommandStatus::Late, &[Memory, Id, Stamps]),
            ("its id is refused, and found", &[], true, Some(Id), processed(), &[Memory, Id]),
            ("its id is refused, and not found", &[], true, None, CommandStatus::New, &[Memory, Id]),
            ("its id is refused, on a foreign mark", &[(FOREIGN, below)], true, None, CommandStatus::New, &[Memory, Id, Stamps]),
        ];
        for (case, marks, id_exists, event_at, expected, look_ups) in cases {
            assert_eq!(classify_command(marks, &[], id_exists, event_at), (expected, look_ups.to_vec()), "{case}");
        }
    }

    #[test]
    fn a_copy_is_searched_for_by_the_place_that_another_toolkit_may_have_stamped() {
        use LookUp::{Id, Memory, Stamps};
        let (copies, place) = ([at("moved:command", 70)], at("moved:command", 70));
        let marks = [(FOREIGN, place.clone())];
        let processed = CommandStatus::Processed(event_of());
        assert_eq!(classify_command(&marks, &copies, false, Some(Stamps)), (processed, vec![Memory, Id, Stamps]));
        assert_eq!(classify_command(&marks, &copies, false, None), (CommandStatus::Late, vec![Memory, Id, Stamps]));
        assert_eq!(classify_command(&marks, &[], false, None), (CommandStatus::New, vec![]), "it has never been there");
        assert_eq!(
            classify_command(&[(OWN, place)], &copies, false, None),
            (CommandStatus::New, vec![]),
            "our own stamps contain its first sequence"
        );
    }
}
