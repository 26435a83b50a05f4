//! Rules of writers with conditions that write at the same time: of those with one boundary, one writes; others do not
//! disturb each other.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{join, join_all};

use super::conditions::{all_of, conditions_of, tag, tagged};
use super::fences::fenced_by_an_owner;
use super::given::{append, append_one, is_empty, numbered, stream, to, types_in};
use super::keys::{answer, claim, keys_of, take};
use super::{Rule, Subject};
use crate::store::QueryItem;
use crate::{Append, AppendRequest, Appended, Error, MessageStore, Result};

/// The writers that race for one boundary.
const RACERS: usize = 64;

fn email(number: usize) -> String {
    format!("email:{number}")
}

/// Registers a user, unless another one has the address.
fn registration(user: &str, email: &str) -> AppendRequest {
    let append = Append::to(stream(&format!("user-{user}"))).message(tagged("Registered", &[email]));
    AppendRequest::from(append).unless(all_of("user").types(["Registered"]).tag(tag(email)))
}

/// Whether the append was written. It may only be refused by its condition.
fn is_written(result: &Result<Appended>) -> bool {
    assert!(matches!(result, Ok(_) | Err(Error::ConditionFailed { .. })), "{result:?}");
    result.is_ok()
}

/// The numbers of writers, of 64 that register one address at the same time, that have written: one for each round.
pub async fn writers_of_one_boundary(store: &dyn MessageStore, rounds: usize) -> Vec<usize> {
    let mut writers = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let race = (0..RACERS).map(|racer| store.append(registration(&format!("{round}x{racer}"), &email(round))));
        // A backend may send appends together. While it sends the first one, those of the race gather.
        let first = append(store, "other-1", &["First"]);
        let (_, race) = join(first, join_all(race)).await;
        writers.push(race.iter().filter(|result| is_written(result)).count());
    }
    writers
}

