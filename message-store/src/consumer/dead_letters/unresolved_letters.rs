//! Unresolved letters: the letters that are open or discarded. The consumer does not deliver their messages when it
//! reaches their positions.
//!
//! Problem: a consumer reaches a position again after a reset, or when the size of its group has changed. Another
//! process may reach it too. The message may have been set aside and discarded before. A look-up for each message would
//! show that, but would cost as much as the message. Fix: the consumer reads the letters when it starts, from the
//! newest checkpoint on (see [`super::letter_checkpoints`]). After it has read a batch of messages, it reads the
//! changes of letters. Why it is right: if an operator decided before the batch was read, the consumer knows the
//! decision before it delivers a message of the batch. Why it costs little: only open letters are kept, and discarded
//! ones of messages that may come.
//!
//! Each member of a group keeps the letters of all members, and acts on those of its own messages. So a member of an
//! elastic group that claims slots knows their letters already.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::TryStreamExt as _;
use jiff::Timestamp;

use super::letter::{DeadLetter, DeadLetters};
use super::letter_query::WaitsFor;
use super::step::{Step, is_copy};
use crate::consumer::groups::Share;
use crate::{
    GlobalPosition, History, Message, MessageId, MessageRef, MessageStoreExt as _, Outcome, Read, Result, StreamName,
};

/// A letter that is open or discarded.
#[derive(Clone, Debug)]
pub(super) struct UnresolvedLetter {
    /// The position of the message in this store. `None` if the message has not been copied here yet.
    pub(super) position: Option<GlobalPosition>,
    message_id: MessageId,
    /// The stream of the message. It shows the member of the group that handles the message: the name of the letter may
    /// be shortened.
    message_stream: StreamName,
    /// A step that set the message aside was copied here from another store.
    is_copy: bool,
    /// The position of the step with which the letter was opened.
    pub(super) opened: GlobalPosition,
    /// The step that set the message aside last.
    pub(super) letter: MessageRef,
    pub(super) is_discarded: bool,
    pub(super) holds: bool,
    /// What the message waits for, as of the step that set it aside last.
    waits_for: Option<WaitsFor>,
}

impl UnresolvedLetter {
    /// The part of a letter that the consumer keeps.
    fn of(letter: DeadLetter, step: &Message) -> Self {
        let (is_discarded, waits_for) = (letter.is_discarded(), letter.waits_for());
        let DeadLetter { message, letter, is_here, holds, .. } = letter;
        let position = is_here.then_some(message.global_position);
        let (message_id, message_stream) = (message.id, message.stream);
        let (is_copy, opened) = (is_copy(step), step.global_position);
        Self { position, message_id, message_stream, is_copy, opened, letter, is_discarded, holds, waits_for }
    }

