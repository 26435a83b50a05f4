//! The checkpoints of letters: a consumer that starts reads the letters from the newest checkpoint on.
//!
//! Problem: the letters of years are closed, and each start of a consumer would read them all, to find the few that are
//! open. Fix: a consumer that has read many steps records a checkpoint ([`crate::store::Checkpoints`]) with the letters
//! that are open. It also lists the discarded letters of messages that may be delivered again: those after the lowest
//! position that any consumer of these letters has saved. Why it is right: a consumer at a lower position, because its
//! position was set back or because its group has another size, does not use the checkpoint, and reads all letters. A
//! letter that is listed is read from its own stream, so what happened to it since does not matter. A letter that is
//! not listed was closed at the checkpoint, and every later step of it is read.

use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::TryStreamExt as _;
use tokio::time::timeout;

use super::SetAside;
use super::letter::DeadLetters;
use super::letter_cache::LetterCache;
use super::letter_pages::PAGE;
use super::unresolved_letters::UnresolvedLetters;
use crate::consumer::PlantedBug;
use crate::consumer::groups::{Share, progress_of};
use crate::consumer::position_store::{PositionStore, last_recorded};
use crate::planted::Planted;
use crate::store::{Checkpoint, StepStream};
use crate::{GlobalPosition, GroupMember, Message, MessageStoreExt as _, Position, Result, StreamName, chain};

/// The time in which the store must write a checkpoint. A store that is silent must not keep a consumer from its
/// messages.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

impl UnresolvedLetters {
    /// Reads the letters for a consumer that has handled all messages up to `handled_through`: those that the newest
    /// checkpoint lists. The next refresh reads what follows the checkpoint.
    pub(super) async fn load(
        letters: &DeadLetters,
        share: Share,
        handled_through: GlobalPosition,
        planted: Planted<PlantedBug>,
    ) -> Result<Self> {
        let mut new = Self::new(share, letters.store.history());
        let is_usable = |checkpoint: &Checkpoint| {
            checkpoint.handled <= handled_through || planted.is(PlantedBug::CheckpointsOfHigherPositions)
        };
        let Some(checkpoint) = letters.checkpoints.newest(&letters.store).await?.filter(is_usable) else {
            return Ok(new);
        };
        let steps_of = async |stream: &StreamName| -> Result<Vec<Message>> {
            letters.store.stream_messages(stream, Position::FIRST).try_collect().await
        };
        for page in checkpoint.open.chunks(PAGE) {
            for steps in try_join_all(page.iter().map(steps_of)).await? {
                for step in steps.iter().filter(|step| step.global_position <= checkpoint.through) {
                    new.apply(letters, step).await?;
                }
            }
        }
        new.read_through = checkpoint.through;
        new.dropped_through = checkpoint.handled;
        new.steps = checkpoint.messages;
        Ok(new)
    }

    /// The checkpoint that lists these letters.
    fn checkpoint(&self, planted: Planted<PlantedBug>) -> Checkpoint {
        let kept = self.by_stream.iter().map(|(stream, letter)| (letter.opened, stream));
        let reopened = self.reopened.iter().filter(|(stream, _)| !self.by_stream.contains_key(*stream));
        let mut open: Vec<_> = kept.chain(reopened.map(|(stream, opened)| (*opened, stream))).collect();
        open.sort();
        let listed = if planted.is(PlantedBug::CheckpointsListNothing) { 0 } else { open.len() };
        let open = open.into_iter().take(listed).map(|(_, stream)| stream.clone()).collect();
        Checkpoint { through: self.read_through, handled: self.dropped_through, messages: self.steps, open }
    }
}

