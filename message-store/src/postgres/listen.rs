//! Wake-ups between processes, by LISTEN and NOTIFY.
//!
//! Problem: a NOTIFY inside the writing transaction makes commits wait for each other. Fix: a separate task sends it
//! after the commit, once for all categories that were written to since its last NOTIFY. Why it is right: a wake-up
//! only saves time (see [`WakeUp`](crate::WakeUp)). If it is lost with this process or its connection, the reader waits
//! one poll interval.
//!
//! A pooler takes LISTEN, and passes no notification on. So a new listener sends itself one over another connection. If
//! it does not arrive, that is said once, and the listener ends.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client};
use uuid::Uuid;

use super::PostgresOptions;
use super::failure::{backend, failed};
use super::history::Histories;
use super::hosts::{Connected, Hosts};
use super::pool::Pool;
use crate::store::WakeUps;
use crate::{Error, Result, StreamName};

const CHANNEL: &str = "message_store";
const CONTEXT: &str = "listening for appends";
/// The pause between two notifications, in which categories gather.
const GATHER: Duration = Duration::from_millis(2);
/// How long a wake-up may come after the answer to a later question.
const LATE: Duration = Duration::from_millis(50);
/// The pause before a lost connection is opened again.
const RECONNECT: Duration = Duration::from_millis(500);

/// Sends and receives the wake-ups of one open store. Its tasks end when it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    hosts: Hosts,
    /// The time within which the server must answer.
    answer_within: Duration,
    listens: bool,
    pool: Pool,
    wake_ups: Arc<WakeUps>,
    histories: Arc<Histories>,
    outbox: Option<Arc<Outbox>>,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Outbox {
    categories: Mutex<BTreeSet<String>>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Tasks {
    listening: bool,
    handles: Vec<tokio::task::AbortHandle>,
}

impl Listener {
    pub(super) fn new(
        options: &PostgresOptions,
        pool: Pool,
        wake_ups: Arc<WakeUps>,
        histories: Arc<Histories>,
    ) -> Self {
        let outbox = options.notifies.then(Arc::<Outbox>::default);
        let sender = outbox.clone().map(|outbox| tokio::spawn(send(outbox, pool.clone())).abort_handle());
        let tasks = Mutex::new(Tasks { listening: false, handles: sender.into_iter().collect() });
        let (hosts, answer_within) = (options.hosts().of_histories(&histories), options.answer_within);
        let listens = options.connections.listens;
        Self { hosts, answer_within, listens, pool, wake_ups, histories, outbox, tasks }
    }

    /// Wakes readers of these streams in other processes, after the next pause.
    pub(super) fn wake<'a>(&self, streams: impl Iterator<Item = &'a StreamName>) {
        let Some(outbox) = &self.outbox else { return };
        let mut categories = outbox.categories.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams {
            if !categories.contains(stream.category_str()) {
                categories.insert(stream.category_str().to_owned());
            }
        }
        outbox.filled.notify_one();
    }

    /// Starts the task that receives wake-ups from other processes, if it is not running.
    pub(super) fn listen(&self) {
        if !self.listens {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut tasks.listening, true) {
            let receiver = Receiver {
                hosts: self.hosts.clone(),
                answer_within: self.answer_within,
                pool: self.pool.clone(),
                histories: Arc::clone(&self.histories),
            };
            let task = tokio::spawn(receiver.receive(Arc::downgrade(&self.wake_ups)));
            tasks.handles.push(task.abort_handle());
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for task in &self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).handles {
            task.abort();
        }
    }
}

async fn send(outbox: Arc<Outbox>, pool: Pool) {
    loop {
        outbox.filled.notified().await;
        let categories: Vec<String> =
            std::mem::take(&mut *outbox.categories.lock().unwrap_or_else(PoisonError::into_inner))
                .into_iter()
                .collect();
        if let Err(error) = notify(&pool, &categories).await {
            tracing::debug!(target: "message_store::postgres", %error, "a wake-up could not be sent; readers poll");
        }
        sleep(GATHER).await;
    }
}

