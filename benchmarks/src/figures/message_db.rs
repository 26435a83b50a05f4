//! F10 and F11: Message DB's functions as its clients call them, this library's version and the original.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::databases::{connect, fill};
use crate::references::{write_message, write_message_in_server, write_message_in_turns};
use crate::report::{Goal, Line};
use crate::rounds::{Effort, Sample, Side, histogram, interleave, milliseconds};

/// With and without flushes: the time of a flush is the same for both sides, and hides the time of the functions.
const FLUSHES: [(&str, &str); 2] =
    [("each commit flushed", ""), ("commits not flushed", "?options=-c%20synchronous_commit%3Doff")];

pub async fn f10(bench: &Bench) -> Result<Vec<Line>> {
    let (ours, theirs) = (bench.databases.ours("f10").await?, bench.databases.message_db("f10_message_db").await?);
    let mut lines = Vec::new();
    let mut line = |what: &str, samples: &[Sample], how: &str| {
        lines.push(Line {
            figure: "F10".into(),
            what: format!("write_message, {what}"),
            ours: samples[0].per_second,
            reference: "Message DB's write_message".into(),
            theirs: Some(samples[1].per_second),
            unit: "/s",
            goal: Some(Goal::AtLeast(1.0)),
            errors: samples.iter().map(|sample| sample.errors).sum(),
            note: format!("{how}The reference is {}.", bench.databases.message_db_is()),
        });
    };
    // One call of each in turns: the difference between the two is smaller than the difference between rounds.
    let calls = if bench.effort.is_quick { 6_000 } else { 30_000 };
    for (commits, settings) in FLUSHES {
        let urls = [format!("{ours}{settings}"), format!("{theirs}{settings}")];
        let samples = write_message_in_turns([&urls[0], &urls[1]], calls).await?;
        let how = format!("Calls per second by the median time of {calls} calls, one of each side in turns. ");
        line(&format!("1 connection, 1 category, {commits}"), &samples, &how);
    }
    let effort = Effort { rounds: bench.effort.rounds * 7, time: bench.effort.time / 2, ..bench.effort };
    for (commits, settings) in FLUSHES {
        let (ours, theirs) = (format!("{ours}{settings}"), format!("{theirs}{settings}"));
        let what = format!("8 connections, 1 category, {commits}");
        let ours = Side::new(format!("ours, {what}"), || write_message(&ours, 8, 1, effort.time));
        let theirs = Side::new(format!("theirs, {what}"), || write_message(&theirs, 8, 1, effort.time));
        line(&what, &interleave(effort, &[ours, theirs]).await?, "");
    }
    // The cost of the functions alone, without client and network.
    let calls = 5_000;
    let sides = [
        Side::new("ours, in the server", || write_message_in_server(&ours, calls)),
        Side::new("theirs, in the server", || write_message_in_server(&theirs, calls)),
    ];
    line("called by the server itself, commits not flushed", &interleave(effort, &sides).await?, "");
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
