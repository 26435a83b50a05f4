//! F10 and F11: Message DB's functions as its clients call them, this library's version and the original.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::databases::{connect, fill};
use crate::references::{write_message, write_message_in_server};
use crate::report::{Goal, Line};
use crate::rounds::{Effort, Sample, Side, histogram, interleave, milliseconds};

pub async fn f10(bench: &Bench) -> Result<Vec<Line>> {
    // The difference between the two is smaller than the difference between rounds, so there are many short rounds.
    let effort = Effort { rounds: bench.effort.rounds * 7, time: bench.effort.time / 2, ..bench.effort };
    let (ours, theirs) = (bench.databases.ours("f10").await?, bench.databases.message_db("f10_message_db").await?);
    let mut lines = Vec::new();
    let mut measured = async |what: &str, sides: [Side<'_>; 2]| {
        let samples = interleave(effort, &sides).await?;
        lines.push(Line {
            figure: "F10".into(),
            what: format!("write_message, {what}"),
            ours: samples[0].per_second,
            reference: "Message DB's write_message".into(),
            theirs: Some(samples[1].per_second),
            unit: "/s",
            goal: Some(Goal::AtLeast(1.0)),
            errors: samples.iter().map(|sample| sample.errors).sum(),
            note: format!("The reference is {}.", bench.databases.message_db_is()),
        });
        anyhow::Ok(())
    };
    for (connections, commits, settings) in [
        (1, "each commit flushed", ""),
        (8, "each commit flushed", ""),
        // Without flushes: their time is the same for both, and hides the time of the functions.
        (1, "commits not flushed", "?options=-c%20synchronous_commit%3Doff"),
        (8, "commits not flushed", "?options=-c%20synchronous_commit%3Doff"),
    ] {
        let (ours, theirs) = (format!("{ours}{settings}"), format!("{theirs}{settings}"));
        let what = format!("{connections} connections, 1 category, {commits}");
        let ours = Side::new(format!("ours, {what}"), || write_message(&ours, connections, 1, effort.time));
        let theirs = Side::new(format!("theirs, {what}"), || write_message(&theirs, connections, 1, effort.time));
        measured(&what, [ours, theirs]).await?;
    }
    // The cost of the functions alone, without client and network.
    let calls = 5_000;
    let sides = [
        Side::new("ours, in the server", || write_message_in_server(&ours, calls)),
        Side::new("theirs, in the server", || write_message_in_server(&theirs, calls)),
    ];
    measured("called by the server itself, commits not flushed", sides).await?;
    Ok(lines)
}

/// Reads a category by a correlation that no message has.
async fn read_by_correlation(url: &str, time: Duration) -> Result<Sample> {
    let client = connect(url).await?;
    client.batch_execute("SET search_path = message_store, public").await?;
    let sql = "SELECT count(*) FROM message_store.get_category_messages('account0', correlation => 'absent')";
    let statement = client.prepare(sql).await?;
    let (begun, mut times) = (Instant::now(), histogram()?);
    while times.is_empty() || begun.elapsed() < time {
        let started = Instant::now();
        let found: i64 = client.query_one(&statement, &[]).await?.try_get(0)?;
        ensure!(found == 0, "nothing is correlated with it");
        times.saturating_record(started.elapsed().as_micros() as u64);
    }
    Ok(Sample { p50: milliseconds(&times, 0.5), p99: milliseconds(&times, 0.99), ..Sample::default() })
}

pub async fn f11(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let rows = if effort.is_quick { 200_000 } else { 2_000_000 };
    let (ours, theirs) = (bench.databases.ours("f11").await?, bench.databases.message_db("f11_message_db").await?);
    fill(&ours, rows).await?;
    fill(&theirs, rows).await?;
    let sides = [
        Side::new("ours", || read_by_correlation(&ours, effort.time)),
        Side::new("theirs", || read_by_correlation(&theirs, effort.time)),
    ];
    let samples = interleave(effort, &sides).await?;
    Ok(vec![Line {
        figure: "F11".into(),
        what: format!("get_category_messages by a correlation that none of {rows} rows has, p50"),
        ours: samples[0].p50,
        reference: "Message DB's get_category_messages".into(),
        theirs: Some(samples[1].p50),
        unit: "ms",
        goal: Some(Goal::AtMost(1.0)),
        errors: 0,
        note: String::new(),
    }])
}