async fn notify(pool: &Pool, categories: &[String]) -> Result<()> {
    const NOTIFY: &str = include_str!("sql/notify.sql");
    let context = "notifying of appends";
    pool.with(async |connection| {
        connection.query(NOTIFY, &[&CHANNEL, &categories]).await.map_err(backend(context)).map(drop)
    })
    .await
}

/// The task that receives wake-ups.
struct Receiver {
    hosts: Hosts,
    answer_within: Duration,
    pool: Pool,
    histories: Arc<Histories>,
}

impl Receiver {
    async fn receive(self, wake_ups: Weak<WakeUps>) {
        let mut failed_before = false;
        while let Some(wake_ups) = wake_ups.upgrade() {
            match self.receive_until_lost(&wake_ups).await {
                Ok(Lost::Connection) => {}
                // The first time, the sender of the wake-up may have had another server.
                Ok(Lost::WakeUps) if !std::mem::replace(&mut failed_before, true) => {}
                Ok(Lost::WakeUps) => {
                    tracing::warn!(target: "message_store::postgres", store = %self.pool.place(), "wake-ups of the server do not arrive, perhaps because of a pooler: readers here find the messages of other processes by polling");
                    return;
                }
                Err(error) => {
                    tracing::debug!(target: "message_store::postgres", %error, "the wake-up connection was lost; readers poll");
                }
            }
            drop(wake_ups);
            sleep(RECONNECT).await;
        }
    }

    /// Fails if the connection has no server any more that may be used.
    async fn verify(&self, client: &Client) -> Result<()> {
        let silent = |_| Error::backend(CONTEXT, true, format!("no answer within {:?}", self.answer_within));
        let verified = timeout(self.answer_within, self.histories.verify(client)).await.map_err(silent)?;
        let deposed = || Error::backend(CONTEXT, true, "another server is the primary now");
        verified.map_err(backend(CONTEXT))?.map(drop).ok_or_else(deposed)
    }

    async fn receive_until_lost(&self, wake_ups: &WakeUps) -> Result<Lost> {
        let (context, answer_within) = (CONTEXT, self.answer_within);
        let silent = |_| Error::backend(context, true, format!("no answer within {answer_within:?}"));
        let connecting = self.pool.reconnects().connect(Box::pin(self.hosts.connect()));
        let connected = timeout(answer_within, connecting).await.map_err(silent)?;
        let connected = connected.map_err(|error| error.at_first(context))?;
        let Connected { client, mut messages, .. } = connected;
        let listen = format!("LISTEN {CHANNEL}");
        let token = Uuid::new_v4().simple().to_string();
        let arrived = Notify::new();
        let mut alive = std::pin::pin!(async {
            timeout(answer_within, client.batch_execute(&listen)).await.map_err(silent)?.map_err(backend(context))?;
            // Messages that were written before this LISTEN have woken no reader here.
            wake_ups.wake_all();
            notify(&self.pool, std::slice::from_ref(&token)).await?;
            if timeout(answer_within, arrived.notified()).await.is_err() {
                // The server delivers what is pending before its answer.
                self.verify(&client).await?;
                if timeout(LATE, arrived.notified()).await.is_err() {
                    return Ok(Lost::WakeUps);
                }
            }
            loop {
                // Without this question, an idle store would not notice another history, nor a connection that is silent
                // for ever.
                self.verify(&client).await?;
                sleep(answer_within / 2).await;
            }
        });
        loop {
            tokio::select! {
                ended = &mut alive => return ended,
                message = messages.next() => match message {
                    Some(Ok(AsyncMessage::Notification(notification))) if notification.payload() == token => {
                        arrived.notify_one();
                    }
                    Some(Ok(AsyncMessage::Notification(notification))) => wake_ups.wake(notification.payload()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(failed(context, error)),
                    None => return Ok(Lost::Connection),
                },
            }
        }
    }
}

enum Lost {
    Connection,
    /// The connection works, and no wake-up arrives.
    WakeUps,
}
