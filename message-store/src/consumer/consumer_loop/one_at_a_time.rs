//! After a crash: the consumer hands out the messages that may have ended the process in rounds, which it records, and
//! those that were under way in a second crash one at a time, alone in the process if possible. See
//! [`crate::consumer::suspects`] for the reasons.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinError;

use super::ConsumerLoop;
use super::handing_out::{deliver, make_whole};
use crate::consumer::PlantedBug;
use crate::consumer::dead_letters::{Classed, Failure, SetAside};
use crate::consumer::deliver::Deliver;
use crate::consumer::process::Turn;
use crate::consumer::saved_progress::SavedProgress;
use crate::consumer::suspects::Suspects;
use crate::{Error, Message, Outcome, Result};

/// The greatest number of messages in a round. They are recorded by their ids.
const ROUND: usize = 32;

impl<D: Deliver> ConsumerLoop<D> {
    /// The messages that may have ended the process of the previous consumer.
    pub(super) fn find_suspects(&self) -> Option<Suspects> {
        self.set_aside.as_ref().filter(|set_aside| set_aside.is_on())?;
        let SavedProgress::Stream(positions) = &self.positions else { return None };
        Suspects::of_previous(0, positions.previous(), self.unsaved_messages())
    }

    /// The number of messages that may have been handed out after a save.
    pub(super) fn unsaved_messages(&self) -> u64 {
        self.pace.save_after.0.saturating_add(self.pace.concurrency as u64)
    }

    /// Hands out the next round: up to the consumer's concurrency, when at most half as many are under way.
    pub(super) async fn hand_out_round(&mut self) -> Result<()> {
        let (together, is_outage) = (self.has(PlantedBug::SuspectsTogether), self.outages.current().is_some());
        let Some(suspects) = &mut self.suspects else { return Ok(()) };
        let (under_way, size) = (self.handling.len(), self.pace.concurrency.min(ROUND));
        // A message that waits out an outage keeps no other from beginning.
        let is_free = if is_outage { under_way < size } else { under_way * 2 <= size && !suspects.is_one_under_way() };
        if !is_free || together || self.paused.is_paused() {
            return Ok(());
        }
        let mut round = Vec::new();
        while under_way + round.len() < size
            && self.partitions.lowest_ready().is_some_and(|next| !suspects.is_one_at_a_time(next.id))
            && let Some(next) = self.partitions.next_in_order()
        {
            suspects.hand_out_in_round(next.slot, &next.message);
            round.push(next);
        }
        if round.is_empty() {
            return Ok(());
        }
        self.save(self.progress(), &[]).await?;
        // Slots may have been lost meanwhile.
        let slots: HashSet<(u16, i64)> = self.partitions.slots().collect();
        for next in round.into_iter().filter(|next| slots.contains(&(next.slot, next.epoch))) {
            self.hand_out(next);
        }
        Ok(())
    }

    /// The next message, if it is a suspect that is handed out by itself.
    pub(super) fn next_suspect(&self) -> Option<(&Suspects, &Message)> {
        let (suspects, next) = (self.suspects.as_ref()?, self.partitions.lowest_ready()?);
        let is_suspect = suspects.is_one_at_a_time(next.id) || self.has(PlantedBug::SuspectsTogether);
        is_suspect.then_some((suspects, next))
    }

    /// Waits for the turn of the next suspect that is handed out alone. `None` if the next message is another one, or the
    /// one before is not handled yet.
    pub(super) fn next_turn(&self) -> Option<impl Future<Output = Turn> + Send + use<D>> {
        let together = self.has(PlantedBug::SuspectsTogether);
        // A suspect that waits out an outage keeps no other from beginning.
        let is_free = self.handling.is_empty()
            || (self.outages.current().is_some() && self.handling.len() < self.pace.concurrency);
        if !is_free && !together || self.paused.is_paused() {
            return None;
        }
        let process = self.set_aside.as_ref()?.process.clone();
        let (suspects, next) = self.next_suspect()?;
        let given_up = suspects.given_up(next.id);
        Some(async move {
            if together { Turn::Beside(process.beside_others().await) } else { process.turn(given_up).await }
        })
    }

    /// Records the lowest message as under way, and then hands it out. If it has ended the process too often, sets it
    /// aside instead.
    pub(super) async fn hand_out_suspect(&mut self, turn: Result<Turn, JoinError>) -> Result<()> {
        let turn = turn.map_err(|error| Error::backend("waiting for a turn", false, error))?;
        let (Some(suspects), Some(set_aside)) = (&mut self.suspects, self.set_aside.clone()) else { return Ok(()) };
        let Some(mut next) = self.partitions.next_in_order() else { return Ok(()) };
        let is_there = make_whole(&*self.subscription.store, &mut next, &self.outages).await?;
        let (slot, epoch, id) = (next.slot, next.epoch, next.message.id);
        let crashes = suspects.crashes(id);
        suspects.hand_out(slot, &next.message, turn.is_alone() || self.pace.planted.is(PlantedBug::SuspectsTogether));
        let has_crashed_too_often = crashes >= set_aside.max_attempts();
        if !has_crashed_too_often {
            self.save(self.progress(), &[]).await?;
        }
        let beside;
        (self.alone, beside) = match turn {
            Turn::Alone(alone) => (Some(alone), None),
            Turn::Beside(beside) => (None, Some(beside)),
        };
        let (delivery, outages) = (Arc::clone(&self.delivery), self.outages.clone());
        let task = self.handling.spawn(async move {
            let _beside = beside;
            let outcome = if !is_there {
                Ok(Outcome::Ignored)
            } else if has_crashed_too_often {
                set_aside_suspect(&set_aside, &next.message, crashes).await
            } else {
                deliver(&*delivery, &next.message, &outages).await
            };
            (next, outcome)
        });
        self.note_task(id, (slot, epoch, task));
        Ok(())
    }

    /// Lets other messages begin beside the suspect, because they have waited long enough. The record that the suspect
    /// is alone is changed first, so a later crash is not blamed on it.
    pub(super) async fn let_others_begin_beside_suspect(&mut self) -> Result<()> {
        if let Some(suspects) = &mut self.suspects {
            suspects.others_began();
        }
        self.save(self.progress(), &[]).await?;
        self.alone = None;
        Ok(())
    }

    /// Lets other messages begin after the suspect was handled. The record of the suspect is removed first, so a later
    /// crash is not blamed on it.
    pub(super) async fn let_others_begin_after_suspect(&mut self) -> Result<()> {
        if !self.has(PlantedBug::OthersBeginFirst) {
            self.save(self.progress(), &[]).await?;
        }
        self.alone = None;
        Ok(())
    }
}

async fn set_aside_suspect(set_aside: &SetAside, message: &Message, crashes: u32) -> Result<Outcome> {
    if let Some(outcome) = set_aside.outcome_without_delivery(message).await? {
        return Ok(outcome);
    }
    let error = Classed::crashed("the process ended during each attempt").into();
    set_aside.set_aside(message, &Failure { attempts: crashes, error, again: None }).await
}
