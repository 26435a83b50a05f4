//! The references, in plain SQL: writes as Message DB's clients make them, and the limit of the table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::SinkExt as _;
use hdrhistogram::Histogram;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::databases::{clear, connections};
use crate::messages::{TYPE, data, metadata, stream};
use crate::rounds::{Sample, closed_loop, histogram};

pub const WRITE: &str =
    "SELECT message_store.write_message($1::varchar, $2::varchar, $3::varchar, $4::text::jsonb, $5::text::jsonb)";
pub const PATH: &str = "SET search_path = message_store, public";

/// Calls `write_message` as Message DB's clients do, for one message each, over `workers` connections.
pub async fn write_message(url: &str, workers: usize, categories: usize, time: Duration) -> Result<Sample> {
    clear(url).await?;
    write_message_to(url, workers, categories, time).await
}

/// Connections on which `write_message` is prepared.
async fn prepared(url: &str, count: usize) -> Result<Vec<(Arc<Client>, Statement)>> {
    let mut prepared = Vec::new();
    for client in connections(url, count).await? {
        client.batch_execute(PATH).await?;
        let statement = client.prepare(WRITE).await?;
        prepared.push((client, statement));
    }
    Ok(prepared)
}

/// The same as [`write_message`], without emptying the table first.
pub async fn write_message_to(url: &str, workers: usize, categories: usize, time: Duration) -> Result<Sample> {
    let prepared = Arc::new(prepared(url, workers).await?);
    closed_loop(workers, time, move |worker, number| {
        let prepared = Arc::clone(&prepared);
        async move {
            let (client, statement) = &prepared[worker];
            let (id, stream) = (Uuid::new_v4().to_string(), stream(worker, categories));
            client.query(statement, &[&id, &stream, &TYPE, &data(number), &metadata(number)]).await?;
            Ok(1)
        }
    })
    .await
}

/// Calls `write_message` of two stores in turns, one call at a time, over one connection each. The median time of a call
/// of one does not depend on what else the machine did during the calls of the other.
pub async fn write_message_in_turns(urls: [&str; 2], calls: usize) -> Result<[Sample; 2]> {
    let mut sides: Vec<(Arc<Client>, Statement, Histogram<u64>)> = Vec::new();
    for url in urls {
        clear(url).await?;
        let (client, statement) = prepared(url, 1).await?.remove(0);
        sides.push((client, statement, histogram()?));
    }
    for number in 0..calls {
        for turn in 0..2 {
            let (client, statement, times) = &mut sides[(number + turn) % 2];
            let (id, stream) = (Uuid::new_v4().to_string(), stream(0, 1));
            let begun = Instant::now();
            client.query(statement, &[&id, &stream, &TYPE, &data(number), &metadata(number)]).await?;
            times.saturating_record(begun.elapsed().as_nanos() as u64 / 100);
        }
    }
    let sample = |times: &Histogram<u64>| {
        // The histogram counts tenths of a microsecond.
        let [p50, p99] = [0.5, 0.99].map(|quantile| times.value_at_quantile(quantile) as f64 / 10_000.0);
        Sample { per_second: 1_000.0 / p50, p50, p99, errors: 0 }
    };
    Ok([sample(&sides[0].2), sample(&sides[1].2)])
}

/// Calls `write_message` inside the server, each call in its own transaction: no client, no network, no flush.
pub async fn write_message_in_server(url: &str, calls: usize) -> Result<Sample> {
    clear(url).await?;
    let client = connections(url, 1).await?.remove(0);
    client.batch_execute("SET search_path = message_store, public; SET synchronous_commit = off").await?;
    let (stream, data, metadata) = (stream(0, 1), data(0), metadata(0));
    let loop_of = |calls: usize| {
        format!(
            "DO $$ BEGIN FOR i IN 1..{calls} LOOP \
               PERFORM message_store.write_message(gen_random_uuid()::varchar, '{stream}', '{TYPE}', '{data}', '{metadata}'); COMMIT; \
             END LOOP; END $$"
        )
    };
    client.batch_execute(&loop_of(10)).await?;
    let begun = Instant::now();
    client.batch_execute(&loop_of(calls)).await?;
    Ok(Sample { per_second: calls as f64 / begun.elapsed().as_secs_f64(), ..Sample::default() })
}

const COLUMNS: &str = "id, stream_name, position, type, data, metadata";

/// INSERT of one row at a time over one connection.
pub async fn insert_one(url: &str, time: Duration) -> Result<Sample> {
    clear(url).await?;
    let client = connections(url, 1).await?.remove(0);
    let sql = format!(
        "INSERT INTO message_store.messages ({COLUMNS}) VALUES ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb)"
    );
    let statement = client.prepare(&sql).await?;
    closed_loop(1, time, move |_, number| {
        let (client, statement) = (Arc::clone(&client), statement.clone());
        async move {
            let (data, metadata) = (data(number), metadata(number));
            client
                .execute(&statement, &[&Uuid::new_v4(), &stream(0, 1), &(number as i64), &TYPE, &data, &metadata])
                .await?;
            Ok(1)
        }
    })
    .await
}

/// INSERT of `rows` rows at a time over `workers` connections.
pub async fn insert_many(url: &str, rows: usize, workers: usize, time: Duration) -> Result<Sample> {
    clear(url).await?;
    let sql = format!(
        "INSERT INTO message_store.messages ({COLUMNS}) SELECT id, stream_name, position, type, data::jsonb, metadata::jsonb \
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[]) \
         AS n (id, stream_name, position, type, data, metadata)"
    );
    let mut prepared = Vec::new();
    for client in connections(url, workers).await? {
        let statement = client.prepare(&sql).await?;
        prepared.push((client, statement));
    }
    let prepared = Arc::new(prepared);
    closed_loop(workers, time, move |worker, number| {
        let prepared = Arc::clone(&prepared);
        async move {
            let (client, statement) = &prepared[worker];
            let ids: Vec<Uuid> = (0..rows).map(|_| Uuid::new_v4()).collect();
            let streams: Vec<String> = (0..rows).map(|row| stream(worker * rows + row, 1)).collect();
            let positions = vec![number as i64; rows];
            let types = vec![TYPE; rows];
            let data: Vec<String> = (0..rows).map(data).collect();
            let metadata: Vec<String> = (0..rows).map(metadata).collect();
            client.execute(statement, &[&ids, &streams, &positions, &types, &data, &metadata]).await?;
            Ok(rows)
        }
    })
    .await
}

/// COPY of `rows` rows at a time, each with its own commit.
pub async fn copy(url: &str, rows: usize, workers: usize, time: Duration) -> Result<Sample> {
    clear(url).await?;
    let clients: Arc<Vec<Arc<Client>>> = Arc::new(connections(url, workers).await?);
    closed_loop(workers, time, move |worker, number| {
        let clients = Arc::clone(&clients);
        async move {
            let mut text = String::with_capacity(rows * 512);
            for row in 0..rows {
                use std::fmt::Write as _;
                let (id, stream) = (Uuid::new_v4(), stream(worker * rows + row, 1));
                writeln!(text, "{id}\t{stream}\t{number}\t{TYPE}\t{}\t{}", data(row), metadata(row))?;
            }
            let sql = format!("COPY message_store.messages ({COLUMNS}) FROM STDIN");
            let sink = clients[worker].copy_in::<_, std::io::Cursor<Vec<u8>>>(&sql).await?;
            futures_util::pin_mut!(sink);
            sink.send(std::io::Cursor::new(text.into_bytes())).await?;
            sink.as_mut().finish().await?;
            Ok(rows)
        }
    })
    .await
}
