//! P: other event stores for Rust, with operations that all of them have: append to a new stream, and load a stream and
//! append to it.

mod ours;
mod theirs;
mod umadb;

use anyhow::Result;
use message_store::connect;

use self::ours::{Known, conditional, ours};
use self::theirs::{PEERS, Peer};
use crate::bench::Bench;
use crate::report::{Goal, Line};
use crate::rounds::{Sample, Side, interleave};

const WORKERS: usize = 16;
/// The numbers of callers of conditional appends.
const CALLERS: [usize; 3] = [1, 16, 256];
/// The sides of this store that have no counterpart for a new stream.
const OTHER_SIDES: [(Known, &str); 3] = [
    (Known::Snapshot, "from a snapshot"),
    (Known::Cached, "remembered"),
    (Known::CachedWithSnapshots, "remembered, with snapshots"),
];
const NOTE: &str = "16 callers. Each store in its own words, with its own schema; all but UmaDB with 16 connections to one PostgreSQL. \
    postgres-es has no global position and one index. disintegrate-postgres runs SERIALIZABLE and has no streams (its entity is a query); \
    its errors are serialization failures, which its caller has to repeat, and only successes count. eventastic_postgres writes a snapshot \
    with every save, and loads that instead of the events, without a global position. UmaDB is a server of its own, called through gRPC \
    over one connection, with its default settings: its entity is a tag, a load reads the events with the tag, and an append fails if \
    there is a later event with it. Each of its commits waits for two flushes of its file (fdatasync), and appends that arrive meanwhile \
    share the next commit. It caches no pages. Ours checks versions and ids, and keeps readers safe.";

pub async fn peers(bench: &Bench) -> Result<Vec<Line>> {
    let Some(program) = &bench.peers else {
        eprintln!("  the peers were not built: --peers names no program");
        return Ok(Vec::new());
    };
    let effort = bench.effort;
    let store = connect(&bench.databases.ours("peers_ours").await?).await?;
    let (mut running, mut lines) = (Vec::new(), Vec::new());
    for name in PEERS {
        match Peer::open(bench, program, name).await {
            Ok(peer) => running.push(peer),
            Err(error) => lines.push(does_not_run(name, &error)),
        }
    }
    for (work, events, what) in [
        ("new", 0, "append to a new stream"),
        ("load10", 10, "load 10 events and append"),
        ("load1000", 1_000, "load 1,000 events and append"),
        ("load10000", 10_000, "load 10,000 events and append"),
    ] {
        let store = &store;
        let mut sides =
            vec![Side::new(format!("ours, {what}"), move || ours(store, events, Known::Nothing, effort.time))];
        // Those that read every event would take minutes to prepare ten thousand of each entity.
        let measured = |peer: &&Peer<'_>| events < 10_000 || peer.name.starts_with("eventastic");
        let running: Vec<&Peer<'_>> = running.iter().filter(measured).collect();
        for &peer in &running {
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
                figure: "P".into(),
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
            let [snapshot, cached, cached_with_snapshots] = &samples[running.len() + 1..] else {
                anyhow::bail!("a side is missing");
            };
            for (peer, theirs) in
                running.iter().zip(&samples[1..]).filter(|(peer, _)| peer.name.starts_with("eventastic"))
            {
                line(format!("{what}, 16 callers: from a snapshot"), snapshot, peer.name, theirs);
            }
            line(format!("{what}, 16 callers: cached here"), cached, "ours, not cached", &samples[0]);
            line(
                format!("{what}, 16 callers: cached here, and snapshots every 100"),
                cached_with_snapshots,
                "ours, cached, without snapshots",
                cached,
            );
        }
    }
    // UmaDB's append to a new entity is a conditional one: unless an event has the entity's tag.
    for (peer, workers) in
        running.iter().filter(|peer| peer.name == "umadb").flat_map(|peer| CALLERS.map(|workers| (peer, workers)))
    {
        let what = format!("append unless a tag is taken, {workers} callers");
        let store = &store;
        let sides = [
            Side::new(format!("ours, {what}"), move || conditional(store, workers, effort.time)),
            Side::new(format!("{}, {what}", peer.name), move || peer.measure("new", workers, effort.time)),
        ];
        let samples = interleave(effort, &sides).await?;
        lines.push(Line {
            figure: "P".into(),
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

fn does_not_run(peer: &str, error: &anyhow::Error) -> Line {
    Line {
        figure: "P".into(),
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
