//! Unresolved letters: the letters that are open or discarded. The consumer does not deliver their messages when it
//! reaches their positions.
//!
//! Problem: a consumer reaches a position again after a reset, or when the size of its group has changed. Another
//! process may reach it too. The message may have been set aside and discarded before. A look-up for each message would
//! show that, but would cost as much as the message. Fix: the consumer reads all letters when it starts. After it has
//! read a batch of messages, it reads the changes of letters. Why it is right: if an operator decided before the batch
//! was read, the consumer knows the decision before it delivers a message of the batch. Why it costs little: there are
//! few letters, and the consumer drops those of messages that it has passed.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::TryStreamExt as _;
use jiff::Timestamp;

use super::letter::{DeadLetter, DeadLetters};
use super::letter_query::WaitsFor;
use super::step::{Step, is_copy};
use crate::consumer::groups::Share;
use crate::{GlobalPosition, Message, MessageId, MessageRef, MessageStoreExt as _, Outcome, Read, Result, StreamName};

/// A letter that is open or discarded.
#[derive(Clone, Debug)]
pub(super) struct UnresolvedLetter {
    /// The position of the message in this store. `None` if the message has not been copied here yet.
    pub(super) position: Option<GlobalPosition>,
    message_id: MessageId,
    /// The step that set the message aside last.
    pub(super) letter: MessageRef,
    pub(super) is_discarded: bool,
    pub(super) holds: bool,
    /// What the message waits for, as of the step that set it aside last.
    waits_for: Option<WaitsFor>,
}

impl UnresolvedLetter {
    /// The part of a letter that the consumer keeps.
    fn of(letter: DeadLetter) -> Self {
        let (is_discarded, waits_for) = (letter.is_discarded(), letter.waits_for());
        let DeadLetter { message, letter, is_here, holds, .. } = letter;
        let position = is_here.then_some(message.global_position);
        Self { position, message_id: message.id, letter, is_discarded, holds, waits_for }
    }

    /// The outcome of the message, which is not delivered.
    pub(super) fn outcome(&self) -> Outcome {
        let letter = self.letter.clone();
        match self {
            Self { is_discarded: true, .. } => Outcome::Discarded { letter },
            Self { waits_for: Some(WaitsFor::Time), .. } => Outcome::Delayed { letter },
            _ => Outcome::Parked { letter },
        }
    }
}

/// A letter behind which later messages of its entity wait.
pub(super) struct Holding {
    pub(super) entity: String,
    pub(super) message: GlobalPosition,
    /// Later messages wait under every policy. If not, they wait only under
    /// [`OnFailure::Hold`](super::OnFailure::Hold).
    pub(super) is_always: bool,
}

/// All letters that are open or discarded, of messages that the consumer has not passed.
#[derive(Debug)]
pub(super) struct UnresolvedLetters {
    by_stream: HashMap<StreamName, UnresolvedLetter>,
    /// The steps up to this position are applied, even if a read of later ones failed.
    read_through: GlobalPosition,
    /// The letters that have changed since [`UnresolvedLetters::refresh`] last returned.
    changed: Vec<StreamName>,
    /// The open letters that were copied here and whose messages have arrived. The consumer may have passed such a
    /// message without a request for a retry.
    arrived: HashSet<StreamName>,
    /// The letters whose messages are delivered again at these times. The consumer has passed the messages.
    delayed: HashMap<StreamName, Timestamp>,
    /// The letters of each entity that are not closed, also of messages that the consumer has passed.
    open: HashMap<String, BTreeSet<StreamName>>,
    /// The letters with a requested delivery that has not ended.
    requested: BTreeSet<StreamName>,
    /// The letters whose messages only wait behind another.
    behind: BTreeSet<StreamName>,
    share: Share,
}

impl UnresolvedLetters {
    pub(super) fn new(share: Share) -> Self {
        Self {
            by_stream: HashMap::new(),
            read_through: GlobalPosition::ZERO,
            changed: Vec::new(),
            arrived: HashSet::new(),
            delayed: HashMap::new(),
            open: HashMap::new(),
            requested: BTreeSet::new(),
            behind: BTreeSet::new(),
            share,
        }
    }

    /// Reads the changes, and drops the letters of messages up to `handled_through`. Returns each letter that has
    /// changed, is open, and holds later messages.
    pub(super) async fn refresh(
        &mut self,
        letters: &DeadLetters,
        handled_through: GlobalPosition,
    ) -> Result<Vec<Holding>> {
        let read = Read::from(self.read_through.next());
        let mut steps = std::pin::pin!(letters.store.category_messages(&letters.category, read));
        while let Some(step) = steps.try_next().await? {
            self.apply(letters, &step).await?;
            // Only after the step was applied, so that a step that failed is read again.
            self.read_through = step.global_position;
            self.changed.push(step.stream);
        }
        // A message that was missing may have been copied here since the last refresh.
        for (stream, letter) in self.by_stream.iter_mut().filter(|(_, letter)| letter.position.is_none()) {
            let message = letters.store.message(letter.message_id).await?;
            letter.position = message.map(|message| message.global_position);
            if letter.position.is_some() && !letter.is_discarded {
                self.arrived.insert(stream.clone());
            }
            self.changed.push(stream.clone());
        }
        let changed = std::mem::take(&mut self.changed);
        let holding = changed.iter().filter_map(|stream| {
            let letter = self.by_stream.get(stream).filter(|letter| letter.holds && !letter.is_discarded)?;
            // A message that is not here holds no message that is: later messages of its entity are copied after it.
            let is_always = matches!(letter.waits_for, Some(WaitsFor::Time | WaitsFor::EarlierMessage));
            Some(Holding { entity: entity_of(stream), message: letter.position?, is_always })
        });
        let holding = holding.collect();
        self.by_stream.retain(|_, letter| letter.position.is_none_or(|position| position > handled_through));
        Ok(holding)
    }

