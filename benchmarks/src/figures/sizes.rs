//! F7: the bytes of a message, on disk and in the log, here and in Message DB, for the same messages with the same ids.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use message_store::{Append, Json, MessageId, NewMessage, StreamName, connect};
use tokio_postgres::Client;
use uuid::{Builder, Uuid};

use crate::bench::Bench;
use crate::databases::{connect as plain, connections};
use crate::messages::{TYPE, data_of, metadata, stream};
use crate::references::{PATH, WRITE};
use crate::report::{Goal, Line};

const WRITERS: usize = 256;
const CATEGORIES: usize = 4;

/// The id of a message: the same in both stores, and as random as those of Message DB's clients.
fn id(writer: usize, number: usize) -> Uuid {
    let mix = |seed: u64| {
        let mixed = (writer as u64 + 1).wrapping_mul(seed) ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    };
    Builder::from_random_bytes(
        (u128::from(mix(0xD6E8_FEB8_6659_FD93)) << 64 | u128::from(mix(0xA076_1D64_78BD_642F))).to_be_bytes(),
    )
    .into_uuid()
}

fn data(writer: usize, number: usize) -> String {
    data_of(id(number, writer), number)
}

async fn write_ours(url: &str, each: usize) -> Result<()> {
    let store = connect(url).await?;
    try_join_all((0..WRITERS).map(|writer| {
        let store = &store;
        async move {
            for number in 0..each {
                let mut message = NewMessage::new(TYPE, Json::parse(data(writer, number))?)
                    .with_metadata_json(Json::parse(metadata(number))?);
                message.id = MessageId::from_uuid(id(writer, number));
                let stream = StreamName::new(stream(writer, CATEGORIES))?;
                store.append(Append::to(stream).message(message).into()).await?;
            }
            Ok::<_, anyhow::Error>(())
        }
    }))
    .await?;
    Ok(())
}

/// Each of 32 connections writes the messages of 8 writers, in turns.
async fn write_theirs(url: &str, each: usize) -> Result<()> {
    let clients = connections(url, 32).await?;
    let of_client = WRITERS / clients.len();
    try_join_all(clients.iter().enumerate().map(|(at, client)| async move {
        client.batch_execute(PATH).await?;
        let write = client.prepare(WRITE).await?;
        for number in 0..each {
            for writer in at * of_client..(at + 1) * of_client {
                let (id, stream) = (id(writer, number).to_string(), stream(writer, CATEGORIES));
                client.query(&write, &[&id, &stream, &TYPE, &data(writer, number), &metadata(number)]).await?;
            }
        }
        Ok::<_, anyhow::Error>(())
    }))
    .await?;
    Ok(())
}

const PARTS: [&str; 5] = ["messages", "messages_pkey", "messages_id", "messages_stream", "messages_category"];

/// The bytes of the table and of each index, and those in the log since `from`, for each message.
struct Sizes {
    parts: [f64; PARTS.len()],
    log: f64,
}

async fn log_position(client: &Client) -> Result<f64> {
    Ok(client.query_one("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8", &[]).await?.try_get(0)?)
}

async fn sizes_after(url: &str, messages: usize, write: impl Future<Output = Result<()>>) -> Result<Sizes> {
    let client = plain(url).await?;
    client.batch_execute("CHECKPOINT").await?;
    let from = log_position(&client).await?;
    write.await?;
    let log = (log_position(&client).await? - from) / messages as f64;
    let count: i64 = client.query_one("SELECT count(*) FROM message_store.messages", &[]).await?.try_get(0)?;
    ensure!(count == messages as i64, "{count} of {messages} messages");
    let mut parts = [0.0; PARTS.len()];
    for (part, bytes) in PARTS.iter().zip(&mut parts) {
        let sql = "SELECT pg_relation_size(('message_store.' || $1)::regclass)::float8";
        let size: f64 = client.query_one(sql, &[part]).await?.try_get(0)?;
        *bytes = size / messages as f64;
    }
    Ok(Sizes { parts, log })
}

pub async fn sizes(bench: &Bench) -> Result<Vec<Line>> {
    let (ours, theirs) = (bench.databases.ours("f7_ours").await?, bench.databases.message_db("f7_theirs").await?);
    let each = if bench.effort.is_quick { 40 } else { 1_000 };
    let messages = WRITERS * each;
    let here = sizes_after(&ours, messages, write_ours(&ours, each)).await?;
    let there = sizes_after(&theirs, messages, write_theirs(&theirs, each)).await?;
    let line = |what: String, ours: f64, theirs: f64, goal: Option<Goal>| Line {
        figure: "F7".into(),
        what,
        ours,
        reference: "Message DB".into(),
        theirs: Some(theirs),
        unit: "bytes",
        goal,
        errors: 0,
        note: format!(
            "{messages} messages of 256 writers, with random ids. The reference is {}.",
            bench.databases.message_db_is()
        ),
    };
    let all = |sizes: &Sizes| sizes.parts.iter().sum::<f64>();
    let mut lines = vec![
        line("a message on disk, in all".into(), all(&here), all(&there), Some(Goal::AtMost(1.0))),
        line("a message in the log (WAL)".into(), here.log, there.log, Some(Goal::AtMost(0.9))),
    ];
    for (number, part) in PARTS.iter().enumerate() {
        lines.push(line(format!("a message on disk: {part}"), here.parts[number], there.parts[number], None));
    }
    Ok(lines)
}
