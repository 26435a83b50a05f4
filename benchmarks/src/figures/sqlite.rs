//! F9: SQLite, compared with plain inserts.

use std::time::{Duration, Instant};

use anyhow::Result;
use message_store::connect;
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::bench::Bench;
use crate::figures::appends::append;
use crate::messages::{TYPE, data, metadata, stream};
use crate::report::{Goal, Line};
use crate::rounds::{Sample, Side, interleave};

fn file(folder: &TempDir, name: &str) -> String {
    folder.path().join(format!("{name}-{}.db", Uuid::new_v4().simple())).display().to_string()
}

async fn ours(folder: &TempDir, time: Duration) -> Result<Sample> {
    let store = connect(&format!("sqlite:{}", file(folder, "ours"))).await?;
    append(&store, 0..256, 1, time).await
}

/// Inserts into the same table with the same indexes, 256 rows in a transaction, with the same durability.
async fn inserts(folder: &TempDir, rows: usize, time: Duration) -> Result<Sample> {
    let path = file(folder, "plain");
    drop(connect(&format!("sqlite:{path}")).await?);
    tokio::task::spawn_blocking(move || {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let (begun, mut count) = (Instant::now(), 0_usize);
        while begun.elapsed() < time {
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
            count += rows;
        }
        Ok(Sample { per_second: count as f64 / begun.elapsed().as_secs_f64(), ..Sample::default() })
    })
    .await?
}

pub async fn f9(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let folder = tempfile::tempdir()?;
    let sides = [
        Side::new("ours, 256 writers", || ours(&folder, effort.time)),
        Side::new("INSERTs, 256 a transaction", || inserts(&folder, 256, effort.time)),
    ];
    let samples = interleave(effort, &sides).await?;
    Ok(vec![Line {
        figure: "F9".into(),
        what: "SQLite, durable appends, 256 writers".into(),
        ours: samples[0].per_second,
        reference: sides[1].name.clone(),
        theirs: Some(samples[1].per_second),
        unit: "/s",
        goal: Some(Goal::AtLeast(0.5)),
        errors: samples.iter().map(|sample| sample.errors).sum(),
        note: "The reference checks no version and no id, and is one thread that waits for no other.".into(),
    }])
}
