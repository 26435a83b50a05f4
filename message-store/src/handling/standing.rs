//! How a command stands to its entity: new, late, or processed.
//!
//! Problem: a mark alone cannot tell a late command from a repeat, and what tells them apart costs a look that nearly
//! no command needs. Fix: [`standing`] judges by what was found so far, or says where to look next; its caller looks,
//! and asks again. Why it is right: only an event that was found makes a command processed, and a command counts as
//! late only after a look in every place where one could stand.

use crate::entity::Sequences;
use crate::{MessageRef, Sequence};

/// Where a command stands to its entity.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Standing {
    /// It lies above the mark of its origin.
    New,
    /// It lies at or below the mark, and nothing was written for it.
    Late,
    /// This is the first event that was written for it.
    Processed(MessageRef),
}

/// Where to look for the first event of a command, the cheapest place first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Look {
    /// Among the latest commands that the entity remembers.
    Memory,
    /// In the store, under the derived id.
    Id,
    /// In the entity's stream, at the stamps of other toolkits.
    Stamps,
}

/// What was found of a command so far.
#[derive(Clone, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) handler: &'a str,
    pub(crate) sequence: &'a Sequence,
    /// Where else it has stood, if it is a copy.
    pub(crate) copies: &'a [Sequence],
    /// The entity's high-water marks.
    pub(crate) marks: &'a Sequences,
    /// The store has one of its ids, whatever the marks say.
    pub(crate) is_known_by_id: bool,
    /// The last look, and what it has found.
    pub(crate) looked: Option<Look>,
    pub(crate) event: Option<MessageRef>,
}

/// Where the command stands; `Err` says where to look first.
pub(crate) fn standing(found: &Evidence<'_>) -> Result<Standing, Look> {
    if let Some(event) = &found.event {
        return Ok(Standing::Processed(event.clone()));
    }
    let Evidence { marks, handler, .. } = *found;
    // A copy keeps the sequence of its birth, but another toolkit that carried it out has stamped its place in the
    // store where it did.
    let is_new = marks.is_new(handler, found.sequence)
        && !(found.copies.iter().any(|copy| !marks.is_new(handler, copy)) && marks.has_foreign());
    match found.looked {
        None if is_new && !found.is_known_by_id => Ok(Standing::New),
        None => Err(Look::Memory),
        Some(Look::Memory) => Err(Look::Id),
        Some(Look::Id) if marks.has_foreign() => Err(Look::Stamps),
        Some(Look::Id | Look::Stamps) if is_new => Ok(Standing::New),
        Some(Look::Id | Look::Stamps) => Ok(Standing::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Category, GlobalPosition, MessageId, Position, StoreId, StreamName};

    const OWN: Option<&str> = Some("account");
    const OTHER: Option<&str> = Some("interest");
    const FOREIGN: Option<&str> = None;

    /// What it shows; the marks; whether an id is known; where the event stands; and what is expected: the standing,
    /// and the looks before it.
    type Case<'a> = (&'a str, &'a [(Option<&'a str>, Sequence)], bool, Option<Look>, Standing, &'a [Look]);

    fn at(category: &str, position: i64) -> Sequence {
        let store = StoreId::from_uuid(uuid::Uuid::nil());
        Sequence::new(store, Category::new(category).unwrap(), GlobalPosition::new(position))
    }

    /// What becomes of the command at position 7 of `account:command` on these marks, where these looks are answered in
    /// turn; and the looks that were asked for.
    fn judge(
        marks: &[(Option<&str>, Sequence)],
        copies: &[Sequence],
        is_known_by_id: bool,
        event_at: Option<Look>,
    ) -> (Standing, Vec<Look>) {
        let (sequence, mut known, mut looks) = (at("account:command", 7), Sequences::default(), Vec::new());
        for (handler, mark) in marks {
            known.record(*handler, mark);
        }
        let (looked, event) = (None, None);
        let mut found =
            Evidence { handler: "account", sequence: &sequence, copies, marks: &known, is_known_by_id, looked, event };
        loop {
            match standing(&found) {
                Ok(standing) => return (standing, looks),
                Err(look) => {
                    looks.push(look);
                    found.looked = Some(look);
                    found.event = (event_at == Some(look)).then(event_of);
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
    fn a_command_is_new_without_a_look_late_after_all_of_them_and_processed_where_an_event_is_found() {
        use Look::{Id, Memory, Stamps};
        let (below, above) = (at("account:command", 6), at("account:command", 8));
        let here = at("account:command", 7);
        let processed = || Standing::Processed(event_of());
        #[rustfmt::skip]
        let cases: [Case<'_>; 16] = [
            ("nothing was seen", &[], false, None, Standing::New, &[]),
            ("it lies above the mark", &[(OWN, below.clone())], false, None, Standing::New, &[]),
            ("another origin's mark is higher", &[(OWN, at("teller", 9))], false, None, Standing::New, &[]),
            ("another handler's mark is higher", &[(OTHER, above.clone())], false, None, Standing::New, &[]),
            ("a foreign mark is lower", &[(FOREIGN, below.clone())], false, None, Standing::New, &[]),
            ("at the mark, remembered", &[(OWN, here.clone())], false, Some(Memory), processed(), &[Memory]),
            ("at the mark, found by id", &[(OWN, here.clone())], false, Some(Id), processed(), &[Memory, Id]),
            ("at the mark, not found", &[(OWN, here.clone())], false, None, Standing::Late, &[Memory, Id]),
            ("below the mark, found by id", &[(OWN, above.clone())], false, Some(Id), processed(), &[Memory, Id]),
            ("below the mark, not found", &[(OWN, above.clone())], false, None, Standing::Late, &[Memory, Id]),
            ("a foreign mark is higher", &[(FOREIGN, above.clone())], false, None, Standing::Late, &[Memory, Id, Stamps]),
            ("a foreign event names it", &[(FOREIGN, here)], false, Some(Stamps), processed(), &[Memory, Id, Stamps]),
            ("a foreign one beside our own", &[(OWN, above), (FOREIGN, at("teller", 1))], false, None, Standing::Late, &[Memory, Id, Stamps]),
            ("its id is refused, and found", &[], true, Some(Id), processed(), &[Memory, Id]),
            ("its id is refused, and another's", &[], true, None, Standing::New, &[Memory, Id]),
            ("its id is refused, on a foreign mark", &[(FOREIGN, below)], true, None, Standing::New, &[Memory, Id, Stamps]),
        ];
        for (case, marks, is_known_by_id, event_at, expected, looks) in cases {
            assert_eq!(judge(marks, &[], is_known_by_id, event_at), (expected, looks.to_vec()), "{case}");
        }
    }

    #[test]
    fn a_copy_is_looked_for_where_another_toolkit_may_have_stamped_its_place() {
        use Look::{Id, Memory, Stamps};
        let (copies, place) = ([at("moved:command", 70)], at("moved:command", 70));
        let marks = [(FOREIGN, place.clone())];
        let processed = Standing::Processed(event_of());
        assert_eq!(judge(&marks, &copies, false, Some(Stamps)), (processed, vec![Memory, Id, Stamps]));
        assert_eq!(judge(&marks, &copies, false, None), (Standing::Late, vec![Memory, Id, Stamps]));
        assert_eq!(judge(&marks, &[], false, None), (Standing::New, vec![]), "it has never stood there");
        assert_eq!(
            judge(&[(OWN, place)], &copies, false, None),
            (Standing::New, vec![]),
            "our own stamps name its birth"
        );
    }
}
