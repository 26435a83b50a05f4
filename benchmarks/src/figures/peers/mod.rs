//! P: other event stores for Rust, with operations that all of them have: append to a new stream, and load a stream and
//! append to it.

mod ours;
mod theirs;
mod umadb;

use std::sync::Arc;

use anyhow::Result;
use message_store::{MessageStore, connect};

use self::ours::{Known, conditional, growing, ours};
use self::theirs::{PEERS, Peer};
use crate::bench::Bench;
use crate::report::{Goal, Line};
use crate::rounds::{Effort, Sample, Side, interleave};

const WORKERS: usize = 16;
/// The numbers of callers of conditional appends.
const CALLERS: [usize; 3] = [1, 16, 256];
/// The sides of this store that have no counterpart for a new stream.
const OTHER_SIDES: [(Known, &str); 2] = [(Known::Snapshot, "from a snapshot"), (Known::Cached, "remembered")];
const NOTE: &str = "16 callers. Each store in its own words, with its own schema; all but UmaDB with 16 connections to one PostgreSQL. \
    postgres-es has no global position and one index. disintegrate-postgres runs SERIALIZABLE and has no streams (its entity is a query); \
    its errors are serialization failures, which its caller has to repeat, and only successes count. eventastic_postgres writes a snapshot \
    with every save, and loads that instead of the events, without a global position. UmaDB is a server of its own, called through gRPC \
    over one connection, with its default settings: its entity is a tag, a load reads the events with the tag, and an append fails if \
    there is a later event with it. Each of its commits waits for two flushes of its file (fdatasync), and appends that arrive meanwhile \
    share the next commit. It caches no pages. Ours checks versions and ids, and keeps readers safe.";

/// Streams of at most a thousand events.
pub async fn short_streams(bench: &Bench) -> Result<Vec<Line>> {
    let works = [
        ("new", 0, "append to a new stream"),
        ("load10", 10, "load 10 events and append"),
        ("load1000", 1_000, "load 1,000 events and append"),
    ];
    streams(bench, "P", &PEERS, &works).await
}

/// Those that read every event would take minutes to prepare ten thousand of each entity.
pub async fn long_streams(bench: &Bench) -> Result<Vec<Line>> {
    let peers: Vec<_> = PEERS.into_iter().filter(|name| name.starts_with("eventastic")).collect();
    streams(bench, "P10000", &peers, &[("load10000", 10_000, "load 10,000 events and append")]).await
}

async fn streams(
    bench: &Bench,
    figure: &str,
    peers: &[&'static str],
    works: &[(&'static str, usize, &str)],
) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let (store, running, mut lines) = open(bench, figure, peers).await?;
    for &(work, events, what) in works {
        let store = &store;
        let mut sides =
            vec![Side::new(format!("ours, {what}"), move || ours(store, events, Known::Nothing, effort.time))];
        for peer in &running {
            sides.push(Side::new(format!("{}, {what}", peer.name), move || peer.measure(work, WORKERS, effort.time)));
        }
        if events > 0 {
            for (known, side) in OTHER_SIDES {
                sides.push(Side::new(format!("ours, {side}, {what}"), move || ours(store, events, known, effort.time)));
            }
        }
        let samples = interleave(effort, &sides).await?;
        let mut line = |what: String, ours: &Sample, reference: &str, theirs: &Sample| {
            lines.push(Line {
                figure: figure.into(),
                what,
                ours: ours.per_second,
                reference: reference.into(),
                theirs: Some(theirs.per_second),
                unit: "/s",
                goal: None,
                errors: ours.errors + theirs.errors,
                note: NOTE.into(),
            });
        };
        for (peer, theirs) in running.iter().zip(&samples[1..]) {
            line(format!("{what}, 16 callers"), &samples[0], peer.name, theirs);
        }
        if events > 0 {
            let [snapshot, cached] = &samples[running.len() + 1..] else {
                anyhow::bail!("a side is missing");
            };
            for (peer, theirs) in
                running.iter().zip(&samples[1..]).filter(|(peer, _)| peer.name.starts_with("eventastic"))
            {
                line(format!("{what}, 16 callers: from a snapshot"), snapshot, peer.name, theirs);
            }
            line(format!("{what}, 16 callers: cached here"), cached, "ours, not cached", &samples[0]);
        }
    }
    Ok(lines)
}

/// What snapshots cost the appends, in more rounds, because the difference is small.
pub async fn snapshots(bench: &Bench) -> Result<Vec<Line>> {
    let store = connect(&bench.databases.ours("snapshots").await?).await?;
    let effort = Effort { rounds: bench.effort.rounds * 5, ..bench.effort };
    let sides = [
        Side::new("snapshots every 100", || growing(&store, true, effort.time)),
        Side::new("no snapshots", || growing(&store, false, effort.time)),
    ];
    let samples = interleave(effort, &sides).await?;
    Ok(vec![Line {
        figure: "Snapshots".into(),
        what: "append to a cached entity, 16 callers, snapshots every 100 events".into(),
        ours: samples[0].per_second,
        reference: "no snapshots".into(),
        theirs: Some(samples[1].per_second),
        unit: "/s",
        goal: Some(Goal::AtLeast(0.95)),
        errors: samples[0].errors + samples[1].errors,
        note: "Each caller appends to an entity of its own.".into(),
    }])
}

/// This store, and the other stores that run here. Those that do not have a line.
async fn open<'a>(
    bench: &'a Bench,
    figure: &str,
    names: &[&'static str],
) -> Result<(Arc<dyn MessageStore>, Vec<Peer<'a>>, Vec<Line>)> {
    let store = connect(&bench.databases.ours("peers_ours").await?).await?;
    let (mut running, mut lines) = (Vec::new(), Vec::new());
    let Some(program) = &bench.peers else {
        eprintln!("  the peers were not built: --peers names no program");
        return Ok((store, running, lines));
    };
    for name in names {
        match Peer::open(bench, program, name).await {
            Ok(peer) => running.push(peer),
            Err(error) => lines.push(does_not_run(figure, name, &error)),
        }
    }
    Ok((store, running, lines))
}

/// An append to a new entity in `UmaDB` is a conditional one: unless an event has the entity's tag.
pub async fn conditions(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let (store, running, mut lines) = open(bench, "Conditions", &["umadb"]).await?;
    for (peer, workers) in running.iter().flat_map(|peer| CALLERS.map(|workers| (peer, workers))) {
        let what = format!("append unless a tag is taken, {workers} callers");
        let store = &store;
        let sides = [
            Side::new(format!("ours, {what}"), move || conditional(store, workers, effort.time)),
            Side::new(format!("{}, {what}", peer.name), move || peer.measure("new", workers, effort.time)),
        ];
        let samples = interleave(effort, &sides).await?;
        lines.push(Line {
            figure: "Conditions".into(),
            what,
            ours: samples[0].per_second,
            reference: peer.name.into(),
            theirs: Some(samples[1].per_second),
            unit: "/s",
            goal: Some(Goal::AtLeast(0.5)),
            errors: samples[0].errors + samples[1].errors,
            note: NOTE.into(),
        });
    }
    Ok(lines)
}

fn does_not_run(figure: &str, peer: &str, error: &anyhow::Error) -> Line {
    Line {
        figure: figure.into(),
        what: format!("{peer} does not run {}", if peer == "umadb" { "here" } else { "on this server" }),
        ours: f64::NAN,
        reference: peer.into(),
        theirs: None,
        unit: "",
        goal: None,
        errors: 1,
        note: format!("{peer}: {error:#}"),
    }
}