impl SetAside {
    /// Writes a checkpoint, if many steps were read since the last one. Nothing depends on it, so an error is only
    /// logged.
    pub(super) async fn checkpoint_if_due(&self, cache: &mut LetterCache) {
        let unresolved = &mut cache.unresolved;
        if !self.pace.checkpoints.is_due(unresolved.since_checkpoint, unresolved.by_stream.len()) {
            return;
        }
        unresolved.since_checkpoint = 0;
        let writing = async {
            // Another process may have saved a higher position, and this one delivers what it has read before it notices.
            let passed = self.lowest_saved().await?.min(self.handled_through());
            unresolved.drop_discarded(passed);
            let checkpoint = unresolved.checkpoint(self.pace.planted);
            if !self.pace.checkpoints.is_worth(&checkpoint) {
                return Ok(false);
            }
            let read = (unresolved.history, unresolved.last_step);
            self.letters.checkpoints.write(&self.letters.store, read, &checkpoint).await
        };
        let category = &self.letters.category;
        match timeout(WRITE_WITHIN, writing).await {
            Ok(Ok(is_written)) => {
                tracing::debug!(target: "message_store::consumer", %category, is_written, "a checkpoint of the letters was due");
            }
            Ok(Err(error)) => {
                tracing::warn!(target: "message_store::consumer", %category, error = chain(&error), "a checkpoint of the letters could not be written, so the next start reads more of them");
            }
            Err(_) => {
                tracing::warn!(target: "message_store::consumer", %category, "the store did not write a checkpoint of the letters in time");
            }
        }
    }

    /// The lowest position that is saved for a consumer of these letters: the consumer itself, a member of its group,
    /// or a slot.
    pub(super) async fn lowest_saved(&self) -> Result<GlobalPosition> {
        let saved = async |stream| -> Result<GlobalPosition> {
            let recorded = last_recorded(&StepStream::new(&self.letters.store, stream)).await?;
            Ok(recorded.map_or(GlobalPosition::ZERO, |(progress, _)| progress.position))
        };
        match &self.share {
            Share::All => saved(self.positions.clone()).await,
            Share::Member(member) => {
                let mut lowest = GlobalPosition::new(i64::MAX);
                for number in 0..member.size() {
                    let (category, identifier) = (&self.letters.consumer_category, self.letters.identifier.as_deref());
                    let member = Some(GroupMember::new(number, member.size())?);
                    lowest = lowest.min(saved(PositionStore::stream_of(category, identifier, member)?).await?);
                }
                Ok(lowest)
            }
            Share::Slots(_) => {
                let Some(leases) = self.letters.store.leases() else { return Ok(GlobalPosition::ZERO) };
                let mut lowest = None;
                for slot in leases.group(self.positions.as_str()).await?.slots {
                    let position = progress_of(self.positions.as_str(), &slot)?.position;
                    lowest = Some(lowest.map_or(position, |lowest: GlobalPosition| lowest.min(position)));
                }
                Ok(lowest.unwrap_or(GlobalPosition::ZERO))
            }
        }
    }
}