    /// The letter as text. Two readers may have seen it opened, or copied, at different steps.
    #[cfg(test)]
    pub(super) fn without_opening(&self) -> String {
        format!("{:?}", Self { is_copy: false, opened: GlobalPosition::ZERO, ..self.clone() })
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

/// The letters that are open, and those that were discarded and whose messages the consumer has not passed.
#[derive(Debug)]
pub(super) struct UnresolvedLetters {
    pub(super) by_stream: HashMap<StreamName, UnresolvedLetter>,
    /// The store's history when the letters were read.
    pub(super) history: History,
    /// The steps up to this position are applied, even if a read of later ones failed.
    pub(super) read_through: GlobalPosition,
    /// Discarded letters of messages up to this position are not kept. A consumer at a lower position reads all
    /// letters.
    pub(super) dropped_through: GlobalPosition,
    /// The last step that was read, at `read_through`. `None` after a checkpoint was read.
    pub(super) last_step: Option<MessageId>,
    /// The number of steps up to `read_through`.
    pub(super) steps: u64,
    /// The number of steps that were read since a checkpoint was last read or due.
    pub(super) since_checkpoint: u64,
    /// The consumer had passed this position at the last refresh.
    passed: GlobalPosition,
    /// No message of a letter is after this position.
    highest: GlobalPosition,
    /// The letters whose messages have not been copied here yet.
    missing: HashSet<StreamName>,
    /// The letters in force that have changed since [`UnresolvedLetters::refresh`] last returned, and whether the message was
    /// set aside then.
    changed: HashMap<StreamName, bool>,
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
    /// The letters that were closed here when a delivery was requested, as a copied step can do. The reader of a
    /// letter takes them for open, so a checkpoint lists them.
    pub(super) reopened: HashMap<StreamName, GlobalPosition>,
    share: Share,
}

impl UnresolvedLetters {
    /// No letter. Ask for the history before the first read.
    pub(super) fn new(share: Share, history: History) -> Self {
        Self {
            by_stream: HashMap::new(),
            history,
            read_through: GlobalPosition::ZERO,
            dropped_through: GlobalPosition::ZERO,
            last_step: None,
            steps: 0,
            since_checkpoint: 0,
            passed: GlobalPosition::ZERO,
            highest: GlobalPosition::ZERO,
            missing: HashSet::new(),
            changed: HashMap::new(),
            arrived: HashSet::new(),
            delayed: HashMap::new(),
            open: HashMap::new(),
            requested: BTreeSet::new(),
            behind: BTreeSet::new(),
            reopened: HashMap::new(),
            share,
        }
    }

    /// Begins again at another position, or with other slots, with the letters that are known. The next refresh returns
    /// each that holds later messages.
    pub(super) fn begin_again(&mut self) {
        self.passed = GlobalPosition::ZERO;
        self.changed = self.by_stream.keys().map(|stream| (stream.clone(), true)).collect();
        let has_arrived =
            |letter: &UnresolvedLetter| letter.is_copy && letter.position.is_some() && !letter.is_discarded;
        let arrived = self.by_stream.iter().filter(|(_, letter)| has_arrived(letter));
        self.arrived = arrived.map(|(stream, _)| stream.clone()).collect();
    }

    /// Reads the changes. Returns each letter of the consumer's own messages that has changed, is open, and holds later
    /// messages. The consumer has handled all messages up to `handled_through`.
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
            (self.read_through, self.last_step) = (step.global_position, Some(step.id));
            (self.steps, self.since_checkpoint) = (self.steps + 1, self.since_checkpoint + 1);
        }
        // A message that was missing may have been copied here since the last refresh.
        for stream in self.missing.clone() {
            let Some(letter) =
                self.by_stream.get_mut(&stream).filter(|letter| self.share.is_own(&letter.message_stream))
            else {
                continue;
            };
            if let Some(message) = letters.store.message(letter.message_id).await? {
                letter.position = Some(message.global_position);
                self.highest = self.highest.max(message.global_position);
                if !letter.is_discarded {
                    self.arrived.insert(stream.clone());
                }
                self.missing.remove(&stream);
            }
            self.changed.insert(stream, true);
        }
        let passed = std::mem::replace(&mut self.passed, handled_through);
        let changed = std::mem::take(&mut self.changed);
        let holding = changed.iter().filter_map(|(stream, is_new)| {
            let letter = self.own(stream).filter(|letter| letter.holds && !letter.is_discarded)?;
            let message = letter.position.filter(|position| *is_new || *position > passed)?;
            // A message that is not here holds no message that is: later messages of its entity are copied after it.
            let is_always = matches!(letter.waits_for, Some(WaitsFor::Time | WaitsFor::EarlierMessage));
            Some(Holding { entity: entity_of(stream), message, is_always })
        });
        Ok(holding.collect())
    }

    /// Drops the discarded letters of messages up to this position. All consumers of the letters have saved a position
    /// that is as high.
    pub(super) fn drop_discarded(&mut self, through: GlobalPosition) {
        self.dropped_through = self.dropped_through.max(through);
        self.by_stream.retain(|_, letter| !letter.is_discarded || letter.position.is_none_or(|at| at > through));
    }

    fn keep(&mut self, stream: &StreamName, letter: UnresolvedLetter) {
        match letter.position {
            Some(position) => {
                self.missing.remove(stream);
                self.highest = self.highest.max(position);
            }
            None => drop(self.missing.insert(stream.clone())),
        }
        let before = self.by_stream.get(stream);
        let opened = before.map_or(letter.opened, |before| before.opened);
        let is_copy = letter.is_copy || before.is_some_and(|before| before.is_copy);
        self.by_stream.insert(stream.clone(), UnresolvedLetter { is_copy, opened, ..letter });
    }

    /// The letter in this stream, if its message is the consumer's own.
    fn own(&self, stream: &StreamName) -> Option<&UnresolvedLetter> {
        self.by_stream.get(stream).filter(|letter| self.share.is_own(&letter.message_stream))
    }

    /// Applies a step. Steps of one letter are applied in order.
    pub(super) async fn apply(&mut self, letters: &DeadLetters, step: &Message) -> Result<()> {
        let decoded = Step::of(step);
        let is_new = matches!(decoded, Some(Step::Parked { .. }));
        match decoded {
            Some(Step::Parked { message, holds, again_at, attempts, .. }) => {
                let mut letter = UnresolvedLetter {
                    position: Some(message.global_position),
                    message_id: message.message_id,
                    message_stream: message.stream,
                    is_copy: is_copy(step),
                    opened: step.global_position,
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
                    letter = UnresolvedLetter { letter: letter.letter, holds, ..UnresolvedLetter::of(whole, step) };
                }
                self.keep(&step.stream, letter);
                self.delay(&step.stream, again_at);
                self.open.entry(entity_of(&step.stream)).or_default().insert(step.stream.clone());
                self.requested.remove(&step.stream);
                self.reopened.remove(&step.stream);
                if attempts == 0 {
                    self.behind.insert(step.stream.clone());
                } else {
                    self.behind.remove(&step.stream);
                }
            }
            Some(Step::RetryRequested {}) => {
                self.delay(&step.stream, None);
                if self.open.get(&entity_of(&step.stream)).is_some_and(|open| open.contains(&step.stream)) {
                    self.requested.insert(step.stream.clone());
                } else {
                    self.reopened.insert(step.stream.clone(), step.global_position);
                }
            }
            Some(Step::Discarded { .. }) => {
                self.close(&step.stream);
                match self.by_stream.get_mut(&step.stream) {
                    Some(letter) => letter.is_discarded = true,
                    // A copied `Resolved` may have removed the letter before. The discard is final, so it is added
                    // again.
                    None => {
                        if let Some(letter) = letters.read(&step.stream).await?.letter {
                            self.keep(&step.stream, UnresolvedLetter::of(letter, step));
                        }
                    }
                }
            }
            Some(Step::Resolved { .. }) => {
                self.close(&step.stream);
                // A discard is final, even if a delivery in another store is copied here after it.
                if self.by_stream.get(&step.stream).is_some_and(|letter| !letter.is_discarded) {
                    self.by_stream.remove(&step.stream);
                    self.missing.remove(&step.stream);
                }
            }
            Some(Step::Attempted { .. } | Step::NotAlone {} | Step::Interrupted {}) | None => {}
        }
        // Only a letter in force holds messages.
        if self.by_stream.get(&step.stream).is_some_and(|letter| !letter.is_discarded) {
            *self.changed.entry(step.stream.clone()).or_default() |= is_new;
        } else {
            self.changed.remove(&step.stream);
        }
        Ok(())
    }

