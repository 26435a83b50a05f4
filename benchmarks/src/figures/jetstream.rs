//! J: appends on NATS JetStream, with one server and three, which flush later or before they answer.

use std::sync::Arc;

use anyhow::Result;
use message_store::MessageStore;
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Cluster, Flush, Server};

use super::appends::{append, append_in};
use crate::bench::Bench;
use crate::report::Line;
use crate::rounds::{Side, interleave};

pub async fn j(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let postgres = bench.databases.ours("j").await?;
    let (one, one_always) = (Server::start(Flush::Later, ""), Server::start(Flush::Before, ""));
    let (three, three_always) = (Cluster::start(Flush::Later), Cluster::start(Flush::Before));
    let open = async |url: String| anyhow::Ok(Arc::new(JetstreamStore::open(&url).await?) as Arc<dyn MessageStore>);
    let stores = [
        ("R1, flushed later", open(one.store()).await?),
        ("R1, flushed before the answer", open(one_always.store()).await?),
        ("R3, flushed later", open(three.store()).await?),
        ("R3, flushed before the answer", open(three_always.store()).await?),
    ];
    let mut lines = Vec::new();
    for writers in [1, 16, 64, 256] {
        let mut sides = vec![Side::new(format!("PostgreSQL, {writers} writers"), || {
            append_in(&postgres, writers, 32, effort.time)
        })];
        for (name, store) in &stores {
            sides.push(Side::new(format!("JetStream, {name}, {writers} writers"), move || {
                append(store, 0..writers, 32, effort.time)
            }));
        }
        let samples = interleave(effort, &sides).await?;
        for ((name, _), sample) in stores.iter().zip(&samples[1..]) {
            lines.push(Line {
                figure: "J".into(),
                what: format!("appends on JetStream, {name}, {writers} writers"),
                ours: sample.per_second,
                reference: "ours on PostgreSQL, flushed before the answer".into(),
                theirs: Some(samples[0].per_second),
                unit: "/s",
                goal: None,
                errors: sample.errors,
                note: "All servers share one machine and one disk.".into(),
            });
        }
    }
    Ok(lines)
}
