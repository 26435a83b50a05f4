//! Rules of reads of a category and of all messages: order, parts, end.

use super::given::{append, category, to, types};
use super::{Rule, Subject};
use crate::{Batch, Category, GlobalPosition, MessageStore, Read};

/// The batches of a read of the category and of a read of all messages, which are equal in these rules.
async fn both(store: &dyn MessageStore, read: Read) -> [Batch; 2] {
    let of_category = store.read_category(&category("account"), read.clone()).await.unwrap();
    [of_category, store.read_all(read).await.unwrap()]
}

/// A, B, C and D, in three streams of one category.
async fn four(store: &dyn MessageStore) -> Vec<GlobalPosition> {
    let mut places = Vec::new();
    for (name, message_type) in [("account-2", "A"), ("account-1", "B"), ("account-2", "C"), ("account-0", "D")] {
        places.push(append(store, name, &[message_type]).await.written[0].global_position);
    }
    places
}

contract! {$ categories categories_tests {
    async fn a_category_is_read_in_global_order(subject) {
        let store = subject.store();
        four(&*store).await;
        let batch = store.read_category(&category("account"), Read::default()).await.unwrap();
        assert_eq!(types(&batch.messages), ["A", "B", "C", "D"]);
    }

    /// The messages are of two categories.
    async fn all_messages_are_read_in_global_order(subject) {
        let store = subject.store();
        store.append(vec![to("right-1", &["A"]), to("left-1", &["B"])].into()).await.unwrap();
        append(&*store, "right-0", &["C"]).await;
        assert_eq!(types(&store.read_all(Read::default()).await.unwrap().messages), ["A", "B", "C"]);
    }

    /// Another category is one whose name begins the same, one with a type, or one that differs in upper and lower
    /// case.
    async fn a_category_holds_no_message_of_another(subject) {
        let store = subject.store();
        for name in ["accounts-1", "account:command-1", "Account-1", "accoun-1", "other-account-1"] {
            append(&*store, name, &["X"]).await;
        }
        append(&*store, "account-1", &["A"]).await;
        append(&*store, "account-1-2", &["B"]).await;
        let batch = store.read_category(&category("account"), Read::default()).await.unwrap();
        assert_eq!(types(&batch.messages), ["A", "B"]);
    }

    async fn a_stream_without_an_id_belongs_to_the_category_of_its_name(subject) {
        let store = subject.store();
        append(&*store, "account", &["A"]).await;
        let batch = store.read_category(&category("account"), Read::default()).await.unwrap();
        assert_eq!(types(&batch.messages), ["A"]);
    }

    async fn a_category_is_read_from_a_global_position_on(subject) {
        let store = subject.store();
        let places = four(&*store).await;
        let batch = store.read_category(&category("account"), Read::from(places[2])).await.unwrap();
        assert_eq!(types(&batch.messages), ["C", "D"]);
    }

    async fn all_messages_are_read_from_a_global_position_on(subject) {
        let store = subject.store();
        let places = four(&*store).await;
        assert_eq!(types(&store.read_all(Read::from(places[2])).await.unwrap().messages), ["C", "D"]);
    }

    async fn a_read_of_a_category_ends_at_its_limit(subject) {
        let store = subject.store();
        four(&*store).await;
        let batch = store.read_category(&category("account"), Read::default().limit(2)).await.unwrap();
        assert_eq!(types(&batch.messages), ["A", "B"]);
    }

    async fn a_read_of_all_messages_ends_at_its_limit(subject) {
        let store = subject.store();
        four(&*store).await;
        assert_eq!(types(&store.read_all(Read::default().limit(2)).await.unwrap().messages), ["A", "B"]);
    }

    async fn a_read_has_looked_through_all_up_to_its_last_message(subject) {
        let store = subject.store();
        let places = four(&*store).await;
        for (limit, last) in [(2, places[1]), (4, places[3]), (9, places[3])] {
            for batch in both(&*store, Read::default().limit(limit)).await {
                assert_eq!(batch.looked_through, last, "{limit}");
            }
        }
    }

    async fn a_reader_that_has_caught_up_finds_nothing_and_stays_where_it_is(subject) {
        let store = subject.store();
        let last = four(&*store).await[3];
        let read = Read::from(last.next());
        for batch in both(&*store, read.clone()).await {
            assert!(batch.messages.is_empty() && batch.is_at_end(&read));
            assert_eq!(batch.looked_through, last);
        }
    }

    async fn a_reader_that_has_caught_up_finds_what_is_written_next(subject) {
        let store = subject.store();
        let last = four(&*store).await[3];
        append(&*store, "account-1", &["E"]).await;
        for batch in both(&*store, Read::from(last.next())).await {
            assert_eq!(types(&batch.messages), ["E"]);
        }
    }

    async fn a_read_of_a_category_that_is_not_there_finds_nothing(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        let batch = store.read_category(&category("other"), Read::default()).await.unwrap();
        assert!(batch.messages.is_empty() && batch.is_at_end(&Read::default()));
    }

    async fn the_categories_are_listed_once_each_a_page_at_a_time(subject) {
        let store = subject.store();
        assert!(store.categories(None, 10).await.unwrap().is_empty());
        let names = ["account", "account:command", "accounts", "mail+position", "Zoo", "\u{e9}t\u{e9}"];
        for name in names.iter().rev().flat_map(|name| [format!("{name}-1"), format!("{name}-1-2"), format!("{name}-2")]) {
            append(&*store, &name, &["A"]).await;
        }
        append(&*store, "alone", &["A"]).await;
        let mut found = Vec::new();
        loop {
            let page = store.categories(found.last(), 3).await.unwrap();
            let is_new = page.iter().all(|category| !found.contains(category));
            assert!(page.len() <= 3 && is_new, "{page:?} after {found:?}");
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(store.categories(None, usize::MAX).await.unwrap(), found);
        let mut found: Vec<&str> = found.iter().map(Category::as_str).collect();
        found.sort_unstable();
        let mut expected: Vec<&str> = names.into_iter().chain(["alone"]).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}}
