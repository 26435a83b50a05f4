//! disintegrate with disintegrate-postgres.

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use disintegrate::serde::json::Json;
use disintegrate::{Decision, Event, NoSnapshot, StateMutate, StateQuery};
use disintegrate_postgres::{Migrator, PgDecisionMaker, PgEventStore, decision_maker};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

use crate::{CONNECTIONS, Peer};

#[derive(Clone, Debug, PartialEq, Eq, Event, Serialize, Deserialize)]
#[stream(AccountEvent, [Deposited])]
enum DomainEvent {
    Deposited {
        #[id]
        account_id: String,
        deposit_id: String,
        amount: i64,
        time: String,
    },
}

#[derive(Clone, Debug, Default, StateQuery, Serialize, Deserialize)]
#[state_query(AccountEvent)]
struct Account {
    #[id]
    account_id: String,
    balance: i64,
}

impl StateMutate for Account {
    fn mutate(&mut self, event: Self::Event) {
        match event {
            AccountEvent::Deposited { amount, .. } => self.balance += amount,
        }
    }
}

/// The decision: `count` deposits to one account.
struct Deposit {
    account_id: String,
    count: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refused;

impl Decision for Deposit {
    type Event = DomainEvent;
    type StateQuery = Account;
    type Error = Refused;

    fn state_query(&self) -> Account {
        Account { account_id: self.account_id.clone(), balance: 0 }
    }

    fn process(&self, _: &Account) -> Result<Vec<DomainEvent>, Refused> {
        let deposit = || DomainEvent::Deposited {
            account_id: self.account_id.clone(),
            deposit_id: uuid::Uuid::new_v4().to_string(),
            amount: 7,
            time: "2026-01-01T00:00:00.000Z".into(),
        };
        Ok((0..self.count).map(|_| deposit()).collect())
    }
}

struct Store(PgDecisionMaker<DomainEvent, Json<DomainEvent>, NoSnapshot>);

pub(crate) async fn open(url: &str) -> Result<impl Peer + use<>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
    let store = PgEventStore::new_uninitialized(pool, Json::<DomainEvent>::default());
    Migrator::new(store.clone()).init_event_store().await?;
    Ok(Store(decision_maker(store, NoSnapshot)))
}

#[async_trait]
impl Peer for Store {
    async fn create(&self, entity: &str, events: usize) -> Result<()> {
        let deposit = Deposit { account_id: entity.to_owned(), count: events };
        self.0.make(deposit).await.map(|_| ()).map_err(|error| anyhow!("{error:?}"))
    }

    async fn append(&self, entity: &str) -> Result<()> {
        self.create(entity, 1).await
    }
}
