//! After a crash: messages that may have ended the process are handed out one at a time, alone in the process where that is
//! possible. See [`crate::consumer::suspects`] for why.

use std::future::pending;
use std::sync::Arc;

use super::Work;
use super::handing_out::handle;
use crate::consumer::PlantedBug;
use crate::consumer::dead_letters::SetAside;
use crate::consumer::process::{Alone, Turn};
use crate::consumer::suspects::Suspects;
use crate::handling::Handler;
use crate::{Message, Outcome, Result};

impl<H: Handler> Work<H> {
    pub(super) fn find_suspects(&self) -> Option<Suspects> {
        self.set_aside.as_ref().filter(|set_aside| set_aside.is_on())?;
        // Before a save follows, so many messages more may have been handed out.
        let more = self.pace.save_after.0.saturating_add(self.pace.concurrency as u64);
        Suspects::after(self.positions.found(), more)
    }

    /// How often the suspect that is next gave up being alone; `None` unless there is one, and the one before is done.
    pub(super) fn suspect_in_turn(&self) -> Option<(&SetAside, u32)> {
        let (suspects, set_aside) = (self.suspects.as_ref()?, self.set_aside.as_ref()?);
        if !self.handling.is_empty() && !self.has(PlantedBug::SuspectsTogether) {
            return None;
        }
        self.partitions.lowest_ready().map(|message| (&**set_aside, suspects.given_up(message.id)))
    }

    /// Hands out the lowest message, and notes that before, or sets it aside when it has ended the process too often.
    pub(super) async fn hand_out_suspect(&mut self, turn: Turn) -> Result<()> {
        let (Some(suspects), Some(set_aside)) = (&mut self.suspects, self.set_aside.clone()) else { return Ok(()) };
        let Some(message) = self.partitions.next_in_order() else { return Ok(()) };
        let crashes = suspects.crashes(message.id);
        suspects.hand_out(&message, turn.is_alone() || self.pace.planted == Some(PlantedBug::SuspectsTogether));
        let is_to_blame = crashes >= set_aside.deliveries();
        if !is_to_blame {
            self.positions.save(self.progress()).await?;
        }
        let beside;
        (self.alone, beside) = match turn {
            Turn::Alone(alone) => (Some(alone), None),
            Turn::Beside(beside) => (None, Some(beside)),
        };
        let (handler, store, retries) = (Arc::clone(&self.handler), Arc::clone(&self.source.store), self.pace.retries);
        self.handling.spawn(async move {
            let _beside = beside;
            let outcome = if is_to_blame {
                blame(&set_aside, &message, crashes).await
            } else {
                handle(&*handler, &store, &message, retries).await
            };
            (message, outcome)
        });
        Ok(())
    }

    /// Others have waited long enough: from now on the suspect is under way beside them, and that is noted before they begin.
    pub(super) async fn give_up_being_alone(&mut self) -> Result<()> {
        if let Some(suspects) = &mut self.suspects {
            suspects.is_not_alone();
        }
        self.positions.save(self.progress()).await?;
        self.alone = None;
        Ok(())
    }

    /// What was alone is done. Others begin when that is on record: until then, a crash would be blamed on it.
    pub(super) async fn end_being_alone(&mut self) -> Result<()> {
        if self.alone.is_some() && !self.has(PlantedBug::OthersBeginFirst) {
            self.positions.save(self.progress()).await?;
        }
        self.alone = None;
        Ok(())
    }
}

pub(super) async fn is_in_the_way(alone: &mut Option<Alone>) {
    match alone {
        Some(alone) => alone.is_in_the_way().await,
        None => pending().await,
    }
}

async fn blame(set_aside: &SetAside, message: &Message, crashes: u32) -> Result<Outcome> {
    match set_aside.keep_back(message).await? {
        Some(outcome) => Ok(outcome),
        None => set_aside.set_aside(message, crashes, "the process ended during each attempt").await,
    }
}
