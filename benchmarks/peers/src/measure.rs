//! Measures one operation of one peer, and prints its rate and its latencies as JSON.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;

use crate::Peer;

/// The operation to measure.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Work {
    /// One event for a new entity.
    New,
    /// An entity of 10 events is loaded, and one is appended.
    Load10,
    /// An entity of 1,000 events is loaded, and one is appended.
    Load1000,
    /// An entity of 10,000 events is loaded, and one is appended.
    Load10000,
}

#[derive(Debug, Args)]
pub(crate) struct Measure {
    #[arg(long)]
    pub(crate) url: String,
    /// postgres-es, disintegrate-postgres, eventastic_postgres or umadb.
    #[arg(long)]
    pub(crate) peer: String,
    #[arg(long)]
    work: Work,
    #[arg(long)]
    workers: usize,
    #[arg(long)]
    milliseconds: u64,
}

/// The number of entities that are loaded. With this many, no entity grows much during the measurement.
const ENTITIES: usize = 128;

impl Measure {
    pub(crate) async fn run(self, peer: Arc<dyn Peer>) -> Result<()> {
        let run = uuid::Uuid::new_v4();
        let events = match self.work {
            Work::New => 0,
            Work::Load10 => 10,
            Work::Load1000 => 1_000,
            Work::Load10000 => 10_000,
        };
        // With this many, no two workers share an entity.
        let entities = if events < 10_000 { ENTITIES } else { self.workers };
        for entity in (0..entities).filter(|_| events > 0) {
            peer.create(&format!("{run}-{entity}"), events).await?;
        }
        let (begun, time) = (Instant::now(), Duration::from_millis(self.milliseconds));
        let mut tasks = Vec::new();
        for worker in 0..self.workers {
            let peer = Arc::clone(&peer);
            let workers = self.workers;
            tasks.push(tokio::spawn(async move {
                let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
                let (mut count, mut errors) = (0_u64, 0_u64);
                for number in 0.. {
                    if begun.elapsed() >= time {
                        break;
                    }
                    let started = Instant::now();
                    let done = if events == 0 {
                        peer.create(&format!("{run}-{worker}-{number}"), 1).await
                    } else {
                        // No two workers share an entity.
                        peer.append(&format!("{run}-{}", (number * workers + worker) % entities)).await
                    };
                    match done {
                        Ok(()) => count += 1,
                        Err(error) => {
                            if errors == 0 {
                                eprintln!("  error: {error:#}");
                            }
                            errors += 1;
                        }
                    }
                    histogram.saturating_record(started.elapsed().as_micros() as u64);
                }
                anyhow::Ok((count, errors, histogram))
            }));
        }
        let mut all = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
        let (mut count, mut errors) = (0, 0);
        for task in tasks {
            let (done, failed, histogram) = task.await??;
            count += done;
            errors += failed;
            all.add(histogram)?;
        }
        let per_second = count as f64 / begun.elapsed().as_secs_f64();
        let quantile = |quantile| all.value_at_quantile(quantile) as f64 / 1000.0;
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        println!("{}", serde_json::json!({ "per_second": per_second, "p50": p50, "p99": p99, "errors": errors }));
        Ok(())
    }
}
