//! F4, F8 and memory: commands of the account component, handled exactly once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use account_component::Command;
use account_component::component::command_stream;
use anyhow::{Context as _, Result};
use message_store::consumer::Consumer;
use message_store::{Append, ExpectedVersion, GlobalPosition, Json, MessageStore, NewMessage, StreamName, connect};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::bench::Bench;
use crate::databases::{clear, connect as plain};
use crate::figures::appends::append_in;
use crate::handling::{CONCURRENCY, handle, handle_in_group};
use crate::report::{Goal, Line};
use crate::rounds::{Sample, Side, closed_loop, interleave, median};

const ACCOUNTS: usize = 1_000;

/// Writes a command to open each account, then deposits to the accounts in turn. Returns the last global position.
async fn write_commands(store: &Arc<dyn MessageStore>, commands: usize) -> Result<GlobalPosition> {
    let time = "2026-01-01T00:00:00Z".parse()?;
    let mut last = GlobalPosition::ZERO;
    for first in (0..commands).step_by(ACCOUNTS) {
        let mut appends = Vec::with_capacity(ACCOUNTS);
        for number in first..commands.min(first + ACCOUNTS) {
            let account_id = (number % ACCOUNTS).to_string();
            let stream = command_stream(&account_id)?;
            let command = if number < ACCOUNTS {
                Command::Open { account_id, customer_id: "c".into(), time }
            } else {
                Command::Deposit {
                    deposit_id: number.to_string(),
                    account_id,
                    amount: "7.50".parse()?,
                    time,
                    expected_version: None,
                }
            };
            appends.push(Append::to(stream).message(NewMessage::from_variant(&command)?));
        }
        let appended = store.append(appends.into()).await?;
        last = appended.written.last().context("nothing was written")?.global_position;
    }
    Ok(last)
}

async fn handled(url: &str, processes: u16, commands: usize) -> Result<Sample> {
    clear(url).await?;
    let store = connect(url).await?;
    let last = write_commands(&store, commands).await?;
    let per_second = if processes == 1 {
        handle(&store, "first", None, last).await?.per_second(commands)?
    } else {
        handle_in_group(url, processes, last).await?.per_second(commands)?
    };
    Ok(Sample { per_second, ..Sample::default() })
}

/// Reads the entity and writes an event for each command, one at a time, with Message DB's functions.
async fn one_at_a_time(client: &Client, time: Duration) -> Result<Sample> {
    client.batch_execute("TRUNCATE message_store.messages; SET search_path = message_store, public").await?;
    let read = client.prepare("SELECT * FROM get_stream_messages($1::varchar, $2::bigint)").await?;
    let write = client
        .prepare(
            "SELECT write_message($1::varchar, $2::varchar, 'Deposited', $3::text::jsonb, $4::text::jsonb, $5::bigint)",
        )
        .await?;
    let mut versions = vec![-1_i64; ACCOUNTS];
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        let account = count % ACCOUNTS;
        let stream = format!("account-{account}");
        // This read returns only newer messages, as with a cache.
        client.query(&read, &[&stream, &(versions[account] + 1)]).await?;
        let (data, metadata) = (crate::messages::data(count), crate::messages::metadata(count));
        let id = Uuid::new_v4().to_string();
        client.query(&write, &[&id, &stream, &data, &metadata, &versions[account]]).await?;
        versions[account] += 1;
        count += 1;
    }
    Ok(Sample { per_second: count as f64 / begun.elapsed().as_secs_f64(), ..Sample::default() })
}

/// Appends the two messages that a deposit leads to, without any command: the limit of the store for them.
async fn pairs(url: &str, time: Duration) -> Result<Sample> {
    clear(url).await?;
    let store = connect(url).await?;
    closed_loop(CONCURRENCY, time, move |worker, number| {
        let store = Arc::clone(&store);
        async move {
            let number = number * CONCURRENCY + worker;
            store.append(pair(number % ACCOUNTS, number)?.to_vec().into()).await?;
            Ok(1)
        }
    })
    .await
}

