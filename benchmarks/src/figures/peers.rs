//! P: other event stores for Rust, with operations that all of them have: append to a new stream, and load a stream and
//! append to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use message_store::entity::{EntityStore, Projection};
use message_store::{Append, ExpectedVersion, MessageStore, NewMessage, StreamName, connect};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use uuid::Uuid;

use crate::bench::Bench;
use crate::processes::Written;
use crate::report::Line;
use crate::rounds::{Sample, Side, closed_loop, interleave};

const PEERS: [&str; 3] = ["postgres-es", "disintegrate-postgres", "eventastic_postgres"];
const WORKERS: usize = 16;
const ENTITIES: usize = 128;

#[derive(Clone, Debug, Default)]
struct Account {
    balance: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
enum Event {
    Deposited { account_id: String, deposit_id: String, amount: i64, time: String },
}

impl Projection for Account {
    const CATEGORY: &'static str = "account";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        let Event::Deposited { amount, .. } = event;
        self.balance += amount;
    }
}

fn deposit(account: &str) -> Result<NewMessage> {
    let (account_id, deposit_id) = (account.to_owned(), Uuid::new_v4().to_string());
    let event = Event::Deposited { account_id, deposit_id, amount: 7, time: "2026-01-01T00:00:00.000Z".into() };
    Ok(NewMessage::from_variant(&event)?)
}

/// With `cached`, entities are cached, as in a component, and a load reads only newer messages.
async fn ours(store: &Arc<dyn MessageStore>, events: usize, cached: bool, time: Duration) -> Result<Sample> {
    let run = Uuid::new_v4().simple();
    let entities = Arc::new(EntityStore::<Account>::new(store));
    for entity in (0..ENTITIES).filter(|_| events > 0) {
        let id = format!("{run}{entity}");
        let messages: Vec<NewMessage> = (0..events).map(|_| deposit(&id)).collect::<Result<_>>()?;
        store.append(Append::to(entities.stream(&id)?).messages(messages).into()).await?;
    }
    let store = Arc::clone(store);
    closed_loop(WORKERS, time, move |worker, number| {
        let (store, entities) = (Arc::clone(&store), Arc::clone(&entities));
        async move {
            let (stream, expected): (StreamName, ExpectedVersion) = if events == 0 {
                (entities.stream(&format!("{run}{worker}x{number}"))?, ExpectedVersion::NoStream)
            } else {
                let id = format!("{run}{}", (number * WORKERS + worker) % ENTITIES);
                let entity = if cached {
                    entities.fetch(&id).await?
                } else {
                    EntityStore::<Account>::with_cache(&store, 1).fetch(&id).await?
                };
                ensure!(entity.state.balance >= 7 * events as i64, "an entity is not whole");
                (entities.stream(&id)?, entity.version.into())
            };
            store.append(Append::to(stream).expecting(expected).message(deposit("a")?).into()).await?;
            Ok(1)
        }
    })
    .await
}

async fn theirs(program: &Path, peer: &str, url: &str, work: &str, time: Duration) -> Result<Sample> {
    let output = Command::new(program)
        .args(["--url", url, "--peer", peer, "--work", work, "--workers", &WORKERS.to_string()])
        .args(["--milliseconds", &time.as_millis().to_string()])
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| program.display().to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.lines().next().unwrap_or("it said nothing"));
    let Written { per_second, p50, p99, errors, .. } = serde_json::from_slice(&output.stdout)?;
    Ok(Sample { per_second, p50, p99, errors })
}

pub async fn peers(bench: &Bench) -> Result<Vec<Line>> {
    let Some(program) = &bench.peers else {
        eprintln!("  the peers were not built: --peers names no program");
        return Ok(Vec::new());
    };
    let effort = bench.effort;
    let store = connect(&bench.databases.ours("peers_ours").await?).await?;
    let (mut running, mut lines) = (Vec::new(), Vec::new());
    for peer in PEERS {
        let url = bench.databases.empty(&format!("peers_{}", peer.replace('-', "_"))).await?;
        match theirs(program, peer, &url, "new", Duration::from_millis(50)).await {
            Ok(_) => running.push((peer, url)),
            Err(error) => lines.push(Line {
                figure: "P".into(),
                what: format!("{peer} does not run on this server"),
                ours: f64::NAN,
                reference: peer.into(),
                theirs: None,
                unit: "",
                goal: None,
                errors: 1,
                note: format!("{peer}: {error:#}"),
            }),
        }
    }
    for (work, events, what) in [
        ("new", 0, "append to a new stream"),
        ("load10", 10, "load 10 events and append"),
        ("load1000", 1_000, "load 1,000 events and append"),
    ] {
        let store = &store;
        let mut sides = vec![Side::new(format!("ours, {what}"), move || ours(store, events, false, effort.time))];
        for (peer, url) in &running {
            sides.push(Side::new(format!("{peer}, {what}"), move || theirs(program, peer, url, work, effort.time)));
        }
        if events > 0 {
            sides.push(Side::new(format!("ours, remembered, {what}"), move || ours(store, events, true, effort.time)));
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
                note: "16 callers, 16 connections. Each store in its own words, with its own schema: postgres-es has no global position and one index; \
                       disintegrate-postgres runs SERIALIZABLE and has no streams (its entity is a query); eventastic_postgres writes a snapshot with every \
                       save, and loads that instead of the events, without a global position. Ours checks versions and ids, and keeps readers safe."
                    .into(),
            });
        };
        for ((peer, _), theirs) in running.iter().zip(&samples[1..]) {
            line(format!("{what}, 16 callers"), &samples[0], peer, theirs);
        }
        if events > 0 {
            line(
                format!("{what}, 16 callers: cached here"),
                &samples[running.len() + 1],
                "ours, not cached",
                &samples[0],
            );
        }
    }
    Ok(lines)
}
