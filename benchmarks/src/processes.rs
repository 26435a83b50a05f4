//! Separate processes: this program, started again. Writers are one kind of them.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use message_store::connect;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::figures::appends::append;

/// The settings of one process of writers.
#[derive(Clone, Debug, Args)]
pub struct Writers {
    #[arg(long)]
    pub url: String,
    #[arg(long = "writers")]
    pub count: usize,
    #[arg(long)]
    pub categories: usize,
    #[arg(long)]
    pub milliseconds: u64,
    /// The number of the first writer. Every writer has its own number and stream.
    #[arg(long)]
    pub first: usize,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Written {
    pub per_second: f64,
    /// The rate of the slowest process over that of the fastest.
    #[serde(default)]
    pub fairness: f64,
    pub p50: f64,
    pub p99: f64,
    pub errors: u64,
}

impl Writers {
    /// Runs the writers in this process.
    pub async fn run(&self) -> Result<()> {
        #[cfg(feature = "metrics")]
        let _metrics = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
        let store = connect(&self.url).await?;
        let time = Duration::from_millis(self.milliseconds);
        let sample = append(&store, self.first..self.first + self.count, self.categories, time).await?;
        let written = Written {
            per_second: sample.per_second,
            fairness: 1.0,
            p50: sample.p50,
            p99: sample.p99,
            errors: sample.errors,
        };
        println!("{}", serde_json::to_string(&written)?);
        Ok(())
    }

    async fn start(&self) -> Result<Written> {
        let (count, categories) = (self.count.to_string(), self.categories.to_string());
        let (milliseconds, first) = (self.milliseconds.to_string(), self.first.to_string());
        let arguments = ["--url", &self.url, "--writers", &count, "--categories", &categories];
        start("writers", &[&arguments[..], &["--milliseconds", &milliseconds, "--first", &first]].concat()).await
    }
}

/// Runs a part of this program in a separate process. Returns what the process printed, as JSON.
pub async fn start<T: DeserializeOwned>(part: &str, arguments: &[&str]) -> Result<T> {
    let output = Command::new(std::env::current_exe()?)
        .arg(part)
        .args(arguments)
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "the process of {part} ended with {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("the process of {part} printed something else"))
}

/// Runs `processes` processes at once, with `writers` writers in total. Returns the sum of their rates and the worst of
/// their latencies.
pub async fn write(url: &str, processes: usize, writers: usize, categories: usize, time: Duration) -> Result<Written> {
    let writers = writers / processes;
    let started = (0..processes).map(|process| {
        let writers = Writers {
            url: url.to_owned(),
            count: writers,
            categories,
            milliseconds: time.as_millis() as u64,
            first: process * writers,
        };
        async move { writers.start().await }
    });
    let mut all = Written::default();
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for written in futures_util::future::try_join_all(started).await? {
        (least, most) = (least.min(written.per_second), most.max(written.per_second));
        all.per_second += written.per_second;
        all.p50 = all.p50.max(written.p50);
        all.p99 = all.p99.max(written.p99);
        all.errors += written.errors;
    }
    all.fairness = least / most;
    Ok(all)
}
