//! Runs the same appends and loads on other event stores for Rust, each through its own API, for 16 callers. Those on
//! PostgreSQL have a pool of 16 connections.

mod disintegrate_postgres;
mod eventastic;
mod measure;
mod postgres_es;
#[cfg(feature = "umadb")]
mod umadb;

use std::sync::Arc;

use anyhow::{Result, bail};
use async_trait::async_trait;
use clap::Parser;

use measure::Measure;

#[derive(Debug, Parser)]
enum Part {
    /// Measures one operation of one event store.
    Measure(Measure),
    /// Runs UmaDB's server until the standard input ends. The benchmarks start it.
    #[cfg(feature = "umadb")]
    #[command(hide = true)]
    ServeUmadb(umadb::Server),
}

/// An event store.
#[async_trait]
pub trait Peer: Send + Sync {
    /// Appends `events` events to a new entity, in one transaction.
    async fn create(&self, entity: &str, events: usize) -> Result<()>;
    /// Loads an entity, and appends one event to it.
    async fn append(&self, entity: &str) -> Result<()>;
}

pub const CONNECTIONS: u32 = 16;

#[tokio::main]
async fn main() -> Result<()> {
    match Part::parse() {
        Part::Measure(measure) => {
            let peer = open(&measure.peer, &measure.url).await?;
            measure.run(peer).await
        }
        #[cfg(feature = "umadb")]
        Part::ServeUmadb(server) => server.serve().await,
    }
}

async fn open(peer: &str, url: &str) -> Result<Arc<dyn Peer>> {
    Ok(match peer {
        "postgres-es" => Arc::new(postgres_es::open(url).await?),
        "disintegrate-postgres" => Arc::new(disintegrate_postgres::open(url).await?),
        "eventastic_postgres" => Arc::new(eventastic::open(url).await?),
        #[cfg(feature = "umadb")]
        "umadb" => Arc::new(umadb::open(url).await?),
        other => bail!("no peer is called {other}"),
    })
}
