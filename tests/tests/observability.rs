//! Metrics, spans and log records: what a run records, and that the dashboard and the alerts name what exists.
#![allow(missing_docs, clippy::unwrap_used, clippy::float_cmp)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use message_store::consumer::{Consumer, DeadLetters, ElasticGroup, OnFailure, Process};
use message_store::entity::{EntityStore, Projection, SnapshotPolicy};
use message_store::service::Service;
use message_store::telemetry::{METRICS, MetricKind, TARGETS};
use message_store::{
    Append, ExpectedVersion, Json, MessageStoreExt as _, Metadata, NewMessage, OutcomeKind, Position, Read, StreamName,
    Version, connect,
};
use message_store_tests::accounts::{self, put, send_deposits};
use message_store_tests::expire::AgeingStore;
use message_store_tests::imports::rust_files;
use message_store_tests::marked::Marked;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// The name as Prometheus shows it.
fn shown(name: &str) -> String {
    name.replace('.', "_")
}

fn recorder() -> &'static PrometheusHandle {
    static RECORDER: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    RECORDER.get_or_init(|| {
        let handle = PrometheusBuilder::new().install_recorder().unwrap();
        message_store::telemetry::describe_metrics();
        handle
    })
}

/// The values of the recorder whose lines contain all of these texts.
fn values(texts: &[&str]) -> Vec<f64> {
    let rendered = recorder().render();
    let lines = rendered.lines().filter(|line| !line.starts_with('#'));
    let wanted = lines.filter(|line| texts.iter().all(|text| line.contains(text)));
    wanted.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

async fn until(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if is_true().await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("it is not true: {what}\n{}", recorder().render());
}

/// A member of a group handles deposits, one of which fails and is retried, and a writer is refused.
async fn run(place: &AgeingStore, category: &str) {
    let store = connect(&place.url()).await.unwrap();
    let handler = Marked::new(&store, None);
    let commands = format!("{category}:command");
    let sent = send_deposits(&store, &commands, "1", 4).await;
    handler.fail(&sent[3]);
    let consumer = Consumer::new(&commands, handler.clone()).identifier("metrics").on_failure(OnFailure::Park);
    let consumer = consumer.elastic_group(ElasticGroup::new()).in_process(&Process::default());
    let mut running = consumer.poll_interval(Duration::from_millis(2)).start(&store).await.unwrap();
    running.wait_for(sent[3].global_position).await.unwrap();
    let label = format!("messaging_destination_name=\"{commands}\"");
    until("a letter is open", async || values(&["message_store_consumer_open_letters", &label]) == [1.0]).await;
    handler.mend();
    let letters = DeadLetters::of(&store, &commands, Some("metrics")).unwrap();
    let letter = letters.show(sent[3].id).await.unwrap().unwrap();
    assert!(letters.retry(&letter).await.unwrap());
    let _ = letters.wait_for_retry(&letter, Duration::from_mins(1)).await.unwrap();
    until("no letter is open", async || values(&["message_store_consumer_open_letters", &label]) == [0.0]).await;
    until("all slots are owned", async || values(&["message_store_group_owned_slots", &label]) == [64.0]).await;
    until("there is no lag", async || values(&["message_store_consumer_lag_messages", &label]) == [0.0]).await;
    let counts = running.stop().await.unwrap();
    assert_eq!(counts.retried().collect::<Vec<_>>(), [(OutcomeKind::Handled, 1)]);
    assert!(counts.to_string().contains("retried and handled 1"), "{counts}");

    let stream = StreamName::new(format!("{category}-refused")).unwrap();
    let append = Append::to(stream).expecting(ExpectedVersion::from(Version::at(Position::new(9))));
    store.append(append.message(NewMessage::new("T", Json::NULL)).into()).await.unwrap_err();
    let _ = store.read_all(Read::default().limit(1)).await.unwrap();

    let one = |texts: &[&str]| {
        let found = values(&[&[label.as_str()], texts].concat());
        assert_eq!(found.len(), 1, "{texts:?}: {found:?}\n{}", recorder().render());
        found[0]
    };
    assert_eq!(one(&["messaging_client_sent_messages"]), 4.0);
    assert_eq!(one(&["messaging_client_consumed_messages", "outcome=\"handled\""]), 3.0);
    assert_eq!(one(&["messaging_client_consumed_messages", "outcome=\"parked\""]), 1.0);
    assert_eq!(one(&["message_store_consumer_retried_messages", "outcome=\"handled\""]), 1.0);
    assert_eq!(one(&["message_store_consumer_late_messages"]), 0.0);
    assert!(one(&["messaging_process_duration_count"]) >= 4.0);
    assert_eq!(one(&["message_store_group_unowned_slots"]), 0.0);
    assert_eq!(one(&["message_store_consumer_outage_duration"]), 0.0);
    let conflicts = values(&["message_store_append_conflicts", &format!("messaging_destination_name=\"{category}\"")]);
    assert_eq!(conflicts, [1.0]);
}

/// An entity of which a snapshot is taken.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
struct Seen {}

impl Projection for Seen {
    const CATEGORY: &'static str = "pgaccount";
    type Event = accounts::Event;

    fn apply(&mut self, _: &accounts::Event) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_records_its_metrics_on_postgres() {
    let _ = recorder();
    let place = AgeingStore::postgres().await;
    run(&place, "pgaccount").await;
    // Two writers of one category, in two processes, wait for each other.
    let (one, other) = (connect(&place.url()).await.unwrap(), connect(&place.url()).await.unwrap());
    until("a batch has waited for a lock", async || {
        let writing = [&one, &other].map(|store| {
            let store = Arc::clone(store);
            tokio::spawn(async move { send_deposits(&store, "pglocked", "1", 20).await })
        });
        for written in writing {
            written.await.unwrap();
        }
        values(&["message_store_append_lock_wait_duration_count"]).iter().any(|count| *count > 0.0)
    })
    .await;
    let entities = EntityStore::<Seen>::new(&one).snapshots(SnapshotPolicy::every(1));
    drop(entities.fetch("1").await.unwrap());
    let service = Service::new(&one).start().await.unwrap();
    until("the timers were looked at", async || !values(&["message_store_timers_lateness"]).is_empty()).await;
    service.stop();
    service.ended().await.unwrap();
    let rendered = recorder().render();
    for metric in METRICS {
        let name = shown(metric.name);
        assert!(rendered.lines().any(|line| line.starts_with(&name)), "{name} was not recorded\n{rendered}");
    }
    assert!(!rendered.contains("pgaccount-") && !rendered.contains("command-1"), "a stream is a label");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_records_its_metrics_on_sqlite() {
    let _ = recorder();
    run(&AgeingStore::sqlite(), "sqliteaccount").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_age_of_the_horizon_grows_while_a_transaction_is_open() {
    let _ = recorder();
    let AgeingStore::Postgres(database) = AgeingStore::postgres().await else { unreachable!() };
    let store = connect(database.url()).await.unwrap();
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    let _driver = tokio::spawn(connection);
    client
        .batch_execute("BEGIN; SELECT message_store.write_message(gen_random_uuid()::varchar, 'slow-1', 'T', '{}')")
        .await
        .unwrap();
    put(&store, "quick-1", "T", "{}", "{}").await;
    until("the age grows", async || {
        let _ = store.read_all(Read::default()).await.unwrap();
        values(&["message_store_horizon_age"])[0] > 0.1
    })
    .await;
    client.batch_execute("COMMIT").await.unwrap();
    let _ = store.read_all(Read::default()).await.unwrap();
    assert_eq!(values(&["message_store_horizon_age"]), [0.0]);
}

/// The words of a text that look like metrics.
fn named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let is_metric = |word: &&str| {
        ["messaging_client_", "messaging_process_", "message_store_"].iter().any(|prefix| word.starts_with(prefix))
    };
    words.filter(is_metric).map(str::to_owned).collect()
}

#[test]
fn the_dashboard_and_the_alerts_name_metrics_that_exist_and_the_dashboard_names_all() {
    let known: BTreeSet<String> = METRICS.iter().map(|metric| shown(metric.name)).collect();
    let read = |file: &str| std::fs::read_to_string(folder("docs/observability").join(file)).unwrap();
    let (dashboard, alerts) = (read("grafana-dashboard.json"), read("alert-rules.yaml"));
    let _: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    for named in [named_in(&dashboard), named_in(&alerts)] {
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(!named.is_empty() && unknown.is_empty(), "{unknown:?}");
    }
    let hidden: Vec<_> = known.difference(&named_in(&dashboard)).cloned().collect();
    assert!(hidden.is_empty(), "the dashboard does not show {hidden:?}");
}

#[test]
fn the_guide_lists_all_metrics_with_units_and_labels() {
    let guide = std::fs::read_to_string(folder("docs/guide/src/running-it.md")).unwrap();
    for metric in METRICS {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let mut line = format!("| `{}` | {kind} | {} |", metric.name, metric.unit);
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        write!(line, " {labels}").unwrap();
        let line = line.trim_end();
        assert!(guide.contains(line), "the guide lacks this line: {line}");
        assert!(guide.contains(metric.description), "the guide lacks: {}", metric.description);
    }
}

/// Each log record and each span has the target of its folder.
#[test]
fn log_records_have_the_targets_of_their_folders() {
    let source = folder("message-store/src");
    let mut used = BTreeSet::new();
    for file in rust_files(&source) {
        let text = std::fs::read_to_string(&file).unwrap();
        let room = file.strip_prefix(&source).unwrap().components().next().unwrap();
        let room = room.as_os_str().to_string_lossy().into_owned();
        for (place, _) in text.match_indices("tracing::") {
            let call = &text[place + "tracing::".len()..];
            let macros = ["warn!(", "info!(", "debug!(", "error!(", "trace!(", "debug_span!(", "info_span!("];
            let Some(name) = macros.iter().find(|name| call.starts_with(**name)) else { continue };
            let target = format!("target: \"message_store::{room}\"");
            let arguments = call[name.len()..].trim_start();
            assert!(arguments.starts_with(&target), "{}: {}", file.display(), &call[..call.len().min(80)]);
            used.insert(format!("message_store::{room}"));
        }
    }
    let known: BTreeSet<String> = TARGETS.iter().map(|target| (*target).to_owned()).collect();
    assert_eq!(used, known);
}

/// The fields of the spans `process`.
#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "message_store::consumer" && *metadata.level() == Level::DEBUG
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock().unwrap();
        let mut fields = BTreeMap::from([("name".to_owned(), attributes.metadata().name().to_owned())]);
        attributes.record(&mut Fields(&mut fields));
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = self.0.lock().unwrap();
        let index = usize::try_from(span.into_u64()).unwrap() - 1;
        values.record(&mut Fields(&mut spans[index]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_delivery_is_a_span_with_the_trace_context_of_its_message() {
    let spans = Spans::default();
    // The consumer's tasks run in this thread.
    let _collecting = tracing::subscriber::set_default(spans.clone());
    let store = connect("sqlite::memory:").await.unwrap();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let metadata = Metadata::new().trace(parent, Some("vendor=1"));
    let command = NewMessage::new("Deposit", Json::parse(r#"{"amount":1}"#).unwrap()).with_metadata(&metadata).unwrap();
    let id = command.id;
    let stream = StreamName::new("account:command-1").unwrap();
    store.append_to(&stream, ExpectedVersion::Any, vec![command]).await.unwrap();
    let handler = Marked::new(&store, None);
    let mut running = handler.start(&store, OnFailure::Stop).await;
    let message = store.message(id).await.unwrap().unwrap();
    running.wait_for(message.global_position).await.unwrap();
    let _ = running.stop().await.unwrap();
    let span = spans.0.lock().unwrap().iter().find(|span| span["name"] == "process").unwrap().clone();
    assert_eq!((span["traceparent"].as_str(), span["tracestate"].as_str()), (parent, "vendor=1"));
    assert_eq!(span["messaging.destination.name"], "account:command");
    assert_eq!(span["messaging.message.id"], id.to_string());
    assert_eq!(span["global_position"], message.global_position.to_string());
    // The event that follows carries the context on.
    let events = message_store_tests::accounts::messages_of(&store, "account").await;
    assert_eq!(events[0].decode_metadata().traceparent.as_deref(), Some(parent));
}
