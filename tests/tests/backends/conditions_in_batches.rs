//! Appends that share a call of `append_messages_unless` have the answers that they have one after the other.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::connect;
use message_store_tests::message_db;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::{Random, setting};
use serde_json::{Value, json};
use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

const APPEND: &str = "SELECT positions, global_positions, refusals, written_before \
    FROM message_store.append_messages_unless($1, $2, $3, $4, $5, $6, $7, $8, $9::text[]::jsonb[], $10::text[]::jsonb[], \
      $11, $12::text[]::jsonb[])";

/// One append: its streams with the versions that it expects, and its messages.
#[derive(Clone, Debug)]
struct Append {
    parts: Vec<(String, Option<i64>, Vec<Written>)>,
    condition: Option<Value>,
}

#[derive(Clone, Debug)]
struct Written {
    id: Uuid,
    message_type: String,
    tags: Value,
}

/// What a message, or an append, was answered.
#[derive(Debug, PartialEq)]
struct Answers {
    places: Vec<(Option<i64>, Option<i64>)>,
    refusals: Vec<Option<Value>>,
    written_before: Vec<bool>,
}

async fn call(client: &impl GenericClient, batch: &[Append], is_simple: bool, wait_for: Option<&str>) -> Answers {
    let (mut names, mut append_parts, mut streams, mut expected, mut sizes) =
        (Vec::new(), vec![], vec![], vec![], vec![]);
    let (mut ids, mut types, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
    for append in batch {
        append_parts.push(i32::try_from(append.parts.len()).unwrap());
        for (stream, version, messages) in &append.parts {
            let number = names.iter().position(|name| name == stream).unwrap_or_else(|| {
                names.push(stream.clone());
                names.len() - 1
            });
            streams.push(i32::try_from(number).unwrap() + 1);
            expected.push(*version);
            sizes.push(i32::try_from(messages.len()).unwrap());
            for Written { id, message_type, tags } in messages {
                ids.push(*id);
                types.push(message_type.clone());
                metadata.push(json!({ "messageStore": { "tags": tags } }).to_string());
            }
        }
    }
    let known: Vec<Option<i64>> = vec![None; names.len()];
    let data = vec!["{}"; ids.len()];
    let conditions: Vec<Option<String>> =
        batch.iter().map(|append| append.condition.as_ref().map(Value::to_string)).collect();
    let (streams, sizes) = if is_simple { (None, None) } else { (Some(streams), Some(sizes)) };
    let row = client
        .query_one(
            APPEND,
            &[
                &names,
                &known,
                &append_parts,
                &streams,
                &expected,
                &sizes,
                &ids,
                &types,
                &data,
                &metadata,
                &wait_for,
                &conditions,
            ],
        )
        .await
        .unwrap();
    let positions: Vec<Option<i64>> = row.get(0);
    let global_positions: Vec<Option<i64>> = row.get(1);
    let refusals: Vec<Option<String>> = row.get(2);
    Answers {
        places: positions.into_iter().zip(global_positions).collect(),
        refusals: refusals.into_iter().map(|refusal| refusal.map(|text| text.parse().unwrap())).collect(),
        written_before: row.get(3),
    }
}

/// Few streams, types and tags, so that appends often meet. Some messages have the ids of messages of before.
fn at_random(random: &mut Random, before: &[Append], is_simple: bool) -> Vec<Append> {
    let stream = |random: &mut Random| {
        format!("{}-{}{}", ["a", "b"][random.below(2)], random.below(4), ["", "+x"][random.below(4) / 3])
    };
    let some_tags = |random: &mut Random| -> Vec<String> {
        (0..random.below(3)).map(|_| format!("tag:{}", random.below(6))).collect()
    };
    let mut batch: Vec<Append> = Vec::new();
    for _ in 0..=random.below(8) {
        if !before.is_empty() && random.below(6) == 0 {
            let again = &before[random.below(before.len())];
            let id = again.parts[0].2[0].id;
            let is_there = |append: &Append| append.parts.iter().any(|part| part.2.iter().any(|m| m.id == id));
            if (!is_simple || again.parts.len() == 1 && again.parts[0].2.len() == 1)
                && !batch.iter().any(is_there)
                && !(is_simple && batch.iter().any(|append| append.parts[0].0 == again.parts[0].0))
            {
                batch.push(again.clone());
                continue;
            }
        }
        let mut parts: Vec<(String, Option<i64>, Vec<Written>)> = Vec::new();
        for _ in 0..if is_simple { 1 } else { 1 + random.below(2) } {
            let name = stream(random);
            let is_taken = |parts: &[(String, Option<i64>, Vec<Written>)]| parts.iter().any(|part| part.0 == name);
            if is_taken(&parts) || is_simple && batch.iter().any(|append| is_taken(&append.parts)) {
                continue;
            }
            let expected = [None, None, Some(i64::try_from(random.below(5)).unwrap() - 1)][random.below(3)];
            let messages = (0..if is_simple { 1 } else { 1 + random.below(2) }).map(|_| Written {
                id: Uuid::new_v4(),
                message_type: ["T", "U"][random.below(2)].to_owned(),
                tags: if random.below(9) == 0 { json!({ "tag:1": 1 }) } else { json!(some_tags(random)) },
            });
            parts.push((name, expected, messages.collect()));
        }
        if parts.is_empty() {
            continue;
        }
        let mut items = Vec::new();
        for _ in 0..random.below(3) {
            let tags = some_tags(random);
            let category = ["a", "b"][random.below(2)];
            let types = [Value::Null, json!(["T"])][random.below(2)].clone();
            let cardinal_id = [Value::Null, json!(random.below(4).to_string())][random.below(2)].clone();
            let tags = if tags.is_empty() { Value::Null } else { json!(tags) };
            let after = random.below(3) * 5;
            items.push(json!({ "category": category, "after": after, "types": types, "cardinal_id": cardinal_id, "tags": tags }));
        }
        batch.push(Append { parts, condition: (!items.is_empty()).then_some(Value::Array(items)) });
    }
    batch
}

/// Makes the appends of each batch in one call, and one after the other in another database. Returns the batches with
/// other answers, of `count`, and the number of appends that were refused for their conditions.
async fn different(count: usize, seed: u64, sabotage: Option<(&str, &str, &str)>) -> (usize, usize) {
    let (together, apart) = (TestDatabase::create().await, TestDatabase::create().await);
    let mut clients: Vec<Client> = Vec::new();
    for database in [&together, &apart] {
        drop(connect(database.url()).await.unwrap());
        clients.push(message_db::connect(database.url(), None).await);
    }
    if let Some((function, sound, wrong)) = sabotage {
        together.replace_in_function(function, sound, wrong).await;
    }
    let mut random = Random(seed);
    let (mut other, mut matched) = (0, 0);
    for number in 0..count {
        // The history begins anew, so that most streams are short and many conditions hold.
        if number % 12 == 0 {
            for client in &clients {
                let empty = "TRUNCATE message_store.messages; \
                             ALTER SEQUENCE message_store.messages_global_position_seq RESTART";
                client.batch_execute(empty).await.unwrap();
            }
        }
        let mut before = Vec::new();
        let is_simple = number % 2 == 0;
        for _ in 0..3 {
            let batch = at_random(&mut random, &before, is_simple);
            if batch.is_empty() {
                continue;
            }
            let whole = call(&clients[0], &batch, is_simple, None).await;
            let mut one_by_one = Answers { places: vec![], refusals: vec![], written_before: vec![] };
            let transaction = clients[1].transaction().await.unwrap();
            for append in &batch {
                let answer = call(&transaction, std::slice::from_ref(append), is_simple, None).await;
                one_by_one.places.extend(answer.places);
                one_by_one.refusals.extend(answer.refusals);
                one_by_one.written_before.extend(answer.written_before);
            }
            transaction.commit().await.unwrap();
            matched += whole.refusals.iter().flatten().filter(|refusal| refusal.get("matched").is_some()).count();
            if whole != one_by_one {
                other += 1;
                assert!(
                    sabotage.is_some(),
                    "seed {seed}, batch {number}: {batch:#?}\ntogether {whole:#?}\none by one {one_by_one:#?}"
                );
            }
            before.extend(batch);
        }
    }
    (other, matched)
}

#[tokio::test]
async fn appends_with_conditions_in_one_call_have_the_answers_of_single_calls() {
    let seed = setting("MESSAGE_STORE_SEED").unwrap_or(7);
    let count = usize::try_from(setting("MESSAGE_STORE_BATCHES").unwrap_or(150)).unwrap();
    let (other, matched) = different(count, seed, None).await;
    assert_eq!(other, 0);
    assert!(matched > count / 2, "only {matched} conditions failed");
}

/// A condition does not see the appends before it in the call.
#[tokio::test]
async fn twin_without_ends_of_runs_appends_have_other_answers() {
    let sabotage = ("append_messages_unless", "sees[last_append + 1] < first_append", "true");
    assert!(different(150, 7, Some(sabotage)).await.0 > 0);
}

/// An append expects the version that a stream has after the append before it, so its condition counts.
#[tokio::test]
async fn twin_if_an_append_shares_a_run_with_one_of_its_stream_appends_have_other_answers() {
    let sabotage = ("appends_in_sight", "'stream ' || p.name FROM parts AS p WHERE", "'' FROM parts AS p WHERE");
    assert!(different(600, 7, Some(sabotage)).await.0 > 0);
}
