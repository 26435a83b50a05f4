//! F7: the cost of a large table. Archive: that of a large archive.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use message_store::{Category, GlobalPosition, MessageId, MessageStore, Read, StreamName, StreamRead, connect};
use tokio_postgres::Client;

use crate::bench::Bench;
use crate::databases::{STREAM_SIZE, connect as plain, fill, fill_archive, filled_stream};
use crate::figures::appends::append;
use crate::report::{Goal, Line};
use crate::rounds::{Effort, Sample, Side, closed_loop, interleave};

const CALLERS: usize = 16;
/// The number of ids that are looked up. They are spread over the table.
const IDS: usize = 20_000;

/// Reads of 1,000 messages of a category, from places all over the table.
async fn category_reads(store: &Arc<dyn MessageStore>, rows: usize, time: Duration) -> Result<Sample> {
    let (store, category) = (Arc::clone(store), Category::new("account0")?);
    closed_loop(CALLERS, time, move |worker, number| {
        let (store, category) = (Arc::clone(&store), category.clone());
        async move {
            let from = place(worker, number, rows.saturating_sub(1_000)) + 1;
            let read = Read::from(GlobalPosition::new(from as i64)).limit(1_000);
            let batch = store.read_category(&category, read).await?;
            ensure!(batch.messages.len() == 1_000, "{} messages from {from} on", batch.messages.len());
            Ok(1_000)
        }
    })
    .await
}

/// Reads of the last 20 messages of streams all over the table.
async fn stream_reads(store: &Arc<dyn MessageStore>, rows: usize, time: Duration) -> Result<Sample> {
    let store = Arc::clone(store);
    closed_loop(CALLERS, time, move |worker, number| {
        let store = Arc::clone(&store);
        async move {
            let stream = StreamName::new(filled_stream(place(worker, number, rows / STREAM_SIZE)))?;
            let messages = store.read_stream(&stream, StreamRead::backwards().limit(20)).await?;
            ensure!(messages.len() == 20, "{} messages of {stream}", messages.len());
            Ok(20)
        }
    })
    .await
}

/// Ids all over the table.
async fn ids(client: &Client, rows: usize) -> Result<Arc<Vec<MessageId>>> {
    let sql =
        "SELECT id FROM unnest($1::bigint[]) AS places (place) JOIN message_store.messages ON global_position = place";
    let places: Vec<i64> = (0..IDS).map(|number| place(number, 0, rows) as i64 + 1).collect();
    let rows = client.query(sql, &[&places]).await?;
    ensure!(rows.len() == IDS, "{} of {IDS} ids", rows.len());
    rows.iter().map(|row| Ok(MessageId::from_uuid(row.try_get(0)?))).collect::<Result<_>>().map(Arc::new)
}

async fn look_ups(store: &Arc<dyn MessageStore>, ids: &Arc<Vec<MessageId>>, time: Duration) -> Result<Sample> {
    let (store, ids) = (Arc::clone(store), Arc::clone(ids));
    closed_loop(CALLERS, time, move |worker, number| {
        let (store, id) = (Arc::clone(&store), ids[place(worker, number, IDS)]);
        async move {
            store.message(id).await?.context("an id has no message")?;
            Ok(1)
        }
    })
    .await
}

/// One of `count` places, all over them, the same in each run.
fn place(worker: usize, number: usize, count: usize) -> usize {
    let mixed = (number as u64 * 1_000_003 + worker as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 32) as usize) % count.max(1)
}

/// Writes to databases before they are measured: after a checkpoint, the first change of a page writes the whole page to the
/// log.
async fn write_first(urls: [&String; 2], time: Duration) -> Result<()> {
    for url in urls {
        plain(url).await?.batch_execute("CHECKPOINT").await?;
        append(&connect(url).await?, 0..256, 1, time).await?;
    }
    Ok(())
}

