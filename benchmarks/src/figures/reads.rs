//! F5: reads of a category and of all messages, in batches of 1000.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::civil::DateTime;
use message_store::{Category, Filter, GlobalPosition, GroupMember, MessageStore, Read, connect};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::bench::Bench;
use crate::databases::{connect as plain, fill};
use crate::messages;
use crate::report::{Goal, Line};
use crate::rounds::{Sample, Side, interleave};

const COLUMNS: &str = "id, stream_name, type, position, global_position, data::text, metadata::text, time";
const OF_CATEGORY: &str = "message_store.category(stream_name) = 'account0' AND";
const NOTE: &str = "Both sides make owned values of the same columns, and keep them until the batch is complete. With a filter, a row \
                    counts when it was looked at, and the reference is this library without the filter.";

/// Reads a category, or all messages. Counts the rows that it looked at.
async fn read(
    store: &Arc<dyn MessageStore>,
    category: Option<&Category>,
    filter: &Filter,
    time: Duration,
) -> Result<Sample> {
    let (begun, mut rows) = (Instant::now(), 0);
    let mut read = Read::default().filter(filter.clone());
    while begun.elapsed() < time {
        let batch = match category {
            Some(category) => store.read_category(category, read.clone()).await?,
            None => store.read_all(read.clone()).await?,
        };
        if batch.is_at_end(&read) {
            read.from = GlobalPosition::FIRST;
            continue;
        }
        rows += batch.looked_through.get() + 1 - read.from.get();
        read.from = batch.looked_through.next();
        let _ = black_box(batch);
    }
    Ok(Sample { per_second: rows as f64 / begun.elapsed().as_secs_f64(), ..Sample::default() })
}

/// The columns of a message, as the driver decodes them.
type Columns = (Uuid, String, String, i64, i64, Option<String>, Option<String>, DateTime);

fn columns(row: &Row) -> Result<Columns, tokio_postgres::Error> {
    Ok((
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
        row.try_get(4)?,
        row.try_get(5)?,
        row.try_get(6)?,
        row.try_get(7)?,
    ))
}

async fn select(client: &Client, condition: &str, time: Duration) -> Result<Sample> {
    let sql = format!(
        "SELECT {COLUMNS} FROM message_store.messages WHERE {condition} global_position >= $1 ORDER BY global_position LIMIT 1000"
    );
    let statement = client.prepare(&sql).await?;
    let (begun, mut rows, mut from) = (Instant::now(), 0, 0_i64);
    while begun.elapsed() < time {
        let batch: Vec<Columns> =
            client.query(&statement, &[&from]).await?.iter().map(columns).collect::<Result<_, _>>()?;
        rows += batch.len();
        from = batch.last().map_or(0, |last| last.4 + 1);
        black_box(batch);
    }
    Ok(Sample { per_second: rows as f64 / begun.elapsed().as_secs_f64(), ..Sample::default() })
}

pub async fn f5(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let url = bench.databases.ours("f5").await?;
    fill(&url, if effort.is_quick { 50_000 } else { 500_000 }).await?;
    let (store, client) = (&connect(&url).await?, &plain(&url).await?);
    let (category, everything) = (&Category::new("account0")?, &Filter::default());
    let filters = &[
        ("types that all messages have", Filter::default().message_types([messages::TYPE])),
        ("group member 0 of 4", Filter::default().member(GroupMember::new(0, 4)?)),
        ("correlation with a category", Filter::default().correlation(Category::new("transfer")?)),
    ];
    let mut sides = vec![
        Side::new("read_category", || read(store, Some(category), everything, effort.time)),
        Side::new("SELECT … LIMIT 1000, a category", || select(client, OF_CATEGORY, effort.time)),
        Side::new("read_all", || read(store, None, everything, effort.time)),
        Side::new("SELECT … LIMIT 1000, all", || select(client, "", effort.time)),
    ];
    for (name, filter) in filters {
        sides.push(Side::new(format!("read_category, {name}"), || read(store, Some(category), filter, effort.time)));
    }
    let samples = interleave(effort, &sides).await?;
    let line = |what: String, (ours, theirs): (usize, usize), reference: &str, goal| Line {
        figure: "F5".into(),
        what,
        ours: samples[ours].per_second,
        reference: reference.into(),
        theirs: Some(samples[theirs].per_second),
        unit: "rows/s",
        goal: Some(Goal::AtLeast(goal)),
        errors: 0,
        note: NOTE.into(),
    };
    let select = "plain SELECT through tokio-postgres";
    let mut lines = vec![
        line("a category, read in batches of 1000".into(), (0, 1), select, 0.85),
        line("all messages, read in batches of 1000".into(), (2, 3), select, 0.85),
    ];
    for (number, (name, _)) in filters.iter().enumerate() {
        lines.push(line(format!("a category, {name}"), (4 + number, 0), "the category without a filter", 0.6));
    }
    Ok(lines)
}
