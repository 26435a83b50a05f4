//! Pages of letters: the letters that may be open, a few at a time.
//!
//! Problem: each letter is read from its own stream, and a hundred thousand such reads, one after the other, take long.
//! Fix: the letters of a page are read at the same time. No read is under way between two pages, because the caller may
//! use the store then: reads that nobody drives would keep its connections.

use std::collections::HashSet;
use std::vec::IntoIter;

use futures_util::future::try_join_all;

use super::letter::{DeadLetter, DeadLetters};
use super::step::Step;
use crate::store::Checkpoint;
use crate::{GlobalPosition, Position, Read, Result, StreamName};

/// The number of letters that are read at the same time.
pub(super) const PAGE: usize = 16;

/// The letters that a checkpoint lists, and then those that were opened after it.
pub(super) struct LetterPages {
    through: GlobalPosition,
    known: HashSet<StreamName>,
    listed: IntoIter<StreamName>,
    /// The steps of the last batch that can open a letter.
    opening: IntoIter<(StreamName, Position)>,
    /// The next read of the category. `None` at its end.
    read: Option<Read>,
}

impl LetterPages {
    pub(super) fn after(checkpoint: Checkpoint) -> Self {
        let Checkpoint { through, open, .. } = checkpoint;
        let (known, listed) = (open.iter().cloned().collect(), open.into_iter());
        let read = Some(Read::from(through.next()));
        Self { through, known, listed, opening: Vec::new().into_iter(), read }
    }

    /// The next letters, each once. `None` at the end.
    pub(super) async fn next(&mut self, letters: &DeadLetters) -> Result<Option<Vec<DeadLetter>>> {
        let listed: Vec<StreamName> = self.listed.by_ref().take(PAGE).collect();
        if !listed.is_empty() {
            let read = try_join_all(listed.iter().map(|letter| letters.read(letter))).await?;
            return Ok(Some(read.into_iter().filter_map(|progress| progress.letter).collect()));
        }
        let opening: Vec<(StreamName, Position)> = self.opening.by_ref().take(PAGE).collect();
        if !opening.is_empty() {
            let reads = opening.iter().map(|(letter, _)| letters.read_opened_after(letter, self.through));
            let read = try_join_all(reads).await?.into_iter().zip(&opening);
            // Several steps of a letter can open it, and it is returned at the first.
            let first = read.filter(|(progress, (_, step))| progress.opened_after == Some(*step));
            return Ok(Some(first.filter_map(|(progress, _)| progress.letter).collect()));
        }
        let Some(read) = self.read.take() else { return Ok(None) };
        let batch = letters.store.read_category(&letters.category, read.clone()).await?;
        if !batch.is_at_end(&read) {
            self.read = Some(Read { from: batch.looked_through.next(), ..read });
        }
        let steps = batch.messages.iter().filter(|step| !self.known.contains(&step.stream));
        let opening = steps.filter(|step| Step::of(step).is_some_and(|step| step.can_open_after(self.through)));
        let opening: Vec<_> = opening.map(|step| (step.stream.clone(), step.position)).collect();
        self.opening = opening.into_iter();
        Ok(Some(Vec::new()))
    }
}
