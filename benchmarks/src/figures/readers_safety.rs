//! R: the two ways to protect readers of a category, and their costs: the category's lock, and a horizon for the
//! category.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use message_store::{Category, Read, connect};
use tokio_postgres::Client;

use crate::bench::Bench;
use crate::databases::{clear, connect as plain};
use crate::messages::{TYPE, data};
use crate::processes;
use crate::report::Line;
use crate::rounds::{histogram, median, milliseconds};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Lock,
    Horizon,
}

#[derive(Clone, Copy, Debug)]
enum Load {
    /// One append in each transaction, over eight connections of each process.
    Single,
    /// 256 writers that share commits.
    Batches,
}

type Figure = fn(&Round) -> f64;

#[derive(Debug, Default)]
struct Round {
    per_second: f64,
    append_p99: f64,
    read_p50: f64,
    skipped: usize,
}

/// Runs one statement after the other on each connection, without shared commits.
async fn single(url: &str, connections: usize, time: Duration) -> Result<(f64, f64)> {
    let sample = crate::references::write_message_to(url, connections, 1, time).await?;
    Ok((sample.per_second, sample.p99))
}

/// Runs transactions in the same category that stay open for 0 to 50 ms. One in four is rolled back.
async fn slow_transactions(mut client: Client, stop: Arc<AtomicBool>) -> Result<()> {
    let sql = "SELECT message_store.write_message(gen_random_uuid()::varchar, $1::text::varchar, $2::text::varchar, $3::text::jsonb)";
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let transaction = client.transaction().await?;
        transaction.execute(sql, &[&format!("account0-slow{number}"), &TYPE, &data(0)]).await?;
        tokio::time::sleep(Duration::from_millis(number * 17 % 51)).await;
        if number % 4 == 3 { transaction.rollback().await? } else { transaction.commit().await? }
    }
    Ok(())
}

/// Follows the category until `stop`. Returns the positions that it saw.
async fn read(url: &str, way: Way, stop: Arc<AtomicBool>) -> Result<(Vec<i64>, f64)> {
    let (store, client) = (connect(url).await?, plain(url).await?);
    let horizon = match way {
        Way::Lock => None,
        Way::Horizon => Some(client.prepare("SELECT message_store.category_horizon('account0')").await?),
    };
    let category = Category::new("account0")?;
    let (mut seen, mut times) = (Vec::new(), histogram()?);
    let mut from = message_store::GlobalPosition::ZERO;
    loop {
        let ends = stop.load(Ordering::Relaxed);
        let begun = Instant::now();
        let below: i64 = match &horizon {
            None => i64::MAX,
            Some(statement) => client.query_one(statement, &[]).await?.try_get(0)?,
        };
        let batch = store.read_category(&category, Read::from(from)).await?;
        times.saturating_record(begun.elapsed().as_micros() as u64);
        let before = seen.len();
        seen.extend(batch.messages.iter().map(|message| message.global_position.get()).filter(|p| *p < below));
        if let Some(last) = seen.last().filter(|_| seen.len() > before) {
            from = message_store::GlobalPosition::new(last + 1);
        } else if ends {
            return Ok((seen, milliseconds(&times, 0.5)));
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn round(url: &str, way: Way, load: Load, processes: usize, is_slow: bool, time: Duration) -> Result<Round> {
    clear(url).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (url, stop) = (url.to_owned(), Arc::clone(&stop));
        async move { read(&url, way, stop).await }
    });
    let no_more = Arc::new(AtomicBool::new(false));
    let slow =
        if is_slow { Some(tokio::spawn(slow_transactions(plain(url).await?, Arc::clone(&no_more)))) } else { None };
    let (per_second, append_p99) = match load {
        Load::Single => single(url, 8 * processes, time).await?,
        Load::Batches => {
            let written = processes::write(url, processes, 256, 1, time).await?;
            (written.per_second, written.p99)
        }
    };
    if let Some(slow) = slow {
        no_more.store(true, Ordering::Relaxed);
        slow.await??;
    }
    // The reader reads once more, up to the end.
    stop.store(true, Ordering::Relaxed);
    let (seen, read_p50) = reader.await??;
    let all: i64 = plain(url).await?.query_one("SELECT count(*) FROM message_store.messages", &[]).await?.try_get(0)?;
    Ok(Round { per_second, append_p99, read_p50, skipped: all as usize - seen.len() })
}

pub async fn safety(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let (lock, horizon) = (bench.databases.ours("safety_lock").await?, bench.databases.ours("safety_horizon").await?);
    plain(&horizon).await?.batch_execute(include_str!("horizon.sql")).await?;
    let mut lines = Vec::new();
    let all_processes: &[usize] = if effort.is_quick { &[1, 4] } else { &[1, 2, 4] };
    for load in [Load::Single, Load::Batches] {
        for &processes in all_processes {
            for is_slow in [false, true] {
                let mut rounds = [Vec::new(), Vec::new()];
                for number in 0..if effort.is_quick { 2 } else { effort.rounds } {
                    for place in 0..2 {
                        let side = (place + number) % 2;
                        let (url, way) = [(&lock, Way::Lock), (&horizon, Way::Horizon)][side];
                        rounds[side].push(round(url, way, load, processes, is_slow, effort.time).await?);
                    }
                }
                let of = |side: usize, figure: fn(&Round) -> f64| median(rounds[side].iter().map(figure).collect());
                let skipped: usize = rounds.iter().flatten().map(|round| round.skipped).sum();
                let slow = if is_slow { ", slow transactions among them" } else { "" };
                let what = format!("{load:?}, {processes} processes{slow}");
                let figures: [(&str, &'static str, Figure); 3] = [
                    ("appends", "/s", |round| round.per_second),
                    ("append p99", "ms", |round| round.append_p99),
                    ("category read p50", "ms", |round| round.read_p50),
                ];
                for (name, unit, figure) in figures {
                    lines.push(Line {
                        figure: "R".into(),
                        what: format!("{what}: {name}, category lock"),
                        ours: of(0, figure),
                        reference: "horizon of the category".into(),
                        theirs: Some(of(1, figure)),
                        unit,
                        goal: None,
                        errors: skipped as u64,
                        note: "Errors of R are messages that a reader skipped.".into(),
                    });
                }
                eprintln!(
                    "  {what}: {:?}",
                    lines.iter().rev().take(3).map(|line| (line.ours, line.theirs)).collect::<Vec<_>>()
                );
            }
        }
    }
    Ok(lines)
}
