//! F7: the cost of a large table, and the size of a message.

use anyhow::Result;
use message_store::connect;

use crate::bench::Bench;
use crate::databases::{connect as plain, fill};
use crate::figures::appends::append;
use crate::report::{Goal, Line};
use crate::rounds::{Side, interleave};

pub async fn f7(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let (few, many) = (10_000, if effort.is_quick { 200_000 } else { 5_000_000 });
    let (small, large) = (bench.databases.ours("f7_small").await?, bench.databases.ours("f7_large").await?);
    fill(&small, few).await?;
    eprintln!("  filling a table with {many} rows");
    let begun = std::time::Instant::now();
    fill(&large, many).await?;
    eprintln!("  that took {:?}", begun.elapsed());
    let mut lines = sizes(&large, many).await?;
    let (in_small, in_large) = (connect(&small).await?, connect(&large).await?);
    // Write to both databases first: after a checkpoint, the first change of a page writes the whole page to the log.
    for url in [&small, &large] {
        plain(url).await?.batch_execute("CHECKPOINT").await?;
        append(&connect(url).await?, 0..256, 1, effort.time).await?;
    }
    let sides = [
        Side::new(format!("appends, {many} rows"), || append(&in_large, 0..256, 1, effort.time)),
        Side::new(format!("appends, {few} rows"), || append(&in_small, 0..256, 1, effort.time)),
    ];
    let samples = interleave(effort, &sides).await?;
    lines.push(Line {
        figure: "F7".into(),
        what: format!("appends, 256 writers, {many} rows in the table"),
        ours: samples[0].per_second,
        reference: format!("{few} rows at first"),
        theirs: Some(samples[1].per_second),
        unit: "/s",
        goal: Some(Goal::AtLeast(0.8)),
        errors: samples.iter().map(|sample| sample.errors).sum(),
        note: "The small table grows by what is appended to it.".into(),
    });
    Ok(lines)
}

/// The bytes of a message in the table, in each index and in the log.
async fn sizes(url: &str, rows: usize) -> Result<Vec<Line>> {
    let client = plain(url).await?;
    let sql = "SELECT relname::text, pg_relation_size(oid) FROM pg_class \
               WHERE relnamespace = 'message_store'::regnamespace AND relname ~ '^messages(_pkey|_id|_stream|_category)?$' ORDER BY relname";
    let mut lines = Vec::new();
    let line = |what: String, bytes: f64| Line {
        figure: "F7".into(),
        what,
        ours: bytes,
        reference: String::new(),
        theirs: None,
        unit: "bytes",
        goal: None,
        errors: 0,
        note: String::new(),
    };
    for row in client.query(sql, &[]).await? {
        let (name, size): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        lines.push(line(format!("a message on disk: {name}"), size as f64 / rows as f64));
    }
    let store = connect(url).await?;
    let position = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
    append(&store, 0..256, 1, std::time::Duration::from_millis(500)).await?;
    let count = "SELECT count(*) FROM message_store.messages WHERE global_position > $1";
    let before: i64 =
        client.query_one("SELECT max(global_position) FROM message_store.messages", &[]).await?.try_get(0)?;
    let sql = format!("SELECT ({position})::float8");
    let from: f64 = client.query_one(&sql, &[]).await?.try_get(0)?;
    append(&store, 0..256, 1, std::time::Duration::from_secs(1)).await?;
    let to: f64 = client.query_one(&sql, &[]).await?.try_get(0)?;
    let written: i64 = client.query_one(count, &[&before]).await?.try_get(0)?;
    lines.push(line("a message in the log (WAL), 256 writers".into(), (to - from) / written as f64));
    Ok(lines)
}