    /// Removes a letter from those that are not closed. A copied step can close a letter that is open here, so the
    /// reader of a letter decides.
    fn close(&mut self, letter: &StreamName) {
        self.delay(letter, None);
        self.reopened.remove(letter);
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

    /// The letters whose delivery an earlier owner of their slots may have left undone: those with a requested
    /// delivery, and one of each entity with messages that wait behind another.
    pub(super) fn to_resume(&self) -> BTreeSet<StreamName> {
        let mut entities = HashSet::new();
        let behind = self.behind.iter().filter(|letter| self.own(letter).is_some());
        let behind = behind.filter(|letter| entities.insert(entity_of(letter)));
        let requested = self.requested.iter().filter(|letter| self.own(letter).is_some());
        // (Whose letter is reopened is known when it is read.)
        behind.chain(requested).chain(self.reopened.keys()).cloned().collect()
    }

    /// The number of open letters of the consumer's own messages.
    pub(super) fn count_open(&self) -> usize {
        self.open.values().flatten().filter(|letter| self.own(letter).is_some()).count()
    }

    /// The letters of an entity that may be open, of the consumer's own messages.
    pub(super) fn open_of(&self, entity: &str) -> impl Iterator<Item = &StreamName> {
        self.open.get(entity).into_iter().flatten().filter(|letter| self.own(letter).is_some())
    }

    /// Records the time at which the message of a letter is delivered again. `None` if it is not.
    pub(super) fn delay(&mut self, letter: &StreamName, until: Option<Timestamp>) {
        match until {
            Some(until) => self.delayed.insert(letter.clone(), until),
            None => self.delayed.remove(letter),
        };
    }

    /// The letters of the consumer's own messages that are delivered again later, with the times.
    pub(super) fn delayed(&self) -> impl Iterator<Item = (&StreamName, &Timestamp)> {
        self.delayed.iter().filter(|(letter, _)| self.own(letter).is_some())
    }

    /// Whether the message of a letter has not been copied here yet.
    pub(super) fn has_missing_message(&self) -> bool {
        self.missing.iter().any(|letter| self.own(letter).is_some())
    }

    /// The open letters of the consumer's own messages that were copied here and whose messages have arrived. The
    /// caller requests the retries that are due, and then calls [`UnresolvedLetters::clear_arrived`].
    pub(super) fn arrived(&self) -> HashSet<&StreamName> {
        self.arrived.iter().filter(|letter| self.own(letter).is_some()).collect()
    }

    pub(super) fn clear_arrived(&mut self) {
        self.arrived.clear();
    }

    /// Whether no message that the consumer has still to pass has a letter.
    pub(super) fn is_empty(&self) -> bool {
        self.by_stream.is_empty() || (self.missing.is_empty() && self.highest <= self.passed)
    }

    pub(super) fn get(&self, stream: &StreamName) -> Option<&UnresolvedLetter> {
        self.by_stream.get(stream)
    }

    /// The sets of letters, as text.
    #[cfg(test)]
    pub(super) fn sets(&self) -> [(&'static str, String); 5] {
        let (open, delayed) = (self.open.values().flatten().collect::<BTreeSet<_>>(), &self.delayed);
        let delayed: std::collections::BTreeMap<_, _> = delayed.iter().collect();
        let missing: BTreeSet<_> = self.missing.iter().collect();
        [
            ("open", format!("{open:?}")),
            ("delayed", format!("{delayed:?}")),
            ("requested", format!("{:?}", self.requested)),
            ("behind", format!("{:?}", self.behind)),
            ("missing", format!("{missing:?}")),
        ]
    }
}

/// The entity of a letter, as the names of letters contain it.
fn entity_of(letter: &StreamName) -> String {
    letter.cardinal_id().unwrap_or_default().to_owned()
}
