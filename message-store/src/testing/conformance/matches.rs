//! Rules of reads of the messages that match a query, and of the positions up to which they looked.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::conditions::{all_of, conditions_of, is_refused, tag, tagged};
use super::given::{append, append_one, category, message, stream, types};
use super::{Rule, Subject};
use crate::store::{Condition, LookedThrough, Query};
use crate::{Append, GlobalPosition};

contract! {$ matches matches_tests {
    async fn matches_are_read_in_the_order_of_their_positions_each_once(subject) {
        let store = subject.store();
        let Some(conditions) = conditions_of(&*store) else { return };
        append_one(&*store, "user-1", tagged("A", &["a:1"])).await;
        append_one(&*store, "admin-1", tagged("B", &["a:1"])).await;
        append_one(&*store, "user-2", tagged("C", &["a:2"])).await;
        append_one(&*store, "user-3", tagged("D", &["a:1"])).await;
        append_one(&*store, "other-3", tagged("E", &["a:1"])).await;
        let query = all_of("admin").or(all_of("user").tag(tag("a:1"))).or(all_of("user").types(["A", "D"]));
        let found = conditions.all_matches(&query).await.unwrap();
        assert_eq!(types(&found.messages), ["A", "B", "D"]);
        assert!(found.messages.is_sorted_by(|a, b| a.global_position < b.global_position));
    }

    async fn a_read_of_matches_begins_after_its_positions(subject) {
        let store = subject.store();
        let Some(conditions) = conditions_of(&*store) else { return };
        let first = append(&*store, "user-1", &["A"]).await.written[0];
        append(&*store, "admin-1", &["B"]).await;
        append(&*store, "user-1", &["C"]).await;
        let query = || all_of("user").or_of(category("admin"));
        let through = LookedThrough::default().with(category("user"), first.global_position);
        let found = conditions.matches(&query().after(through), 10).await.unwrap();
        assert_eq!(types(&found.messages), ["B", "C"]);
        let found = conditions.matches(&query().after(first.global_position), 10).await.unwrap();
        assert_eq!(types(&found.messages), ["B", "C"]);
    }

    async fn a_read_of_matches_goes_on_where_the_one_before_it_ended(subject) {
        let store = subject.store();
        let Some(conditions) = conditions_of(&*store) else { return };
        for number in 0..7 {
            let name = if number % 3 == 0 { "admin-1" } else { "user-1" };
            append_one(&*store, name, tagged(&format!("T{number}"), &["a:1"])).await;
            append(&*store, "user-2", &["Other"]).await;
        }
        let item = all_of("user").or_of(category("admin")).tag(tag("a:1"));
        let (mut condition, mut seen) = (Condition::from(item), Vec::new());
        loop {
            let found = conditions.matches(&condition, 2).await.unwrap();
            assert!(found.messages.len() <= 2);
            seen.extend(found.messages.into_iter().map(|message| message.message_type));
            condition.after = found.looked_through;
            if !found.has_more {
                break;
            }
        }
        assert_eq!(seen, (0..7).map(|number| format!("T{number}")).collect::<Vec<_>>());
    }

    /// Each read returns at least one message, and no more bytes than the store's limits allow.
    async fn a_read_of_matches_keeps_to_the_limits_of_a_batch(subject) {
        let store = subject.store();
        let Some(conditions) = conditions_of(&*store) else { return };
        let limits = *store.limits();
        let size = limits.message_bytes - 100;
        let count = limits.batch_bytes / size + 2;
        for _ in 0..count {
            append_one(&*store, "user-1", super::given::sized(size)).await;
        }
        let found = conditions.matches(&all_of("user").into(), 1_000).await.unwrap();
        let bytes: usize = found.messages.iter().map(|message| message.data.len()).sum();
        assert!(bytes <= limits.batch_bytes && found.has_more, "{bytes} bytes");
        assert_eq!(conditions.all_matches(&all_of("user").into()).await.unwrap().messages.len(), count);
    }

    /// Two read the same boundary, or one reads it twice.
    async fn an_append_after_a_read_of_its_matches_is_written(subject) {
        let store = subject.store();
        let Some(conditions) = conditions_of(&*store) else { return };
        append_one(&*store, "user-1", tagged("A", &["a:1"])).await;
        append_one(&*store, "user-2", tagged("B", &["a:2"])).await;
        let item = all_of("user").tag(tag("a:1"));
        let twice: Query = item.clone().or(item);
        let _ = conditions.all_matches(&twice).await.unwrap();
        let found = conditions.all_matches(&twice).await.unwrap();
        assert!(!is_refused(&*store, twice.clone().after(found.looked_through.clone())).await);
        append_one(&*store, "user-3", tagged("C", &["a:1"])).await;
        assert!(is_refused(&*store, twice.after(found.looked_through)).await);
    }

    /// One position for both categories would be the lower one, which is below a message that was read.
    async fn a_category_without_news_does_not_make_conditions_fail(subject) {
        let store = subject.store();
        let Some(conditions) = conditions_of(&*store) else { return };
        append(&*store, "idle-1", &["A"]).await;
        for _ in 0..3 {
            append(&*store, "busy-1", &["B"]).await;
            let query = Query::from(all_of("idle").or_of(category("busy")).or_of(category("empty")));
            let found = conditions.all_matches(&query).await.unwrap();
            assert!(!is_refused(&*store, query.after(found.looked_through)).await);
        }
    }

    /// A writer of one category has drawn a position and is not committed, while a reader sees a higher position of the other
    /// category.
    async fn a_message_that_a_read_of_matches_did_not_see_makes_the_condition_fail(subject) {
        let store = subject.store();
        let Some(conditions) = conditions_of(&*store) else { return };
        let query = || Query::from(all_of("slow").or_of(category("quick")));
        append(&*store, "slow-1", &["A"]).await;
        for limit in [1, 2, 1_000] {
            let (found, mut quick) = (std::sync::Mutex::new(None), None);
            let meanwhile = async {
                let writer = store.clone();
                let mut writing = tokio::spawn(async move {
                    append(&*writer, "quick-1", &["B"]).await;
                    append(&*writer, "quick-1", &["C"]).await;
                });
                // Where all writers take turns, this one waits for the other.
                let _ = tokio::time::timeout(Duration::from_millis(100), &mut writing).await;
                quick = Some(writing);
                // With a limit, the last read ends at a message of the other category.
                let mut condition = Condition::from(query());
                loop {
                    let read = conditions.matches(&condition, limit).await.unwrap();
                    condition.after = read.looked_through;
                    let is_last = read.messages.last().is_some_and(|last| last.message_type == "C");
                    if is_last || !read.has_more {
                        break;
                    }
                }
                *found.lock().unwrap() = Some(condition.after);
            };
            let slow = Append::to(stream("slow-1")).message(message("Slow"));
            if let Err(cannot) = subject.append_slowly(slow, meanwhile.boxed(), true).await {
                return cannot.say("a writer of another program");
            }
            if let Some(quick) = quick.filter(|quick| !quick.is_finished()) {
                quick.await.unwrap();
            }
            let looked_through: LookedThrough = found.into_inner().unwrap().unwrap();
            let slow = store.last_message(&stream("slow-1"), None).await.unwrap().unwrap();
            assert!(slow.global_position > looked_through.of(&category("slow")), "limit {limit}: {looked_through:?}");
            assert!(is_refused(&*store, query().after(looked_through)).await);
        }
    }

    async fn a_query_without_matches_is_read_to_the_end(subject) {
        let store = subject.store();
        let Some(conditions) = conditions_of(&*store) else { return };
        let last = append(&*store, "user-1", &["A", "B"]).await.written[1];
        let found = conditions.all_matches(&all_of("user").tag(tag("a:1")).into()).await.unwrap();
        assert!(found.messages.is_empty() && !found.has_more);
        assert!(found.looked_through.of(&category("user")) >= last.global_position);
        assert!(found.looked_through.of(&category("user")) < GlobalPosition::new(last.global_position.get() + 1_000));
    }
}}