/// The reservation and the event of a deposit, as the component writes them.
fn pair(account: usize, number: usize) -> Result<[Append; 2]> {
    let deposit =
        format!(r#"{{"time":"2026-01-01T00:00:00Z","amount":7.50,"accountId":"{account}","depositId":"{number}""#);
    let event = format!(r#"{deposit},"sequence":{number},"processedTime":"2026-01-01T00:00:00.000Z"}}"#);
    let metadata = |own: &str| {
        format!(
            r#"{{"messageStore":{{{own},"sequence":{number}}},"causationMessagePosition":{number},"causationMessageStreamName":"account:command-{account}","causationMessageGlobalPosition":{number}}}"#
        )
    };
    let message = |message_type: &str, data: String, own: &str| -> Result<NewMessage> {
        Ok(NewMessage::new(message_type, Json::parse(data)?).with_metadata_json(Json::parse(metadata(own))?))
    };
    let reserved = message("Reserved", deposit + "}", r#""reserves":"Deposit""#)?;
    let deposited = message("Deposited", event, r#""handler":"account""#)?;
    let key = StreamName::new(format!("accountTransaction-{account}+deposit+{number}"))?;
    Ok([
        Append::to(key).expecting(ExpectedVersion::NoStream).message(reserved),
        Append::to(StreamName::new(format!("account-{account}"))?).message(deposited),
    ])
}

/// The number of commands in one round. Processes start within the round, so it must not be short.
const COMMANDS: usize = 40_000;

pub async fn f4(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let (ours, theirs) = (bench.databases.ours("f4").await?, bench.databases.message_db("f4_message_db").await?);
    let client = plain(&theirs).await?;
    let sides = [
        Side::new("commands, 1 process", || handled(&ours, 1, COMMANDS)),
        Side::new("commands, 2 processes", || handled(&ours, 2, COMMANDS)),
        Side::new("commands, 4 processes", || handled(&ours, 4, COMMANDS)),
        Side::new("a read and a write each, one at a time", || one_at_a_time(&client, effort.time)),
        Side::new("the same two messages, 256 writers", || pairs(&ours, effort.time)),
        Side::new("appends, 256 writers, 1 category", || append_in(&ours, CONCURRENCY, 1, effort.time)),
    ];
    let samples = interleave(effort, &sides).await?;
    let line = |side: usize, what: &str, reference: &str, theirs: f64, goal: f64| Line {
        figure: "F4".into(),
        what: format!("commands handled exactly once, {what}, 1,000 accounts"),
        ours: samples[side].per_second,
        reference: reference.into(),
        theirs: Some(theirs),
        unit: "/s",
        goal: Some(Goal::AtLeast(goal)),
        errors: samples[4].errors + samples[5].errors,
        note: format!(
            "Ours reads the commands from the store, decides, and reserves each deposit's id as well: two messages a command, in two categories. \
             The reference writes one message, decides nothing and reads no commands. It is {}.",
            bench.databases.message_db_is()
        ),
    };
    let (eventide, half) = (samples[3].per_second, samples[5].per_second / 2.0);
    let pairs = Line {
        goal: None,
        ..line(0, "1 process", "the same two messages, appended by 256 writers", samples[4].per_second, 0.0)
    };
    Ok(vec![
        pairs,
        line(0, "1 process", "get_stream_messages and write_message each, one at a time", eventide, 16.0),
        line(0, "1 process", "half of the single appends of 256 writers", half, 0.95),
        line(1, "2 processes", "half of the single appends of 256 writers", half, 0.95),
        line(2, "4 processes", "half of the single appends of 256 writers", half, 0.95),
    ])
}

pub async fn f8(bench: &Bench) -> Result<Vec<Line>> {
    let effort = bench.effort;
    let url = bench.databases.ours("f8").await?;
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        clear(&url).await?;
        let store = connect(&url).await?;
        let last = write_commands(&store, COMMANDS).await?;
        first.push(handle(&store, "first", None, last).await?.per_second(COMMANDS)?);
        again.push(handle(&store, "again", None, last).await?.per_second(COMMANDS)?);
        eprintln!("  first {:.0} /s, again {:.0} /s", first[first.len() - 1], again[again.len() - 1]);
    }
    Ok(vec![Line {
        figure: "F8".into(),
        what: "a backlog delivered again, whole, to a process that remembers nothing".into(),
        ours: median(again),
        reference: "its first handling".into(),
        theirs: Some(median(first)),
        unit: "messages/s",
        goal: Some(Goal::AtLeast(6.0)),
        errors: 0,
        note: String::new(),
    }])
}

/// Handles a backlog in a separate process, and prints its peak memory.
pub async fn backlog(url: &str) -> Result<()> {
    let store = connect(url).await?;
    let category = message_store::Category::new("account0")?;
    let last = plain(url).await?.query_one("SELECT max(global_position) FROM message_store.messages", &[]).await?;
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let counting = tokio::spawn(async move {
        let mut count = 0_u64;
        while told.recv().await.is_some() {
            count += 1;
        }
        count
    });
    let begun = Instant::now();
    let consumer = Consumer::new(category.as_str(), super::wake_ups::Told(sender)).concurrency(CONCURRENCY);
    let mut running = consumer.start(&store).await?;
    running.wait_for(GlobalPosition::new(last.try_get(0)?)).await?;
    let seconds = begun.elapsed().as_secs_f64();
    running.stop().await?;
    let count = counting.await?;
    let status = std::fs::read_to_string("/proc/self/status").context("this needs Linux")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: f64 = peak.trim().trim_end_matches("kB").trim().parse()?;
    println!(
        "{}",
        serde_json::json!({ "count": count, "per_second": count as f64 / seconds, "megabytes": kilobytes / 1024.0 })
    );
    Ok(())
}

/// Measures the peak memory of a process that handles a large backlog.
pub async fn memory(bench: &Bench) -> Result<Vec<Line>> {
    let rows = if bench.effort.is_quick { 100_000 } else { 1_000_000 };
    let url = bench.databases.ours("memory").await?;
    crate::databases::fill(&url, rows).await?;
    let said: serde_json::Value = crate::processes::start("backlog", &["--url", &url]).await?;
    let figure = |name: &str| said[name].as_f64().with_context(|| format!("no {name} in {said}"));
    anyhow::ensure!(figure("count")? as usize >= rows, "{said}");
    let line = |what: String, ours, unit, goal| Line {
        figure: "Memory".into(),
        what,
        ours,
        reference: String::new(),
        theirs: None,
        unit,
        goal,
        errors: 0,
        note: "The whole process, at its peak, with a handler that does nothing.".into(),
    };
    Ok(vec![
        line(
            format!("a backlog of {rows} messages: resident at most"),
            figure("megabytes")?,
            "MB",
            Some(Goal::AtMost(200.0)),
        ),
        line(format!("a backlog of {rows} messages: handled"), figure("per_second")?, "/s", None),
    ])
}
