//! F1: writers of other categories, while another program keeps a category locked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use message_store::connect;

use crate::bench::Bench;
use crate::databases::{clear, connect as plain};
use crate::messages;
use crate::report::{Goal, Line};
use crate::rounds::{Effort, Sample, Side, closed_loop, interleave};

const CATEGORIES: usize = 32;
/// Of 256 writers, 8 write to the first category.
const WRITERS: usize = 256;

/// The appends to all categories but the first, while 8 writers append to that one too.
async fn beside(url: &str, is_locked: bool, time: Duration) -> Result<Sample> {
    clear(url).await?;
    let store = connect(url).await?;
    let holder = plain(url).await?;
    if is_locked {
        let lock = "BEGIN; SELECT pg_advisory_xact_lock(message_store.hash_64('account0'))";
        holder.batch_execute(lock).await?;
    }
    let mut first = tokio::task::JoinSet::new();
    for writer in (0..WRITERS).step_by(CATEGORIES) {
        let store = Arc::clone(&store);
        first.spawn(async move {
            for number in 0.. {
                store.append(messages::append(writer, CATEGORIES, number)?.into()).await?;
            }
            Ok::<_, message_store::Error>(())
        });
    }
    let others: Vec<usize> = (0..WRITERS).filter(|writer| writer % CATEGORIES != 0).collect();
    closed_loop(others.len(), time, move |worker, number| {
        let (store, writer) = (Arc::clone(&store), others[worker]);
        async move {
            store.append(messages::append(writer, CATEGORIES, number)?.into()).await?;
            Ok(1)
        }
    })
    .await
}

pub async fn locked_category(bench: &Bench) -> Result<Vec<Line>> {
    let effort = Effort { rounds: if bench.effort.is_quick { 3 } else { 10 }, ..bench.effort };
    let url = bench.databases.ours("f1_locked").await?;
    let sides = [
        Side::new("a category is locked", || beside(&url, true, effort.time)),
        Side::new("no category is locked", || beside(&url, false, effort.time)),
    ];
    let samples = interleave(effort, &sides).await?;
    Ok(vec![Line {
        figure: "F1".into(),
        what: "appends to 31 categories, 248 writers, while another program keeps a 32nd locked".into(),
        ours: samples[0].per_second,
        reference: "the same without the lock".into(),
        theirs: Some(samples[1].per_second),
        unit: "/s",
        goal: Some(Goal::AtLeast(0.95)),
        errors: samples.iter().map(|sample| sample.errors).sum(),
        note: "8 more writers append to the category that is locked. Without the lock, they write too.".into(),
    }])
}
