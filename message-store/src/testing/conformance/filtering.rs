//! Filtered reads: what passes, and how far was looked.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;

use super::{Subject, append, message, stream};
use crate::{Category, ExpectedVersion, Filter, GroupMember, Message, MessageStoreExt as _, Metadata, Read};

contract! {$ filtering filtering_tests {
    /// The position moves past what the filter left out.
    async fn a_filter_by_type_returns_how_far_it_looked(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A", "B", "C", "B", "C"]).await;
        let last = append(&*store, "account-2", &["C"]).await.written[0].global_position;
        let category = Category::new("account").unwrap();
        for (types, expected) in [(vec!["B"], vec!["B", "B"]), (vec!["A", "B"], vec!["A", "B", "B"]), (vec!["X"], vec![])] {
            let read = Read::default().filter(Filter::default().message_types(types.clone()));
            for batch in [store.read_category(&category, read.clone()).await, store.read_all(read.clone()).await] {
                let batch = batch.unwrap();
                let found: Vec<_> = batch.messages.iter().map(|message| message.message_type.as_str()).collect();
                assert_eq!(found, expected, "{types:?}");
                assert_eq!(batch.looked_through, last, "{types:?}");
            }
        }
        // A limit counts what passes, and the next read goes on behind the last that did.
        let first_b = Read::default().limit(1).filter(Filter::default().message_types(["B"]));
        let batch = store.read_category(&category, first_b).await.unwrap();
        assert_eq!(batch.messages.len(), 1);
        assert_eq!(batch.looked_through, batch.messages[0].global_position);
    }

    /// The correlation stream's category, not the stream itself.
    async fn a_filter_by_correlation_compares_categories(subject) {
        let store = subject.store();
        for (message_type, correlation) in [
            ("A", Some("transfer-1")),
            ("B", Some("transfers-1")),
            ("C", None),
            ("D", Some("transfer")),
            ("E", Some("x-transfer")),
        ] {
            let mut metadata = Metadata::default();
            metadata.correlation_stream_name = correlation.map(str::to_owned);
            let message = message(message_type).with_metadata(&metadata).unwrap();
            store.append_to(&stream("account-1"), ExpectedVersion::Any, vec![message]).await.unwrap();
        }
        let transfer = Filter::default().correlation(Category::new("transfer").unwrap());
        let read = Read::default().filter(transfer);
        let batch = store.read_category(&Category::new("account").unwrap(), read).await.unwrap();
        let found: Vec<_> = batch.messages.iter().map(|message| message.message_type.as_str()).collect();
        assert_eq!(found, ["A", "D"]);
    }

    /// By the cardinal id: compound ids of one entity stay together; a stream without an id is no member's.
    async fn members_of_a_group_share_all_entities_and_each_has_one_member(subject) {
        let store = subject.store();
        for entity in 0..40 {
            append(&*store, &format!("account-{entity}"), &["A"]).await;
            append(&*store, &format!("account-{entity}+compound"), &["B"]).await;
        }
        append(&*store, "account", &["WithoutAnEntity"]).await;
        let category = Category::new("account").unwrap();
        let mut seen = BTreeSet::new();
        for member in 0..3 {
            let filter = Filter::default().member(GroupMember::new(member, 3).unwrap());
            let read = Read::default().limit(7).filter(filter);
            let share: Vec<Message> = store.category_messages(&category, read).try_collect().await.unwrap();
            assert!(share.len() >= 10, "member {member} has {} messages", share.len());
            for message in share {
                let entity = message.stream.cardinal_id().unwrap().to_owned();
                assert!(seen.insert((message.stream.clone(), entity)), "{} came to two members", message.stream);
            }
            let entities: BTreeSet<_> = seen.iter().map(|(_, entity)| entity).collect();
            assert_eq!(entities.len() * 2, seen.len(), "an entity's streams were parted");
        }
        assert_eq!(seen.len(), 80);
    }
}}