contract! {$ boundaries boundaries_tests {
    async fn of_writers_with_one_boundary_one_writes(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        assert_eq!(writers_of_one_boundary(&*store, 3).await, [1; 3]);
    }

    /// Each handle is another process, whose appends are sent separately.
    async fn of_processes_with_one_boundary_one_writes(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        let other = match subject.reopen().await {
            Ok(other) => other,
            Err(cannot) => return cannot.say("writers of several processes"),
        };
        for round in 0..10 {
            let race = (0..8).map(|racer| {
                let store = if racer % 2 == 0 { &store } else { &other };
                store.append(registration(&format!("{round}x{racer}"), &email(round)))
            });
            assert_eq!(join_all(race).await.iter().filter(|result| is_written(result)).count(), 1, "in round {round}");
        }
    }

    async fn writers_with_disjoint_boundaries_all_write(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        for round in 0..3 {
            let writers = (0..RACERS).map(|number| store.append(registration(&number.to_string(), &email(round * RACERS + number))));
            assert!(join_all(writers).await.iter().all(is_written), "in round {round}");
        }
    }

    /// Each of a pair writes to one category, on the condition that the other category has nothing of the pair.
    async fn of_two_writers_that_each_exclude_the_other_at_most_one_writes(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        let side = |own: &str, other: &str, pair: usize| {
            let text = format!("pair:{pair}");
            let append = Append::to(stream(&format!("{own}-{pair}"))).message(tagged("Taken", &[&text]));
            store.append(AppendRequest::from(append).unless(all_of(other).tag(tag(&text))))
        };
        let pairs = (0..32).flat_map(|pair| [side("left", "right", pair), side("right", "left", pair)]);
        let written: Vec<bool> = join_all(pairs).await.iter().map(is_written).collect();
        for (pair, sides) in written.chunks(2).enumerate() {
            assert_eq!(sides.iter().filter(|is_written| **is_written).count(), 1, "of pair {pair}");
        }
    }

    /// Another program's transaction writes a message that matches, and is not committed yet.
    async fn a_condition_waits_for_a_writer_of_its_category(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        for (round, commit) in [(0, true), (1, false)] {
            let (own, others) = (stream(&format!("appended-{round}")), stream(&format!("user-{round}")));
            let request = AppendRequest::from(Append::to(own.clone()).message(numbered(round)))
                .unless(all_of("user").tag(tag(&email(round))));
            let mut appending = None;
            let meanwhile = async {
                let store = store.clone();
                appending = Some(tokio::spawn(async move { store.append(request).await }));
                tokio::time::sleep(Duration::from_millis(30)).await;
            };
            let other = Append::to(others.clone()).message(tagged("Registered", &[&email(round)]));
            if let Err(cannot) = subject.append_slowly(other, meanwhile.boxed(), commit).await {
                return cannot.say("a writer of another program");
            }
            let is_written = is_written(&appending.unwrap().await.unwrap());
            let [own, other] = [store.last_message(&own, None).await.unwrap(), store.last_message(&others, None).await.unwrap()];
            // A writer that draws its positions when it commits may come later.
            let is_before = own.as_ref().zip(other).is_some_and(|(own, other)| own.global_position < other.global_position);
            assert_eq!(own.is_some(), is_written);
            assert!(is_written != commit || is_before, "commit: {commit}, written: {is_written}");
        }
    }

    /// A backend may send appends together. Each still has its own result.
    async fn an_append_whose_condition_fails_does_not_fail_its_neighbours(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append_one(&*store, "user-0", tagged("Registered", &["email:taken"])).await;
        let appends = (0..32).map(|number| {
            let store = store.clone();
            async move {
                match number % 4 {
                    0 => store.append(registration(&format!("a{number}"), "email:taken")).await,
                    1 => store.append(registration(&format!("b{number}"), &email(number))).await,
                    _ => store.append(Append::to(stream(&format!("user-c{number}"))).message(numbered(number)).into()).await,
                }
            }
        });
        let written: Vec<bool> = join_all(appends).await.iter().map(is_written).collect();
        assert_eq!(written, (0..32).map(|number| number % 4 != 0).collect::<Vec<_>>());
    }

    async fn a_key_is_not_taken_if_a_condition_fails(subject) {
        let store = subject.store();
        let (Some(_), Some(keys)) = (conditions_of(&*store), keys_of(&*store)) else { return };
        append(&*store, "user-1", &["Registered"]).await;
        let request = |item: QueryItem| AppendRequest::from(to("mail-1", &["Sent"])).unless(item);
        let refused = keys.append_once(&claim("k"), request(all_of("user")), answer("first")).await;
        assert!(matches!(refused, Err(Error::ConditionFailed { .. })), "{refused:?}");
        assert!(is_empty(&*store, "mail-1").await);
        assert_eq!(keys.append_once(&claim("k"), request(all_of("none")), answer("first")).await.unwrap(), None);
        assert!(!take(keys, &claim("k")).await);
        assert_eq!(types_in(&*store, "mail-1").await, ["Sent"]);
    }

    async fn an_append_keeps_its_condition_beside_a_fence(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        let Some((owner, loser)) = fenced_by_an_owner(&*store).await else { return };
        append(&*store, "user-1", &["Registered"]).await;
        let request = |item: QueryItem| AppendRequest::from(to("mail-1", &["Sent"])).unless(item);
        let refused = store.append(request(all_of("user")).fenced_by(owner.clone())).await;
        assert!(matches!(refused, Err(Error::ConditionFailed { .. })), "{refused:?}");
        let refused = store.append(request(all_of("none")).fenced_by(loser)).await;
        assert!(matches!(refused, Err(Error::SlotLost { .. })), "{refused:?}");
        assert!(is_empty(&*store, "mail-1").await);
        store.append(request(all_of("none")).fenced_by(owner)).await.unwrap();
        assert_eq!(types_in(&*store, "mail-1").await, ["Sent"]);
    }
}}