    /// Applies a step.
    async fn apply(&mut self, letters: &DeadLetters, step: &Message) -> Result<()> {
        let decoded = Step::of(step);
        match &decoded {
            Some(Step::Parked { message, again_at, attempts, .. }) if self.share.is_own(&message.stream) => {
                self.delay(&step.stream, *again_at);
                self.open.entry(entity_of(&step.stream)).or_default().insert(step.stream.clone());
                self.requested.remove(&step.stream);
                if *attempts == 0 {
                    self.behind.insert(step.stream.clone());
                } else {
                    self.behind.remove(&step.stream);
                }
            }
            Some(Step::RetryRequested {}) => {
                self.delay(&step.stream, None);
                if self.open.get(&entity_of(&step.stream)).is_some_and(|open| open.contains(&step.stream)) {
                    self.requested.insert(step.stream.clone());
                }
            }
            Some(Step::Resolved { .. } | Step::Discarded { .. }) => {
                self.delay(&step.stream, None);
                self.close(&step.stream);
            }
            _ => {}
        }
        match decoded {
            // The stream of the message decides: the name of the letter may be shortened, and belong to another member.
            Some(Step::Parked { message, .. }) if !self.share.is_own(&message.stream) => {}
            Some(Step::Parked { message, holds, again_at, attempts, .. }) => {
                let (message_id, position) = (message.message_id, Some(message.global_position));
                let mut letter = UnresolvedLetter {
                    position,
                    message_id,
                    letter: step.reference(),
                    is_discarded: false,
                    holds,
                    waits_for: Some(WaitsFor::of(attempts, again_at)),
                };
                // A copied step has a position in another store, and its letter may have been discarded here before.
                if is_copy(step)
                    && let Some(whole) = letters.read(&step.stream).await?.letter
                {
                    if whole.is_here && whole.is_open() {
                        self.arrived.insert(step.stream.clone());
                    }
                    letter = UnresolvedLetter { letter: letter.letter, holds, ..UnresolvedLetter::of(whole) };
                }
                self.by_stream.insert(step.stream.clone(), letter);
            }
            Some(Step::Discarded { .. }) => match self.by_stream.get_mut(&step.stream) {
                Some(letter) => letter.is_discarded = true,
                // A copied `Resolved` may have removed the letter before. The discard is final, so it is added again.
                None if is_copy(step) => {
                    let letter = letters.read(&step.stream).await?.letter;
                    if let Some(letter) = letter.filter(|letter| self.share.is_own(&letter.message.stream)) {
                        self.by_stream.insert(step.stream.clone(), UnresolvedLetter::of(letter));
                    }
                }
                None => {}
            },
            Some(Step::Resolved { .. }) => {
                // A discard is final, even if a delivery in another store is copied here after it.
                if self.by_stream.get(&step.stream).is_some_and(|letter| !letter.is_discarded) {
                    self.by_stream.remove(&step.stream);
                }
            }
            Some(Step::Attempted { .. } | Step::NotAlone {} | Step::Interrupted {} | Step::RetryRequested {})
            | None => {}
        }
        Ok(())
    }

    /// Removes a letter from those that are not closed. A copied step can close a letter that is open here, so the reader
    /// of a letter decides.
    fn close(&mut self, letter: &StreamName) {
        self.requested.remove(letter);
        self.behind.remove(letter);
        let entity = entity_of(letter);
        if let Some(open) = self.open.get_mut(&entity) {
            open.remove(letter);
            if open.is_empty() {
                self.open.remove(&entity);
            }
        }
    }

    /// The letters whose delivery an earlier owner of their slots may have left undone: those with a requested delivery,
    /// and one of each entity with messages that wait behind another.
    pub(super) fn to_resume(&self) -> BTreeSet<StreamName> {
        let mut entities = HashSet::new();
        let behind = self.behind.iter().filter(|letter| entities.insert(entity_of(letter)));
        behind.chain(&self.requested).cloned().collect()
    }

    /// The number of letters that are not closed.
    pub(super) fn count_open(&self) -> usize {
        self.open.values().map(BTreeSet::len).sum()
    }

    /// The letters of an entity that may be open.
    pub(super) fn open_of(&self, entity: &str) -> impl Iterator<Item = &StreamName> {
        self.open.get(entity).into_iter().flatten()
    }

    /// Records the time at which the message of a letter is delivered again. `None` if it is not.
    pub(super) fn delay(&mut self, letter: &StreamName, until: Option<Timestamp>) {
        match until {
            Some(until) => self.delayed.insert(letter.clone(), until),
            None => self.delayed.remove(letter),
        };
    }

    /// The letters whose messages are delivered again later, with the times.
    pub(super) fn delayed(&self) -> &HashMap<StreamName, Timestamp> {
        &self.delayed
    }

    /// Whether the message of a letter has not been copied here yet.
    pub(super) fn has_missing_message(&self) -> bool {
        self.by_stream.values().any(|letter| letter.position.is_none())
    }

    /// The open letters that were copied here and whose messages have arrived. The caller requests the retries that are
    /// due, and then calls [`UnresolvedLetters::clear_arrived`].
    pub(super) fn arrived(&self) -> &HashSet<StreamName> {
        &self.arrived
    }

    pub(super) fn clear_arrived(&mut self) {
        self.arrived.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_stream.is_empty()
    }

    pub(super) fn get(&self, stream: &StreamName) -> Option<&UnresolvedLetter> {
        self.by_stream.get(stream)
    }
}

/// The entity of a letter, as the names of letters contain it.
fn entity_of(letter: &StreamName) -> String {
    letter.cardinal_id().unwrap_or_default().to_owned()
}
