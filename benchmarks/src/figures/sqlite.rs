//! F9: SQLite, compared with plain inserts; and two processes on one file.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use message_store::connect;
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::bench::Bench;
use crate::figures::appends::append;
use crate::messages::{TYPE, data, metadata, stream};
use crate::processes;
use crate::report::{Goal, Line};
use crate::rounds::{Sample, Side, histogram, interleave, milliseconds};

fn file(folder: &TempDir, name: &str) -> String {
    folder.path().join(format!("{name}-{}.db", Uuid::new_v4().simple())).display().to_string()
}

async fn ours(folder: &TempDir, writers: usize, time: Duration) -> Result<Sample> {
    let store = connect(&format!("sqlite:{}", file(folder, "ours"))).await?;
    append(&store, 0..writers, 1, time).await
}

/// Inserts into the same table with the same indexes, `rows` rows in a transaction, with the same durability.
async fn inserts(folder: &TempDir, rows: usize, time: Duration) -> Result<Sample> {
    let path = file(folder, "plain");
    drop(connect(&format!("sqlite:{path}")).await?);
    tokio::task::spawn_blocking(move || {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let (begun, mut count, mut times) = (Instant::now(), 0_usize, histogram()?);
        while begun.elapsed() < time {
            let started = Instant::now();
            let transaction = connection.transaction()?;
            let mut statement = transaction.prepare_cached(
                "INSERT INTO messages (position, time, stream_name, category, type, data, metadata, id) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for row in 0..rows {
                let (data, metadata, id) = (data(row), metadata(row), Uuid::new_v4());
                statement.execute((
                    count as i64,
                    0_i64,
                    stream(row, 1),
                    "account0",
                    TYPE,
                    data,
                    metadata,
                    id.as_bytes(),
                ))?;
            }
            drop(statement);
            transaction.commit()?;
            times.saturating_record(started.elapsed().as_micros() as u64);
            count += rows;
        }
        let per_second = count as f64 / begun.elapsed().as_secs_f64();
        Ok(Sample { per_second, p50: milliseconds(&times, 0.5), p99: milliseconds(&times, 0.99), errors: 0 })
    })
    .await?
}

pub async fn f9(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let folder = tempfile::tempdir()?;
    let fairness = Cell::new(1.0_f64);
    let fairness = &fairness;
    let of_processes = |processes| {
        let url = format!("sqlite:{}", file(&folder, "shared"));
        async move {
            drop(connect(&url).await?);
            let written = processes::write(&url, processes, 64, 1, effort.time).await?;
            fairness.set(fairness.get().min(written.fairness));
            let processes::Written { per_second, p50, p99, errors, .. } = written;
            Ok(Sample { per_second, p50, p99, errors })
        }
    };
    let sides = [
        Side::new("ours, 256 writers", || ours(&folder, 256, effort.time)),
        Side::new("INSERTs, 256 a transaction", || inserts(&folder, 256, effort.time)),
        Side::new("ours, 1 writer", || ours(&folder, 1, effort.time)),
        Side::new("INSERT of 1 row a transaction", || inserts(&folder, 1, effort.time)),
        Side::new("ours, 64 writers, 1 process", || of_processes(1)),
        Side::new("ours, 64 writers, 2 processes", || of_processes(2)),
    ];
    let samples = interleave(effort, &sides).await?;
    let errors = samples.iter().map(|sample| sample.errors).sum();
    let line = |what: &str, ours: f64, reference: &str, theirs: f64, unit: &'static str, goal: Option<Goal>| Line {
        figure: "F9".into(),
        what: format!("SQLite, {what}"),
        ours,
        reference: reference.into(),
        theirs: Some(theirs),
        unit,
        goal,
        errors,
        note: "The reference checks no version and no id, and is one thread that waits for no other.".into(),
    };
    let [many, rows, one, row, alone, two] = &samples[..] else { bail!("{} samples", samples.len()) };
    let (at_least, at_most) = (|goal| Some(Goal::AtLeast(goal)), |goal| Some(Goal::AtMost(goal)));
    let of_one = "the same in 1 process";
    Ok(vec![
        line("durable appends, 256 writers", many.per_second, &sides[1].name, rows.per_second, "/s", at_least(0.9)),
        line("latency of an append, 1 writer, p50", one.p50, &sides[3].name, row.p50, "ms", at_most(1.3)),
        line("64 writers in 2 processes on one file", two.per_second, of_one, alone.per_second, "/s", None),
        line("64 writers in 2 processes on one file, p99", two.p99, of_one, alone.p99, "ms", None),
        line("the slower of 2 processes over the faster, worst round", fairness.get(), "equal", 1.0, "", at_least(0.9)),
    ])
}
