//! Rules of order: a reader that has passed a global position never later finds an unseen message below it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, TryStreamExt as _};
use futures_util::future::join_all;

use super::given::{append, category, numbered, stream, types};
use super::{Rule, Subject};
use crate::store::Backlog;
use crate::{Append, Batch, Category, GlobalPosition, MessageStore, MessageStoreExt as _, Read, Result};

const WRITERS: usize = 16;
const APPENDS: usize = 24;
const CATEGORIES: usize = 4;

/// Reads until the writers have ended and no message is left. Returns the messages.
async fn follow(
    store: Arc<dyn MessageStore>,
    category: Option<Category>,
    ended: Arc<AtomicBool>,
) -> BTreeSet<GlobalPosition> {
    let mut seen = BTreeSet::new();
    let mut read = Read::default().limit(10);
    loop {
        let no_more_is_written = ended.load(Ordering::SeqCst);
        let batch: Result<Batch> = match &category {
            Some(category) => store.read_category(category, read.clone()).await,
            None => store.read_all(read.clone()).await,
        };
        let batch = batch.unwrap();
        seen.extend(batch.messages.iter().map(|message| message.global_position));
        if batch.is_at_end(&read) {
            if no_more_is_written {
                return seen;
            }
            tokio::task::yield_now().await;
        }
        read.from = batch.looked_through.next();
    }
}

/// The number of messages that readers skip while 16 writers append. Some writers are slow, and some roll back.
pub async fn count_skipped(subject: &dyn Subject) -> usize {
    let store = subject.store();
    let ended = Arc::new(AtomicBool::new(false));
    let categories: Vec<Category> =
        (0..CATEGORIES).map(|number| Category::new(format!("category{number}")).unwrap()).collect();
    let readers: Vec<_> = categories
        .iter()
        .cloned()
        .map(Some)
        .chain([None])
        .map(|category| tokio::spawn(follow(store.clone(), category, Arc::clone(&ended))))
        .collect();

    join_all((0..WRITERS).map(|writer| {
        let store = store.clone();
        async move {
            for number in 0..APPENDS {
                let name = stream(&format!("category{}-{writer}", (writer + number) % CATEGORIES));
                let append = Append::to(name).message(numbered(number));
                let (milliseconds, commit) = match (writer + number * 5) % 8 {
                    0 => (20, true),
                    1 => (10, false),
                    2 => (0, true),
                    _ => {
                        store.append(append.into()).await.unwrap();
                        continue;
                    }
                };
                let meanwhile = tokio::time::sleep(Duration::from_millis(milliseconds)).boxed();
                if subject.append_slowly(append.clone(), meanwhile, commit).await.is_err() && commit {
                    store.append(append.into()).await.unwrap();
                }
            }
        }
    }))
    .await;
    ended.store(true, Ordering::SeqCst);

    let mut skipped = 0;
    for (reader, category) in readers.into_iter().zip(categories.into_iter().map(Some).chain([None])) {
        let seen = reader.await.unwrap();
        let messages: Vec<crate::Message> = match &category {
            Some(category) => store.category_messages(category, Read::default()).try_collect().await.unwrap(),
            None => store.all_messages(Read::default()).try_collect().await.unwrap(),
        };
        assert!(messages.len() >= WRITERS * APPENDS / CATEGORIES / 2, "only {} messages were written", messages.len());
        skipped += messages.iter().filter(|message| !seen.contains(&message.global_position)).count();
    }
    skipped
}

contract! {$ order order_tests {
    /// There are readers of each category and of all messages.
    async fn readers_skip_nothing_while_slow_writers_commit_and_roll_back(subject) {
        assert_eq!(count_skipped(subject).await, 0);
    }

    /// No reader waits for a position whose transaction was rolled back.
    async fn a_gap_left_by_a_rollback_stalls_no_reader(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        let rolled_back = Append::to(stream("account-2")).message(numbered(1));
        if let Err(cannot) = subject.append_slowly(rolled_back, async {}.boxed(), false).await {
            return cannot.say("a rollback after positions were drawn");
        }
        append(&*store, "account-3", &["B"]).await;
        let of_category = store.read_category(&category("account"), Read::default()).await.unwrap();
        let of_all = store.read_all(Read::default()).await.unwrap();
        for batch in [of_category, of_all] {
            assert_eq!(types(&batch.messages), ["A", "B"]);
        }
    }

    async fn an_empty_store_has_given_out_no_position(subject) {
        assert_eq!(subject.store().given_out(None).await.unwrap(), GlobalPosition::ZERO);
    }

    async fn what_was_given_out_reaches_the_last_message(subject) {
        let store = subject.store();
        for name in ["account-1", "other-1"] {
            let last = append(&*store, name, &["A", "B"]).await.written[1].global_position;
            assert!(store.given_out(None).await.unwrap() >= last);
        }
    }

    async fn what_is_written_next_stands_above_what_was_given_out(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        let given_out = store.given_out(None).await.unwrap();
        assert!(append(&*store, "account-1", &["B"]).await.written[0].global_position > given_out);
    }

    /// The messages of other categories do not count, also if their names begin in the same way.
    async fn a_backlog_is_counted_from_a_position_to_the_end_of_its_category(subject) {
        let store = subject.store();
        let backlog = async |after| store.backlog(&category("account"), after).await.unwrap();
        assert_eq!(backlog(GlobalPosition::ZERO).await, Backlog::EMPTY);
        let mut places = append(&*store, "account-1", &["A", "B"]).await.written;
        append(&*store, "account", &["C"]).await;
        append(&*store, "accountant-1", &["X"]).await;
        places.extend(append(&*store, "account-2", &["D"]).await.written);
        append(&*store, "accoun-1", &["X"]).await;
        let all = store.read_category(&category("account"), Read::default()).await.unwrap().messages;
        let end = places[2].global_position;
        for handled in 0..=all.len() {
            let after = handled.checked_sub(1).map_or(GlobalPosition::ZERO, |last| all[last].global_position);
            let oldest = all.get(handled).map(|message| message.time);
            assert_eq!(backlog(after).await, Backlog::new((all.len() - handled) as u64, oldest, end));
        }
        assert_eq!(backlog(GlobalPosition::new(end.get() + 1_000)).await, Backlog::new(0, None, end));
    }

    /// Given-out positions include those of deleted messages.
    async fn a_position_that_was_given_out_stays_so_when_its_message_is_deleted(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        let last = append(&*store, "account-1", &["B"]).await.written[0].global_position;
        let message = store.last_message(&stream("account-1"), None).await.unwrap().unwrap();
        if let Err(cannot) = subject.delete(message.id).await {
            return cannot.say("deleting a message");
        }
        assert!(store.given_out(None).await.unwrap() >= last);
    }

    /// It moves at least as far as the time that passes, and at most a little more.
    async fn the_clock_of_the_store_goes_on_as_time_passes(subject) {
        let store = subject.store();
        let (began, before) = (Instant::now(), store.now().await.unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let after = store.now().await.unwrap();
        let passed = Duration::try_from(after.duration_since(before)).expect("the clock went back");
        assert!(passed >= Duration::from_millis(40), "only {passed:?} have passed");
        assert!(passed <= began.elapsed() + Duration::from_millis(10), "{passed:?} have passed");
    }
}}
