//! F6: the time from an append to its handler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use message_store::consumer::Consumer;
use message_store::handling::{Context as HandlerContext, Handler};
use message_store::postgres::PostgresOptions;
use message_store::{Category, Message, MessageStore, Outcome, Source, connect};
use tokio::sync::mpsc;

use crate::bench::Bench;
use crate::databases::clear;
use crate::figures::appends::append;
use crate::messages;
use crate::report::{Goal, Line};
use crate::rounds::{Effort, Sample, Side, histogram, interleave, milliseconds};

/// A handler that reports the time at which each message arrives.
pub struct Told(pub mpsc::UnboundedSender<Instant>);

#[async_trait]
impl Handler for Told {
    fn name(&self) -> &'static str {
        "Told"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec![messages::TYPE]
    }

    async fn handle(&self, _: &Message, _: &HandlerContext<'_>) -> Result<Outcome, Source> {
        let _ = self.0.send(Instant::now());
        Ok(Outcome::Ignored)
    }
}

/// Measures the time from before the append to the start of the handler, in an otherwise idle store.
async fn append_to_handled(
    writing: &Arc<dyn MessageStore>,
    reading: &Arc<dyn MessageStore>,
    count: usize,
) -> Result<Sample> {
    let (sender, mut told) = mpsc::unbounded_channel();
    let running = Consumer::new("account0", Told(sender)).start(reading).await?;
    let mut times = histogram()?;
    for number in 0..count {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let begun = Instant::now();
        writing.append(messages::append(0, 1, number)?.into()).await?;
        let handled = told.recv().await.context("the consumer has ended")?;
        times.saturating_record(handled.duration_since(begun).as_micros() as u64);
    }
    running.stop().await?;
    Ok(Sample { p50: milliseconds(&times, 0.5), p99: milliseconds(&times, 0.99), ..Sample::default() })
}

pub async fn f6(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let url = bench.databases.ours("f6").await?;
    let (here, there) = (connect(&url).await?, connect(&url).await?);
    let count = if effort.is_quick { 40 } else { 200 };
    let silent: Arc<dyn MessageStore> = Arc::new(PostgresOptions::from_url(&url)?.notifications(false).open().await?);
    let sides = [
        Side::new("append to handled, one process", || append_to_handled(&here, &here, count)),
        Side::new("append to handled, two processes", || append_to_handled(&here, &there, count)),
    ];
    let mut lines: Vec<Line> = interleave(effort, &sides)
        .await?
        .iter()
        .zip(&sides)
        .map(|(sample, side)| Line {
            figure: "F6".into(),
            what: format!("{}, idle, p50", side.name),
            ours: sample.p50,
            reference: String::new(),
            theirs: None,
            unit: "ms",
            goal: Some(Goal::AtMost(5.0)),
            errors: 0,
            note: String::new(),
        })
        .collect();
    let loud = connect(&url).await?;
    let listening = there.wake_up(Some(&Category::new("account0")?)).await?;
    let (url, loud, silent) = (&url, &loud, &silent);
    let write = |store: &Arc<dyn MessageStore>| {
        let store = Arc::clone(store);
        async move {
            clear(url).await?;
            append(&store, 0..256, 1, effort.time).await
        }
    };
    let sides = [
        Side::new("256 writers, others are woken", || write(loud)),
        Side::new("256 writers, no notifications", || write(silent)),
    ];
    // The difference is small, and the machine's speed changes: many pairs.
    let samples = interleave(Effort { rounds: if effort.is_quick { 3 } else { 20 }, ..effort }, &sides).await?;
    drop(listening);
    lines.push(Line {
        figure: "F6".into(),
        what: "appends, 256 writers, while another process is woken".into(),
        ours: samples[0].per_second,
        reference: "no notifications".into(),
        theirs: Some(samples[1].per_second),
        unit: "/s",
        goal: Some(Goal::AtLeast(0.97)),
        errors: samples.iter().map(|sample| sample.errors).sum(),
        note: String::new(),
    });
    Ok(lines)
}
