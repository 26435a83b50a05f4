//! UmaDB, which is a server of its own. The consistency boundary of an entity is its tag: a load reads the events with
//! the tag, and an append fails if there is a later event with it.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use async_trait::async_trait;
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbEventStoreAsync as _, DcbQuery, DcbQueryItem};
use umadb_server::{ServerOptions, StorageOptions, start_server_with_options};
use uuid::Uuid;

use crate::Peer;

/// The settings of UmaDB's server. All others are UmaDB's defaults.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The address and the port.
    #[arg(long)]
    listen: String,
    /// The folder of the database's file.
    #[arg(long)]
    folder: PathBuf,
}

impl Server {
    /// Runs the server until the standard input ends, which happens also when the parent process is killed.
    pub(crate) async fn serve(self) -> Result<()> {
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
            stop.send(())
        });
        let storage = StorageOptions::default().db_path(self.folder);
        let options = ServerOptions { listen_addr: self.listen, tls: None, api_key: None, storage };
        start_server_with_options(options, stopped).await.map_err(|error| anyhow!("{error}"))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
enum Event {
    Deposited { account_id: String, deposit_id: String, amount: i64, time: String },
}

struct Store(AsyncUmaDbClient);

pub(crate) async fn open(url: &str) -> Result<impl Peer + use<>> {
    Ok(Store(UmaDbClient::new(url.to_owned()).connect_async().await?))
}

fn tag(entity: &str) -> String {
    format!("account:{entity}")
}

fn boundary(entity: &str) -> DcbQuery {
    DcbQuery::new().item(DcbQueryItem::new().tags([tag(entity)]))
}

fn deposit(entity: &str) -> Result<DcbEvent> {
    let deposit_id = Uuid::new_v4().to_string();
    let time = "2026-01-01T00:00:00.000Z".into();
    let event = Event::Deposited { account_id: entity.to_owned(), deposit_id, amount: 7, time };
    let data = serde_json::to_vec(&event)?;
    Ok(DcbEvent::new().event_type("Deposited").tags([tag(entity)]).uuid(Uuid::new_v4()).data(data))
}

#[async_trait]
impl Peer for Store {
    async fn create(&self, entity: &str, events: usize) -> Result<()> {
        let events = (0..events).map(|_| deposit(entity)).collect::<Result<_>>()?;
        let is_new = DcbAppendCondition::new(boundary(entity));
        self.0.append(events, Some(is_new), None).await?;
        Ok(())
    }

    async fn append(&self, entity: &str) -> Result<()> {
        let (events, head) = self.0.read_with_head(Some(boundary(entity)), None, false, None).await?;
        let mut balance = 0;
        for event in events {
            let Event::Deposited { amount, .. } = serde_json::from_slice(&event.event.data)?;
            balance += amount;
        }
        ensure!(balance > 0, "the entity is not there");
        let is_unchanged = DcbAppendCondition::new(boundary(entity)).after(head);
        self.0.append(vec![deposit(entity)?], Some(is_unchanged), None).await?;
        Ok(())
    }
}
