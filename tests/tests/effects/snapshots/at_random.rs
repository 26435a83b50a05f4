//! The state with any policy is the state of a replay, whatever is written, redelivered, forgotten and by whom.

use message_store::entity::{EntityStore, SnapshotBug, SnapshotPolicy};
use message_store::handling::CommandHandler;
use message_store::{Message, OutcomeKind};
use message_store_tests::accounts::{put, sqlite};
use message_store_tests::random::{Random, setting};

use super::tally::{Store, Tally, send};

const STEPS: usize = 10;

fn process(store: &Store, random: &mut Random, bug: Option<SnapshotBug>) -> CommandHandler<Tally> {
    let every = [None, Some(1), Some(2), Some(3), Some(5)][random.below(5)];
    let entities = match every {
        None => EntityStore::new(store),
        Some(every) => EntityStore::new(store).snapshots(SnapshotPolicy::every(every)),
    };
    CommandHandler::with_entities(match bug {
        None => entities,
        Some(bug) => entities.plant_in_snapshots(bug),
    })
}

/// One case. Returns what went wrong.
async fn case(store: &Store, seed: u64, bug: Option<SnapshotBug>) -> Result<(), String> {
    let (mut random, id) = (Random(seed), format!("{seed}"));
    let mut processes: Vec<CommandHandler<Tally>> = (0..2).map(|_| process(store, &mut random, bug)).collect();
    // The commands, and whether each was handled.
    let mut sent: Vec<(Message, bool)> = Vec::new();
    for _ in 0..STEPS {
        let process_number = random.below(2);
        match random.below(8) {
            0 => processes[process_number] = process(store, &mut random, bug),
            1 => drop(put(store, &format!("tally-{id}"), "Noted", "{}", "null").await),
            2 => drop(put(store, &format!("tally-{id}"), "Added", r#"{"number":5}"#, "null").await),
            // It is handled later: late, or never.
            3 => sent.push((send(store, &id, i64::try_from(random.below(100)).unwrap()).await, false)),
            4 if !sent.is_empty() => {
                let number = random.below(sent.len());
                let (again, was_handled) = &mut sent[number];
                let outcome = processes[process_number].carry_out(again).await.map_err(|error| error.to_string())?;
                if *was_handled != (outcome.kind() == OutcomeKind::AlreadyProcessed) {
                    return Err(format!("a command that was handled ({was_handled}) was {outcome}"));
                }
                *was_handled = true;
            }
            _ => {
                let command = send(store, &id, i64::try_from(random.below(100)).unwrap()).await;
                let _ = processes[process_number].carry_out(&command).await.map_err(|error| error.to_string())?;
                sent.push((command, true));
            }
        }
        processes[process_number].entities().snapshots_written().await;
    }
    let replayed = EntityStore::<Tally>::new(store).fetch(&id).await.map_err(|error| error.to_string())?;
    for every in [1, 3, 1_000_000] {
        let entities = EntityStore::<Tally>::new(store).snapshots(SnapshotPolicy::every(every));
        let entities = match bug {
            Some(bug) => entities.plant_in_snapshots(bug),
            None => entities,
        };
        for _ in 0..2 {
            let loaded = entities.fetch(&id).await.map_err(|error| error.to_string())?;
            if loaded != replayed {
                return Err(format!("with a snapshot every {every}: {loaded:?}, and not {replayed:?}"));
            }
        }
        entities.snapshots_written().await;
    }
    for process in &processes {
        let remembered = process.entities().fetch(&id).await.map_err(|error| error.to_string())?;
        if remembered != replayed {
            return Err(format!("remembered: {remembered:?}, and not {replayed:?}"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_any_policy_the_entity_is_that_of_a_replay() {
    let cases = setting("MESSAGE_STORE_SNAPSHOT_CASES").unwrap_or(300);
    let first = setting("MESSAGE_STORE_SNAPSHOT_SEED").unwrap_or(1);
    let store = sqlite().await;
    for seed in first..first + cases {
        case(&store, seed, None).await.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}

/// The number of the first cases that go wrong.
async fn wrong_cases(bug: SnapshotBug) -> usize {
    let store = sqlite().await;
    let mut wrong = 0;
    for seed in 1..=20 {
        wrong += usize::from(case(&store, seed, Some(bug)).await.is_err());
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_with_snapshots_that_name_the_version_before_events_are_applied_twice() {
    assert!(wrong_cases(SnapshotBug::VersionMinusOne).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_with_snapshots_of_the_state_alone_the_marks_are_lost() {
    assert!(wrong_cases(SnapshotBug::StateAlone).await > 0);
}
