//! eventastic with eventastic_postgres.

use std::str::FromStr as _;

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use eventastic::aggregate::{Aggregate, Root as _, SideEffect};
use eventastic::event::DomainEvent;
use eventastic::repository::Repository as _;
use eventastic_postgres::{
    EncryptionProvider, NoEncryption, PostgresRepository, SideEffectDbError, SideEffectStorage, TableConfig,
};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::{CONNECTIONS, Peer};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    account_id: Uuid,
    balance: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Event {
    Deposited { event_id: Uuid, account_id: Uuid, deposit_id: String, amount: i64, time: String },
}

impl DomainEvent for Event {
    type EventId = Uuid;

    fn id(&self) -> &Uuid {
        let Self::Deposited { event_id, .. } = self;
        event_id
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NoEffect(Uuid);

impl SideEffect for NoEffect {
    type SideEffectId = Uuid;

    fn id(&self) -> &Uuid {
        &self.0
    }
}

impl Aggregate for Account {
    const SNAPSHOT_VERSION: u64 = 1;
    type AggregateId = Uuid;
    type DomainEvent = Event;
    type ApplyError = String;
    type SideEffect = NoEffect;

    fn aggregate_id(&self) -> &Uuid {
        &self.account_id
    }

    fn apply_new(Event::Deposited { account_id, amount, .. }: &Event) -> Result<Self, String> {
        Ok(Self { account_id: *account_id, balance: *amount })
    }

    fn apply(&mut self, Event::Deposited { amount, .. }: &Event) -> Result<(), String> {
        self.balance += amount;
        Ok(())
    }

    fn side_effects(&self, _: &Event) -> Option<Vec<NoEffect>> {
        None
    }
}

/// An outbox that stores nothing, because there are no side effects.
#[derive(Clone)]
struct NoOutbox;

#[async_trait]
impl SideEffectStorage<<NoEncryption as EncryptionProvider>::Error, NoEffect> for NoOutbox {
    async fn store_side_effects(
        &self,
        _: &mut Transaction<'_, Postgres>,
        _: Vec<NoEffect>,
    ) -> Result<(), SideEffectDbError<<NoEncryption as EncryptionProvider>::Error, serde_json::Error>> {
        Ok(())
    }
}

struct Store(PostgresRepository<Account, NoOutbox, NoEncryption>);

pub(crate) async fn open(url: &str) -> Result<impl Peer + use<>> {
    let options = PgPoolOptions::new().max_connections(CONNECTIONS);
    let tables = TableConfig::new("events", "snapshots");
    let connect = PgConnectOptions::from_str(url)?;
    let repository = PostgresRepository::new(connect, options, tables, NoOutbox, NoEncryption).await?;
    repository.run_migrations().await?;
    Ok(Store(repository))
}

fn id(entity: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, entity.as_bytes())
}

fn deposit(account_id: Uuid) -> Event {
    let deposit_id = Uuid::new_v4().to_string();
    let time = "2026-01-01T00:00:00.000Z".into();
    Event::Deposited { event_id: Uuid::new_v4(), account_id, deposit_id, amount: 7, time }
}

#[async_trait]
impl Peer for Store {
    async fn create(&self, entity: &str, events: usize) -> Result<()> {
        let id = id(entity);
        let mut account = Account::record_new(deposit(id)).map_err(|error| anyhow!(error))?;
        for _ in 1..events {
            account.record_that(deposit(id)).map_err(|error| anyhow!(error))?;
        }
        let mut transaction = self.0.begin_transaction().await?;
        transaction.store(&mut account).await.map_err(|error| anyhow!("{error:?}"))?;
        transaction.commit().await.map_err(|error| anyhow!("{error:?}"))
    }

    async fn append(&self, entity: &str) -> Result<()> {
        let mut account = self.0.load(&id(entity)).await.map_err(|error| anyhow!("{error:?}"))?;
        account.record_that(deposit(id(entity))).map_err(|error| anyhow!(error))?;
        let mut transaction = self.0.begin_transaction().await?;
        transaction.store(&mut account).await.map_err(|error| anyhow!("{error:?}"))?;
        transaction.commit().await.map_err(|error| anyhow!("{error:?}"))
    }
}