pub async fn f7(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let (few, many) = (10_000, if effort.is_quick { 200_000 } else { 20_000_000 });
    let (small, large) = (bench.databases.ours("f7_small").await?, bench.databases.ours("f7_large").await?);
    fill(&small, few).await?;
    eprintln!("  filling a table with {many} rows");
    let begun = std::time::Instant::now();
    fill(&large, many).await?;
    eprintln!("  that took {:?}", begun.elapsed());
    let (ids_of_small, ids_of_large) =
        (ids(&plain(&small).await?, few).await?, ids(&plain(&large).await?, many).await?);
    let (in_small, in_large) = (connect(&small).await?, connect(&large).await?);
    write_first([&small, &large], effort.time).await?;
    let time = effort.time;
    let sides = [
        Side::new("appends, large table", || append(&in_large, 0..256, 1, time)),
        Side::new("appends, small table", || append(&in_small, 0..256, 1, time)),
        Side::new("category reads, large table", || category_reads(&in_large, many, time)),
        Side::new("category reads, small table", || category_reads(&in_small, few, time)),
        Side::new("stream reads, large table", || stream_reads(&in_large, many, time)),
        Side::new("stream reads, small table", || stream_reads(&in_small, few, time)),
        Side::new("look-ups, large table", || look_ups(&in_large, &ids_of_large, time)),
        Side::new("look-ups, small table", || look_ups(&in_small, &ids_of_small, time)),
    ];
    let samples = interleave(effort, &sides).await?;
    let line = |side: usize, what: &str, unit: &'static str, goal: f64| Line {
        figure: "F7".into(),
        what: format!("{what}, {many} rows in the table"),
        ours: samples[side].per_second,
        reference: format!("{few} rows at first"),
        theirs: Some(samples[side + 1].per_second),
        unit,
        goal: Some(Goal::AtLeast(goal)),
        errors: samples[side].errors + samples[side + 1].errors,
        note: "The small table grows by what is appended to it. Reads and look-ups are spread over the whole table."
            .into(),
    };
    Ok(vec![
        line(0, "appends, 256 writers", "/s", 0.8),
        line(2, "reads of 1,000 messages of a category, 16 callers", "rows/s", 0.9),
        line(4, "reads of the last 20 messages of a stream, 16 callers", "rows/s", 0.9),
        line(6, "look-ups by id, 16 callers", "/s", 0.7),
    ])
}

/// Appends of a store with a large archive, beside those of a store without one.
pub async fn archive(bench: &Bench) -> Result<Vec<Line>> {
    // The difference is small.
    let effort = Effort { rounds: bench.effort.rounds * 3, ..bench.effort };
    let many = if effort.is_quick { 200_000 } else { 20_000_000 };
    let (archived, empty) = (bench.databases.ours("f7_archived").await?, bench.databases.ours("f7_empty").await?);
    eprintln!("  filling an archive with {many} rows");
    fill_archive(&archived, many).await?;
    // As many rows in the table of messages as the other store has there: the last message of each stream.
    fill(&empty, many / STREAM_SIZE).await?;
    let (with, without) = (connect(&archived).await?, connect(&empty).await?);
    write_first([&archived, &empty], effort.time).await?;
    let time = effort.time;
    let mut lines = Vec::new();
    for (writers, what) in [(256, "appends, 256 writers"), (1, "appends, 1 writer")] {
        let sides = [
            Side::new(format!("{what}, archive"), || append(&with, 0..writers, 1, time)),
            Side::new(format!("{what}, no archive"), || append(&without, 0..writers, 1, time)),
        ];
        let samples = interleave(effort, &sides).await?;
        lines.push(Line {
            figure: "Archive".into(),
            what: format!("{what}, {many} messages in the archive"),
            ours: samples[0].per_second,
            reference: "no archive".into(),
            theirs: Some(samples[1].per_second),
            unit: "/s",
            goal: Some(Goal::AtLeast(0.95)),
            errors: samples[0].errors + samples[1].errors,
            note: "The last message of each archived stream is in the table of messages.".into(),
        });
    }
    Ok(lines)
}
