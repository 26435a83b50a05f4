//! Looking up messages by their ids: callers of one process that ask at the same time share a query.
//!
//! Who delivers a backlog again asks for nearly every message whether it was handled: one by one, each would cost a round trip.

use std::collections::HashMap;

use deadpool_postgres::Pool;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::failure::{backend, pool_failure};
use super::read::message_in;
use crate::{Error, Message, MessageId, Result};

const MESSAGES: &str = include_str!("sql/messages.sql");
/// Look-ups that may wait; further callers wait for a place.
const QUEUE: usize = 1024;
/// Look-ups that share a query at most.
const GROUP: usize = 512;
/// Queries under way.
const UNDER_WAY: usize = 2;

#[derive(Debug)]
pub(super) struct LookUp(mpsc::Sender<Question>);

#[derive(Debug)]
struct Question {
    id: MessageId,
    answer: oneshot::Sender<Result<Option<Message>>>,
}

impl LookUp {
    pub(super) fn start(pool: Pool, place: String) -> Self {
        let (sender, questions) = mpsc::channel(QUEUE);
        tokio::spawn(run(pool, place, questions));
        Self(sender)
    }

    pub(super) async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        let (answer, answered) = oneshot::channel();
        let ended = || Error::backend("looking up a message", true, "the store's runtime has ended");
        self.0.send(Question { id, answer }).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

async fn run(pool: Pool, place: String, mut questions: mpsc::Receiver<Question>) {
    let mut under_way = FuturesUnordered::new();
    let mut is_open = true;
    loop {
        let mut group = Vec::new();
        tokio::select! {
            biased;
            Some(()) = under_way.next() => {}
            count = questions.recv_many(&mut group, GROUP), if is_open && under_way.len() < UNDER_WAY => {
                is_open = count > 0;
                if is_open {
                    under_way.push(answer(&pool, &place, group));
                }
            }
            else => return,
        }
    }
}

async fn answer(pool: &Pool, place: &str, group: Vec<Question>) {
    match look_up(pool, place, &group).await {
        Ok(found) => {
            for Question { id, answer } in group {
                let _ = answer.send(Ok(found.get(&id).cloned()));
            }
        }
        Err(error) => {
            let (text, transient) = (error.to_string(), error.is_transient());
            for Question { answer, .. } in group {
                let _ = answer.send(Err(Error::backend("looking up a message", transient, text.clone())));
            }
        }
    }
}

async fn look_up(pool: &Pool, place: &str, group: &[Question]) -> Result<HashMap<MessageId, Message>> {
    let client = pool.get().await.map_err(|error| pool_failure(place, error))?;
    let ids: Vec<Uuid> = group.iter().map(|question| question.id.as_uuid()).collect();
    let statement = client.prepare_cached(MESSAGES).await.map_err(backend("looking up messages"))?;
    let rows = client.query(&statement, &[&ids]).await.map_err(backend("looking up messages"))?;
    rows.iter().map(|row| message_in(row).map(|message| (message.id, message))).collect()
}
