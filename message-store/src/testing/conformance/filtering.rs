//! Rules of filtered reads: the messages that pass, and the position up to which a read looks.

use futures_util::TryStreamExt as _;

use super::given::{append, append_one, category, filtered, message, stream, types};
use super::{Rule, Subject};
use crate::{Batch, Filter, GlobalPosition, GroupMember, Message, MessageStore, MessageStoreExt as _, Metadata, Read};

/// The batches of a read of the category and of a read of all messages, which are equal in these rules.
async fn both(store: &dyn MessageStore, read: Read) -> [Batch; 2] {
    let of_category = store.read_category(&category("account"), read.clone()).await.unwrap();
    [of_category, store.read_all(read).await.unwrap()]
}

fn of_types(types: &[&str]) -> Filter {
    Filter::default().message_types(types.iter().copied())
}

/// Appends A, B, C, B, C and C. Returns the position of the last one.
async fn six(store: &dyn MessageStore) -> GlobalPosition {
    append(store, "account-1", &["A", "B", "C", "B", "C"]).await;
    append(store, "account-2", &["C"]).await.written[0].global_position
}

fn correlated(message_type: &str, with: Option<&str>) -> crate::NewMessage {
    let mut metadata = Metadata::default();
    metadata.correlation_stream_name = with.map(str::to_owned);
    message(message_type).with_metadata(&metadata).unwrap()
}

contract! {$ filtering filtering_tests {
    async fn the_messages_of_a_correlation_are_read_in_order_whatever_their_category(subject) {
        let store = subject.store();
        for (to, message) in [
            ("account-1", correlated("A", Some("transfer-7"))),
            ("account-1", correlated("Other", Some("transfer-70"))),
            ("mail-2", correlated("B", Some("transfer-7"))),
            ("account-2", message("Alone")),
            ("account-1", correlated("C", Some("transfer-7"))),
        ] {
            append_one(&*store, to, message).await;
        }
        let case = stream("transfer-7");
        let mut read = Read::default().limit(2);
        let mut found = Vec::new();
        loop {
            let batch = store.read_correlated(&case, read.clone()).await.unwrap();
            if batch.is_at_end(&read) {
                break;
            }
            assert!(batch.messages.len() <= 2);
            read.from = batch.looked_through.next();
            found.extend(batch.messages);
        }
        assert_eq!(types(&found), ["A", "B", "C"]);
        let typed = filtered(Filter::default().message_types(["C"]));
        let batch = store.read_correlated(&case, typed).await.unwrap();
        assert_eq!(types(&batch.messages), ["C"]);
        assert!(store.read_correlated(&stream("transfer-8"), Read::default()).await.unwrap().messages.is_empty());
    }

    async fn a_filter_by_type_lets_messages_of_the_type_through(subject) {
        let store = subject.store();
        six(&*store).await;
        for batch in both(&*store, filtered(of_types(&["B"]))).await {
            assert_eq!(types(&batch.messages), ["B", "B"]);
        }
    }

    async fn a_filter_by_types_lets_messages_of_each_type_through(subject) {
        let store = subject.store();
        six(&*store).await;
        for batch in both(&*store, filtered(of_types(&["B", "X", "A"]))).await {
            assert_eq!(types(&batch.messages), ["A", "B", "B"]);
        }
    }

    /// So the reader's position moves past messages that do not pass.
    async fn a_filtered_read_has_looked_through_what_was_filtered_out(subject) {
        let store = subject.store();
        let last = six(&*store).await;
        for types in [["B"], ["X"]] {
            for batch in both(&*store, filtered(of_types(&types))).await {
                assert_eq!(batch.looked_through, last, "{types:?}");
            }
        }
    }

    /// So the next read begins after that message.
    async fn a_filtered_read_that_its_limit_ends_has_looked_no_further_than_its_last_message(subject) {
        let store = subject.store();
        six(&*store).await;
        for batch in both(&*store, filtered(of_types(&["B"])).limit(1)).await {
            assert_eq!(types(&batch.messages), ["B"]);
            assert_eq!(batch.looked_through, batch.messages[0].global_position);
        }
    }

    async fn a_filtered_read_goes_on_over_batches(subject) {
        let store = subject.store();
        for number in 0..10 {
            append(&*store, &format!("account-{number}"), &["A", "B", "B"]).await;
        }
        let (account, read) = (category("account"), filtered(of_types(&["B"])).limit(3));
        let found: Vec<Message> = store.category_messages(&account, read).try_collect().await.unwrap();
        assert_eq!(found.len(), 20);
    }

    /// The filter compares the category of the correlation stream, not the stream.
    async fn a_filter_by_correlation_compares_categories(subject) {
        let store = subject.store();
        for (message_type, with) in [
            ("A", Some("transfer-1")),
            ("B", Some("transfers-1")),
            ("C", None),
            ("D", Some("transfer")),
            ("E", Some("x-transfer")),
        ] {
            append_one(&*store, "account-1", correlated(message_type, with)).await;
        }
        let read = filtered(Filter::default().correlation(category("transfer")));
        let batch = store.read_category(&category("account"), read).await.unwrap();
        assert_eq!(types(&batch.messages), ["A", "D"]);
    }

    /// The conditions are type, correlation and member.
    async fn a_message_passes_a_filter_when_every_condition_holds(subject) {
        let store = subject.store();
        for (message_type, with) in [("A", Some("transfer-1")), ("A", None), ("B", Some("transfer-1"))] {
            append_one(&*store, "account-1", correlated(message_type, with)).await;
        }
        append_one(&*store, "account", correlated("A", Some("transfer-1"))).await;
        let member = GroupMember::new(0, 1).unwrap();
        let filter = of_types(&["A"]).correlation(category("transfer")).member(member);
        let batch = store.read_category(&category("account"), filtered(filter)).await.unwrap();
        assert_eq!(batch.messages.len(), 1, "{:?}", batch.messages);
    }
}}
