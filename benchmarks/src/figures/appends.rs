//! F1, F2, F3: appends, compared with Message DB and with plain SQL.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use message_store::{MessageStore, connect};

use crate::bench::Bench;
use crate::databases::clear;
use crate::references::{copy, insert_many, insert_one, write_message};
use crate::report::{Goal, Line};
use crate::rounds::{Effort, Sample, Side, closed_loop, interleave};
use crate::{messages, processes};

/// Appends of one message each, each writer to its own stream.
pub async fn append(
    store: &Arc<dyn MessageStore>,
    writers: Range<usize>,
    categories: usize,
    time: Duration,
) -> Result<Sample> {
    let store = Arc::clone(store);
    closed_loop(writers.len(), time, move |writer, number| {
        let store = Arc::clone(&store);
        async move {
            store.append(messages::append(writers.start + writer, categories, number)?.into()).await?;
            Ok(1)
        }
    })
    .await
}

pub async fn append_in(url: &str, writers: usize, categories: usize, time: Duration) -> Result<Sample> {
    clear(url).await?;
    append(&connect(url).await?, 0..writers, categories, time).await
}

const UNFAIR: &str = "Message DB's function takes one message a call; its clients cannot share a commit. Ours shares commits among the writers of one process.";

pub async fn f1(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let (ours, theirs) = (bench.databases.ours("f1").await?, bench.databases.message_db("f1_message_db").await?);
    let mut lines = Vec::new();
    for (categories, goal) in [(1, 25.0), (32, 5.0)] {
        let sides = [
            Side::new(format!("write_message, {categories} categories"), || {
                write_message(&theirs, 32, categories, effort.time)
            }),
            Side::new(format!("ours, 256 writers, {categories} categories"), || {
                append_in(&ours, 256, categories, effort.time)
            }),
        ];
        let samples = interleave(effort, &sides).await?;
        lines.push(Line {
            figure: "F1".into(),
            what: format!("appends, 256 writers, {categories} categories"),
            ours: samples[1].per_second,
            reference: "write_message, 32 connections".into(),
            theirs: Some(samples[0].per_second),
            unit: "/s",
            goal: Some(Goal::AtLeast(goal)),
            errors: samples.iter().map(|sample| sample.errors).sum(),
            note: format!("{UNFAIR} The reference is {}.", bench.databases.message_db_is()),
        });
    }
    lines.extend(sweep(bench, &ours, &theirs).await?);
    Ok(lines)
}

/// The numbers of processes, of writers in all of them, and of categories.
const ALL: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (1, 4, 1),
    (1, 16, 1),
    (1, 64, 1),
    (1, 1024, 1),
    (2, 256, 1),
    (4, 256, 1),
    (8, 256, 1),
    (2, 256, 32),
    (4, 256, 32),
    (8, 256, 32),
    (4, 16, 32),
    (4, 64, 32),
];
const QUICK: &[(usize, usize, usize)] = &[(1, 1, 1), (1, 4, 1), (4, 256, 1), (4, 256, 32)];

/// Measures other numbers of writers and of processes.
async fn sweep(bench: &Bench, ours: &str, theirs: &str) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let mut lines = Vec::new();
    for &(processes, writers, categories) in if effort.is_quick { QUICK } else { ALL } {
        let what = format!("appends, {writers} writers in {processes} processes, {categories} categories");
        let connections = writers.min(32);
        let fairness = Cell::new(1.0_f64);
        let fairness = &fairness;
        let of_processes = |processes| async move {
            clear(ours).await?;
            let written = processes::write(ours, processes, writers, categories, effort.time).await?;
            fairness.set(fairness.get().min(written.fairness));
            let processes::Written { per_second, p50, p99, errors, .. } = written;
            Ok(Sample { per_second, p50, p99, errors })
        };
        let mut sides = vec![
            Side::new("write_message", || write_message(theirs, connections, categories, effort.time)),
            Side::new(what.clone(), || of_processes(processes)),
        ];
        if processes > 1 {
            sides.push(Side::new("the same in 1 process", || of_processes(1)));
        }
        let samples = interleave(Effort { rounds: effort.rounds.min(3), ..effort }, &sides).await?;
        let line = |reference: String, theirs: f64, goal: Option<Goal>| Line {
            figure: "F1".into(),
            what: what.clone(),
            ours: samples[1].per_second,
            reference,
            theirs: Some(theirs),
            unit: "/s",
            goal,
            errors: samples.iter().map(|sample| sample.errors).sum(),
            note: String::new(),
        };
        let goal = match (processes, writers, categories) {
            (1, 1 | 4, _) => Some(Goal::AtLeast(1.0)),
            (2.., _, 32) => Some(Goal::AtLeast(3.0)),
            _ => None,
        };
        lines.push(line(format!("write_message, {connections} connections"), samples[0].per_second, goal));
        if processes > 1 {
            let goal = if categories == 1 { 0.8 } else { 1.0 };
            lines.push(line("the same in 1 process".into(), samples[2].per_second, Some(Goal::AtLeast(goal))));
            lines.push(Line {
                what: format!("{what}: the slowest process over the fastest, in the worst round"),
                ours: fairness.get(),
                reference: "equal shares".into(),
                theirs: Some(1.0),
                unit: "",
                goal: Some(Goal::AtLeast(0.9)),
                ..line(String::new(), 1.0, None)
            });
        }
    }
    Ok(lines)
}

pub async fn f2(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let url = bench.databases.ours("f2").await?;
    let time = effort.time;
    let sides = [
        Side::new("ours, 256 writers", || append_in(&url, 256, 1, time)),
        Side::new("INSERT of 256 rows, 1 connection", || insert_many(&url, 256, 1, time)),
        Side::new("INSERT of 128 rows, 2 connections", || insert_many(&url, 128, 2, time)),
        Side::new("COPY of 256 rows, 1 connection", || copy(&url, 256, 1, time)),
    ];
    let samples = interleave(effort, &sides).await?;
    let errors = samples.iter().map(|sample| sample.errors).sum();
    Ok((1..sides.len())
        .map(|side| Line {
            figure: "F2".into(),
            what: "appends, 256 writers, 1 category".into(),
            ours: samples[0].per_second,
            reference: sides[side].name.clone(),
            theirs: Some(samples[side].per_second),
            unit: "rows/s",
            goal: [None, Some(Goal::AtLeast(0.75)), Some(Goal::AtLeast(0.6))].get(side).copied().flatten(),
            errors,
            note: "The references check no version, look for no id, keep no reader safe and give no position back."
                .into(),
        })
        .collect())
}

pub async fn f3(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let url = bench.databases.ours("f3").await?;
    let sides = [
        Side::new("ours, 1 writer", || append_in(&url, 1, 1, effort.time)),
        Side::new("INSERT of 1 row", || insert_one(&url, effort.time)),
    ];
    let samples = interleave(effort, &sides).await?;
    Ok(vec![Line {
        figure: "F3".into(),
        what: "latency of an append, 1 writer, p50".into(),
        ours: samples[0].p50,
        reference: sides[1].name.clone(),
        theirs: Some(samples[1].p50),
        unit: "ms",
        goal: Some(Goal::AtMost(1.5)),
        errors: samples.iter().map(|sample| sample.errors).sum(),
        note: String::new(),
    }])
}
