//! Sessions: opens the connections of a pool, and decides which of them are used again.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use futures_util::StreamExt as _;
use tokio_postgres::config::Config;
use tokio_postgres::{AsyncMessage, Client};

use super::failure::says_that_a_wait_was_cut;
use super::hosts::{Connected, Hosts, NotConnected};
use super::pooler::BehindPooler;
use super::reconnects::Reconnects;
use super::silence::{Silences, Watch};
use super::tls::{Messages, Tls};

/// A connection of a pool, with its prepared statements.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: ClientWrapper,
    pub(super) watch: Arc<Watch>,
    pub(super) behind_pooler: Option<Arc<BehindPooler>>,
    /// It names only the host of this session.
    pub(super) config: Arc<Config>,
    pub(super) tls: Tls,
}

/// Opens the sessions of a pool.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) hosts: Hosts,
    pub(super) tls: Tls,
    pub(super) answer_within: Option<Duration>,
    pub(super) silences: Silences,
    pub(super) reconnects: Reconnects,
    pub(super) behind_pooler: Option<Arc<BehindPooler>>,
}

impl Manager for Sessions {
    type Type = Session;
    type Error = NotConnected;

    async fn create(&self) -> Result<Session, NotConnected> {
        let watch = Watch::new(self.answer_within, &self.silences);
        let connecting = self.reconnects.connect(Box::pin(self.hosts.connect()));
        let Connected { client, messages, config } = connecting.await?;
        let watched = Arc::clone(&watch);
        let task = tokio::spawn(async move {
            tokio::select! {
                ended = drive(messages, &watched) => {
                    if let Err(error) = ended {
                        tracing::debug!(target: "message_store::postgres", error = crate::chain(&error), "a connection ended");
                    }
                }
                () = watched.until_silent() => {
                    tracing::warn!(target: "message_store::postgres", "a connection was closed, because an answer of the server did not arrive in time");
                }
            }
        });
        Ok(Session {
            client: ClientWrapper::new(client, task),
            watch,
            behind_pooler: self.behind_pooler.clone(),
            config,
            tls: self.tls.clone(),
        })
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<NotConnected> {
        if session.client.is_closed() || session.watch.is_suspect() {
            return Err(RecycleError::message("the connection is closed, or another one of its age was silent"));
        }
        Ok(())
    }
}

/// Runs a connection until it ends.
async fn drive(mut messages: Messages, watch: &Watch) -> Result<(), tokio_postgres::Error> {
    while let Some(message) = messages.next().await {
        // The notice comes before the end of the answer, so the caller finds it.
        if let AsyncMessage::Notice(notice) = message?
            && says_that_a_wait_was_cut(&notice)
        {
            watch.wait_was_cut();
        }
    }
    Ok(())
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
