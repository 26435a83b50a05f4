//! cqrs-es with postgres-es.

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use postgres_es::{PostgresCqrs, postgres_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

use crate::{CONNECTIONS, Peer};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Deposited { deposit_id: String, amount: i64, time: String },
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        "Deposited".into()
    }

    fn event_version(&self) -> String {
        "1.0".into()
    }
}

/// The command: this many deposits.
struct Deposit(usize);

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refused;

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = Deposit;
    type Event = Event;
    type Error = Refused;
    type Services = ();

    async fn handle(&mut self, Deposit(count): Deposit, (): &(), sink: &EventSink<Self>) -> Result<(), Refused> {
        for _ in 0..count {
            let deposit_id = uuid::Uuid::new_v4().to_string();
            let event = Event::Deposited { deposit_id, amount: 7, time: "2026-01-01T00:00:00.000Z".into() };
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, Event::Deposited { amount, .. }: Event) {
        self.balance += amount;
    }
}

struct Store(PostgresCqrs<Account>);

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, \
    sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, event_version text NOT NULL, \
    payload json NOT NULL, metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence))";

pub(crate) async fn open(url: &str) -> Result<impl Peer + use<>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
    sqlx::query(SCHEMA).execute(&pool).await?;
    Ok(Store(postgres_cqrs(pool, vec![], ())))
}

#[async_trait]
impl Peer for Store {
    async fn create(&self, entity: &str, events: usize) -> Result<()> {
        self.0.execute(entity, Deposit(events)).await.map_err(|error| anyhow!("{error:?}"))
    }

    async fn append(&self, entity: &str) -> Result<()> {
        self.create(entity, 1).await
    }
}