#[cfg(all(test, feature = "testing", feature = "sqlite"))]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::LetterQuery;
    use super::super::step::{MessagePlace, Step};
    use super::*;
    use crate::{
        Category, ExpectedVersion, Json, MessageId, MessageStore, Metadata, NewMessage, Sequence, StoreId, connect,
    };

    /// What a consumer knows of the letters.
    fn known(unresolved: &UnresolvedLetters) -> BTreeMap<String, String> {
        let letters = unresolved.by_stream.iter();
        let letters = letters.map(|(stream, letter)| (stream.to_string(), letter.without_opening()));
        let sets = unresolved.sets().into_iter().map(|(name, set)| (name.to_owned(), set));
        letters.chain(sets).collect()
    }

    /// The open letters, as an operator sees them.
    async fn listed(letters: &DeadLetters, checkpoint: Checkpoint) -> Vec<String> {
        let query = LetterQuery::default();
        let selected: Vec<_> = letters.selected_from(checkpoint, &query).try_collect().await.unwrap();
        let mut selected: Vec<String> = selected.iter().map(|letter| format!("{letter:?}")).collect();
        selected.sort();
        selected
    }

    /// A step of one of a few letters, as this store, another store or another program writes it.
    fn step(random: &mut impl FnMut(u64) -> u64, message: &Message) -> NewMessage {
        let place = MessagePlace::from(message);
        let (attempts, holds) = (u32::from(random(2) == 0), random(2) == 0);
        let again_at = (random(4) == 0).then_some(jiff::Timestamp::UNIX_EPOCH);
        let message_type = "Deposit".to_owned();
        let (error, error_class, member) = ("it fails".to_owned(), None, None);
        let step = match random(8) {
            0..=2 => {
                Step::Parked { message: place, message_type, attempts, error, error_class, holds, again_at, member }
            }
            3 => Step::RetryRequested {},
            4 => Step::Attempted { alone: holds },
            5 | 6 => Step::Resolved { outcome: "processed".to_owned() },
            _ => Step::Discarded { why: "bad".to_owned() },
        };
        let written = NewMessage::from_variant(&step).unwrap();
        match random(8) {
            0 => NewMessage::new("Parked", Json::NULL),
            1 | 2 => {
                let category = Category::new("c+deadLetter").unwrap();
                let origin = Sequence::new(StoreId::new(), category, GlobalPosition::new(3));
                let mut metadata = Metadata::default();
                metadata.origin = Some(origin);
                written.with_metadata(&metadata).unwrap()
            }
            _ => written,
        }
    }

    async fn command(store: &Arc<dyn MessageStore>, number: u64) -> Message {
        let (command, stream) =
            (NewMessage::new("Deposit", Json::NULL), StreamName::new(format!("c-{number}")).unwrap());
        let id = command.id;
        store.append_to(&stream, ExpectedVersion::Any, vec![command]).await.unwrap();
        store.message(id).await.unwrap().unwrap()
    }

    /// Writes steps at random, and checkpoints by a reader that may have begun at a checkpoint itself. Then compares
    /// what a reader knows that begins at the newest checkpoint with what a reader knows that has read all letters.
    async fn begins_as_at_the_beginning(seed: u64) {
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let store = connect("sqlite::memory:").await.unwrap();
        let letters = DeadLetters::of(&store, "c", None).unwrap();
        let mut messages = Vec::new();
        for number in 0..4 {
            messages.push(command(&store, number % 2).await);
        }
        // A message that has not been copied here.
        messages.push(Message { id: MessageId::new(), ..messages[0].clone() });
        let load =
            async || UnresolvedLetters::load(&letters, Share::All, GlobalPosition::ZERO, Planted::NONE).await.unwrap();
        let mut reader = load().await;
        for _ in 0..30 {
            let message = &messages[usize::try_from(random(5)).unwrap()];
            let stream = letters.stream_of(message).unwrap();
            let step = step(&mut random, message);
            store.append_to(&stream, ExpectedVersion::Any, vec![step]).await.unwrap();
            match random(6) {
                0 => {
                    let _ = reader.refresh(&letters, GlobalPosition::ZERO).await.unwrap();
                    letters
                        .checkpoints
                        .write(&store, (store.history(), reader.last_step), &reader.checkpoint(Planted::NONE))
                        .await
                        .unwrap();
                }
                1 => reader = load().await,
                _ => {}
            }
        }
        let newest = letters.checkpoints.newest(&store).await.unwrap().unwrap_or(Checkpoint::BEGINNING);
        assert_eq!(listed(&letters, newest).await, listed(&letters, Checkpoint::BEGINNING).await, "seed {seed}");
        let mut from_checkpoint = load().await;
        let mut from_beginning = UnresolvedLetters::new(Share::All, store.history());
        let mut held = Vec::new();
        for reader in [&mut from_checkpoint, &mut from_beginning] {
            let holding = reader.refresh(&letters, GlobalPosition::ZERO).await.unwrap();
            let mut holding: Vec<_> =
                holding.into_iter().map(|held| (held.entity, held.message, held.is_always)).collect();
            holding.sort();
            holding.dedup();
            held.push(holding);
        }
        assert_eq!(known(&from_checkpoint), known(&from_beginning), "seed {seed}");
        assert_eq!(held[0], held[1], "seed {seed}");
        assert_eq!(from_checkpoint.steps, from_beginning.steps, "seed {seed}");
    }

    #[tokio::test]
    async fn a_reader_that_begins_at_a_checkpoint_knows_what_one_knows_that_has_read_all_letters() {
        for seed in 0..80 {
            begins_as_at_the_beginning(seed).await;
        }
    }
}
