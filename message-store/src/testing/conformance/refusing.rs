//! Rules of refusals: appends that no store accepts.

use super::given::{append, is_empty, message, sized, stream, to, types_in};
use super::{Cannot, Rule, Subject};
use crate::{Append, AppendRequest, Appended, Error, History, MAX_MESSAGE_TYPE_BYTES, MessageStore, NewMessage, Result};

async fn append_to_one(store: &dyn MessageStore, messages: Vec<NewMessage>) -> Result<Appended> {
    store.append(Append::to(stream("account-1")).messages(messages).into()).await
}

fn assert_invalid(result: &Result<Appended>) {
    assert!(matches!(result, Err(Error::Invalid { .. })), "{result:?}");
}

fn assert_too_large(result: &Result<Appended>) {
    assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
}

/// The history before and after the store got a new identity.
async fn two_histories(store: &dyn MessageStore) -> Result<(History, History), Cannot> {
    let before = store.history();
    match store.rotate_store_id().await {
        Ok(_) => Ok((before, store.history())),
        Err(Error::Unsupported { .. }) => Err(Cannot("the store's identity cannot change")),
        Err(error) => panic!("{error}"),
    }
}

contract! {$ refusing refusing_tests {
    async fn an_append_that_names_no_stream_is_invalid(subject) {
        assert_invalid(&subject.store().append(Vec::new().into()).await);
    }

    async fn an_append_without_a_message_for_one_of_its_streams_is_invalid(subject) {
        let request = vec![to("account-1", &["A"]), to("account-2", &[])];
        assert_invalid(&subject.store().append(request.into()).await);
    }

    async fn an_append_that_names_a_stream_twice_is_invalid(subject) {
        let request = vec![to("account-1", &["A"]), to("account-2", &["B"]), to("account-1", &["C"])];
        assert_invalid(&subject.store().append(request.into()).await);
    }

    /// The two messages may be in one stream or in two.
    async fn an_append_that_uses_an_id_twice_is_invalid(subject) {
        let store = subject.store();
        let twin = message("A");
        assert_invalid(&append_to_one(&*store, vec![twin.clone(), message("B"), twin.clone()]).await);
        let apart = ["account-1", "account-2"].map(|name| Append::to(stream(name)).message(twin.clone()));
        assert_invalid(&store.append(apart.to_vec().into()).await);
    }

    async fn a_message_type_that_is_empty_is_invalid(subject) {
        assert_invalid(&append_to_one(&*subject.store(), vec![message("")]).await);
    }

    async fn a_message_type_that_holds_a_nul_is_invalid(subject) {
        assert_invalid(&append_to_one(&*subject.store(), vec![message("A\0")]).await);
    }

    async fn a_message_type_of_more_than_255_bytes_is_too_large(subject) {
        let store = subject.store();
        assert_too_large(&append_to_one(&*store, vec![message(&"A".repeat(MAX_MESSAGE_TYPE_BYTES + 1))]).await);
        append_to_one(&*store, vec![message(&"A".repeat(MAX_MESSAGE_TYPE_BYTES))]).await.expect("just 255 bytes");
    }

    async fn a_message_of_more_bytes_than_the_limit_is_too_large(subject) {
        let store = subject.store();
        let limit = store.limits().message_bytes;
        assert_too_large(&append_to_one(&*store, vec![message("A"), sized(limit + 1)]).await);
    }

    async fn a_message_of_just_the_limit_is_written(subject) {
        let store = subject.store();
        append_to_one(&*store, vec![sized(store.limits().message_bytes)]).await.unwrap();
        assert_eq!(types_in(&*store, "account-1").await, ["T"]);
    }

    /// The limit counts the messages of all streams together.
    async fn an_append_of_more_messages_than_the_limit_is_too_large(subject) {
        let store = subject.store();
        let half = store.limits().append_messages / 2 + 1;
        let appends = ["account-1", "account-2"].map(|name| to(name, &vec!["A"; half]));
        assert_too_large(&store.append(appends.to_vec().into()).await);
    }

    async fn what_is_invalid_or_too_large_leaves_nothing_behind(subject) {
        let store = subject.store();
        let limit = store.limits().message_bytes;
        let twin = message("A");
        let last = |message: NewMessage| Append::to(stream("account-2")).message(message);
        let two = last(twin.clone()).message(twin);
        for last in [to("account-2", &[]), last(message("")), last(sized(limit + 1)), two] {
            assert!(store.append(vec![to("account-1", &["A"]), last].into()).await.is_err());
        }
        assert!(is_empty(&*store, "account-1").await && is_empty(&*store, "account-2").await);
    }

    async fn an_append_that_was_decided_in_this_history_is_written(subject) {
        let store = subject.store();
        let present = match two_histories(&*store).await {
            Ok((_, present)) => present,
            Err(cannot) => return cannot.say("an append in another history"),
        };
        store.append(AppendRequest::from(to("account-1", &["A"])).in_history(present)).await.unwrap();
    }

    /// The messages on which it was decided may be lost.
    async fn an_append_that_was_decided_in_an_earlier_history_is_refused(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        let earlier = match two_histories(&*store).await {
            Ok((earlier, _)) => earlier,
            Err(cannot) => return cannot.say("an append in an earlier history"),
        };
        let refused = store.append(AppendRequest::from(to("account-1", &["B"])).in_history(earlier)).await;
        assert!(matches!(refused, Err(Error::HistoryChanged { .. })), "{refused:?}");
        assert_eq!(types_in(&*store, "account-1").await, ["A"]);
    }
}}
