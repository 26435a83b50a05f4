//! The other event stores. The program of the peers measures each of them, in a process of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::WORKERS;
use super::umadb::UmaDb;
use crate::bench::Bench;
use crate::processes::Written;
use crate::rounds::Sample;

pub const PEERS: [&str; 4] = ["postgres-es", "disintegrate-postgres", "eventastic_postgres", "umadb"];

/// One of the other event stores, with a database of its own for all rounds.
pub struct Peer<'a> {
    pub name: &'static str,
    program: &'a Path,
    url: String,
    /// The server of a store that is not on PostgreSQL.
    _server: Option<UmaDb>,
}

impl<'a> Peer<'a> {
    /// Prepares a store, and tries it.
    pub async fn open(bench: &Bench, program: &'a Path, name: &'static str) -> Result<Self> {
        let (url, server) = if name == "umadb" {
            let server = UmaDb::start(program).await?;
            (server.url(), Some(server))
        } else {
            (bench.databases.empty(&format!("peers_{}", name.replace('-', "_"))).await?, None)
        };
        let peer = Self { name, program, url, _server: server };
        peer.measure("new", WORKERS, Duration::from_millis(50)).await?;
        Ok(peer)
    }

    pub async fn measure(&self, work: &str, workers: usize, time: Duration) -> Result<Sample> {
        let output = Command::new(self.program)
            .args(["measure", "--url", &self.url, "--peer", self.name, "--work", work])
            .args(["--workers", &workers.to_string(), "--milliseconds", &time.as_millis().to_string()])
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| self.program.display().to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", said.lines().next().unwrap_or("it said nothing"));
        let Written { per_second, p50, p99, errors, .. } = serde_json::from_slice(&output.stdout)?;
        Ok(Sample { per_second, p50, p99, errors })
    }
}
