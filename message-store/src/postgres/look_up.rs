//! Look-ups of messages by their ids. Callers of one process that ask at the same time share a query.
//!
//! A consumer that reads a backlog again looks up nearly every message, and each look-up alone would cost a round trip.
//! A query is cancelled when all of its callers have been dropped, so that no other caller waits for it.

use std::collections::HashMap;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::connection::Connection;
use super::failure::backend;
use super::pool::Pool;
use super::read::messages_in;
use crate::{Error, Message, MessageId, Result};

const MESSAGES: &str = include_str!("sql/messages.sql");
/// The number of look-ups that may wait. Further callers wait for room.
const QUEUE: usize = 1024;
/// The greatest number of look-ups that share a query.
const GROUP: usize = 512;
/// The greatest number of queries at once.
const UNDER_WAY: usize = 2;

#[derive(Debug)]
pub(super) struct LookUp(mpsc::Sender<Question>);

#[derive(Debug)]
struct Question {
    id: MessageId,
    answer: oneshot::Sender<Result<Option<Message>>>,
}

impl LookUp {
    pub(super) fn start(pool: Pool) -> Self {
        let (sender, questions) = mpsc::channel(QUEUE);
        tokio::spawn(run(pool, questions));
        Self(sender)
    }

    pub(super) async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        let (answer, answered) = oneshot::channel();
        let ended = || Error::backend("looking up a message", true, "the store's runtime has ended");
        self.0.send(Question { id, answer }).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

async fn run(pool: Pool, mut questions: mpsc::Receiver<Question>) {
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
                    under_way.push(answer(&pool, group));
                }
            }
            else => return,
        }
    }
}

async fn answer(pool: &Pool, group: Vec<Question>) {
    let (ids, mut answers): (Vec<MessageId>, Vec<_>) = group.into_iter().map(|it| (it.id, it.answer)).unzip();
    let found = tokio::select! {
        biased;
        found = pool.with(async |connection| look_up(connection, &ids).await) => found,
        () = all_dropped(&mut answers) => return,
    };
    for (id, answer) in ids.iter().zip(answers) {
        let _ = answer.send(match &found {
            Ok(found) => Ok(found.get(id).cloned()),
            Err(error) => Err(error.shared()),
        });
    }
}

async fn all_dropped(answers: &mut [oneshot::Sender<Result<Option<Message>>>]) {
    for answer in answers {
        answer.closed().await;
    }
}

async fn look_up(connection: &Connection, ids: &[MessageId]) -> Result<HashMap<MessageId, Message>> {
    let ids: Vec<Uuid> = ids.iter().map(MessageId::as_uuid).collect();
    let rows = connection.query(MESSAGES, &[&ids]).await.map_err(backend("looking up messages"))?;
    Ok(messages_in(connection, &rows)?.into_iter().map(|message| (message.id, message)).collect())
}
