//! After a crash: messages that may have ended the process are handed out one at a time, alone in the process where
//! that is possible. See [`crate::consumer::suspects`] for why.

use std::sync::Arc;

use tokio::task::JoinError;

use super::Work;
use super::handing_out::deliver;
use crate::consumer::PlantedBug;
use crate::consumer::dead_letters::SetAside;
use crate::consumer::deliver::Deliver;
use crate::consumer::process::Turn;
use crate::consumer::suspects::Suspects;
use crate::{Error, Message, Outcome, Result};

impl<D: Deliver> Work<D> {
    pub(super) fn find_suspects(&self) -> Option<Suspects> {
        self.set_aside.as_ref().filter(|set_aside| set_aside.is_on())?;
        // Before a save follows, so many messages more may have been handed out.
        let more = self.pace.save_after.0.saturating_add(self.pace.concurrency as u64);
        Suspects::after(self.positions.found(), more)
    }

    /// The turn of the suspect that is next; `None` unless there is one, and the one before is done.
    pub(super) fn turn_of_next(&self, suspects: &Suspects) -> Option<impl Future<Output = Turn> + Send + use<D>> {
        let together = self.has(PlantedBug::SuspectsTogether);
        if !self.handling.is_empty() && !together {
            return None;
        }
        let process = self.set_aside.as_ref()?.process.clone();
        let given_up = suspects.given_up(self.partitions.lowest_ready()?.id);
        Some(async move {
            if together { Turn::Beside(process.beside_others().await) } else { process.turn(given_up).await }
        })
    }

    /// Hands out the lowest message, and notes that before, or sets it aside when it has ended the process too often.
    pub(super) async fn hand_out_suspect(&mut self, turn: Result<Turn, JoinError>) -> Result<()> {
        let turn = turn.map_err(|error| Error::backend("waiting for a turn", false, error))?;
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
        let (delivery, retries) = (Arc::clone(&self.delivery), self.pace.retries);
        self.handling.spawn(async move {
            let _beside = beside;
            let outcome = if is_to_blame {
                blame(&set_aside, &message, crashes).await
            } else {
                deliver(&*delivery, &message, retries).await
            };
            (message, outcome)
        });
        Ok(())
    }

    /// Others have waited long enough: from now on the suspect is under way beside them, and that is noted before they
    /// begin.
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
        if !self.has(PlantedBug::OthersBeginFirst) {
            self.positions.save(self.progress()).await?;
        }
        self.alone = None;
        Ok(())
    }
}

async fn blame(set_aside: &SetAside, message: &Message, crashes: u32) -> Result<Outcome> {
    match set_aside.keep_back(message).await? {
        Some(outcome) => Ok(outcome),
        None => set_aside.set_aside(message, crashes, "the process ended during each attempt").await,
    }
}
