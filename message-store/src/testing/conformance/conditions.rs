//! Rules of conditions: which messages make an append fail. They are the musts of <https://dcb.events>, for queries that
//! name their categories.

use super::given::{append, append_one, category, is_empty, message, stream, to, types_in};
use super::{Rule, Subject};
use crate::store::{Condition, Conditions, MAX_QUERY_PARTS, QueryItem};
use crate::{
    Append, AppendRequest, Appended, Error, GlobalPosition, Metadata, MessageStore, NewMessage, Place, Position, Result, Tag,
    Version,
};

/// The conditions of a store, if it has any.
pub(super) fn conditions_of(store: &dyn MessageStore) -> Option<&dyn Conditions> {
    let conditions = store.conditions();
    if conditions.is_none() {
        println!("not checked: conditions: the store has none");
    }
    conditions
}

pub(super) fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

pub(super) fn tagged(message_type: &str, tags: &[&str]) -> NewMessage {
    let metadata = tags.iter().fold(Metadata::new(), |metadata, text| metadata.tag(tag(text)));
    message(message_type).with_metadata(&metadata).unwrap()
}

/// All messages of a category.
pub(super) fn all_of(name: &str) -> QueryItem {
    QueryItem::of(category(name))
}

/// Appends a message to a stream of its own, unless something matches.
pub(super) async fn append_unless(store: &dyn MessageStore, condition: impl Into<Condition>) -> Result<Appended> {
    let request = AppendRequest::from(to("appended-1", &["Appended"])).unless(condition);
    store.append(request).await
}

/// Whether an append is refused because a message matches.
pub(super) async fn is_refused(store: &dyn MessageStore, condition: impl Into<Condition>) -> bool {
    match append_unless(store, condition).await {
        Err(Error::ConditionFailed { .. }) => true,
        result => {
            result.unwrap();
            false
        }
    }
}

/// Writes a user with an address, whose tag names it.
async fn register(store: &dyn MessageStore, id: &str, email: &str) -> Place {
    append_one(store, &format!("user-{id}"), tagged("Registered", &[email, "kind:user"])).await
}

contract! {$ conditions conditions_tests {
    async fn an_append_is_written_if_nothing_matches_its_condition(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append(&*store, "user-1", &["Registered"]).await;
        append_unless(&*store, all_of("user").types(["Removed"])).await.unwrap();
        assert_eq!(types_in(&*store, "appended-1").await, ["Appended"]);
    }

    async fn an_append_whose_condition_fails_writes_nothing(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append(&*store, "user-1", &["Registered"]).await;
        assert!(is_refused(&*store, all_of("user")).await);
        assert!(is_empty(&*store, "appended-1").await);
        append(&*store, "appended-1", &["Later"]).await;
        assert_eq!(types_in(&*store, "appended-1").await, ["Later"]);
    }

    async fn a_failed_condition_names_the_message_that_matches(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        register(&*store, "1", "email:ann").await;
        let place = register(&*store, "2", "email:bob").await;
        let found = store.read_stream(&stream("user-2"), crate::StreamRead::default()).await.unwrap()[0].reference();
        assert_eq!(found.global_position, place.global_position);
        match append_unless(&*store, all_of("user").tag(tag("email:bob"))).await {
            Err(Error::ConditionFailed { stream, found: named }) => {
                assert_eq!((stream.as_str(), named), ("appended-1", found));
            }
            other => panic!("{other:?}"),
        }
    }

    /// The position of a condition is that up to which the caller has looked, and may be above the last message.
    async fn messages_up_to_the_position_of_a_condition_do_not_count(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append(&*store, "other-1", &["Before"]).await;
        let place = register(&*store, "1", "email:ann").await;
        for item in [all_of("user"), all_of("user").tag(tag("email:ann")), all_of("user").cardinal_id("1")] {
            for (after, refused) in [
                (GlobalPosition::ZERO, true),
                (place.global_position.previous(), true),
                (place.global_position, false),
                (place.global_position.next(), false),
                (GlobalPosition::new(place.global_position.get() + 1_000), false),
            ] {
                assert_eq!(is_refused(&*store, item.clone().after(after)).await, refused, "{item:?} after {after}");
            }
        }
    }

    /// The caller's last read is long ago, so its position says little.
    async fn a_message_after_many_others_makes_a_condition_fail(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        let first = register(&*store, "0", "email:first").await;
        for number in 1..150 {
            register(&*store, &number.to_string(), &format!("email:{number}")).await;
        }
        register(&*store, "150", "email:ann").await;
        for item in [all_of("user").tag(tag("email:ann")), all_of("user").cardinal_id("150"), all_of("user").types(["Registered"])] {
            assert!(is_refused(&*store, item.clone().after(first.global_position)).await, "{item:?}");
        }
        assert!(!is_refused(&*store, all_of("user").tag(tag("email:first")).after(first.global_position)).await);
        assert!(!is_refused(&*store, all_of("user").cardinal_id("0").after(first.global_position)).await);
    }

    async fn an_item_without_types_matches_any_type_and_one_with_types_only_these(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append(&*store, "user-1", &["Registered"]).await;
        for (types, refused) in [(&[][..], true), (&["Removed", "Registered"], true), (&["Removed", "register"], false)] {
            assert_eq!(is_refused(&*store, all_of("user").types(types.iter().copied())).await, refused, "{types:?}");
        }
    }

    async fn an_item_matches_only_messages_with_all_of_its_tags(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append_one(&*store, "user-1", tagged("Registered", &["a:1", "b:1", "c:1"])).await;
        append_one(&*store, "user-2", tagged("Registered", &["a:2"])).await;
        append(&*store, "user-3", &["Registered"]).await;
        for (tags, refused) in
            [(&["a:1"][..], true), (&["c:1", "a:1"], true), (&["a:1", "a:2"], false), (&["a:3"], false), (&["a:"], false), (&["A:1"], false)]
        {
            let item = tags.iter().fold(all_of("user"), |item, text| item.tag(tag(text)));
            assert_eq!(is_refused(&*store, item).await, refused, "{tags:?}");
        }
    }

    async fn a_query_matches_what_one_of_its_items_matches(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append_one(&*store, "user-1", tagged("Registered", &["a:1"])).await;
        let (one, other) = (all_of("user").types(["Removed"]), all_of("user").types(["Registered"]).tag(tag("a:2")));
        assert!(!is_refused(&*store, one.clone().or(other.clone())).await);
        assert!(is_refused(&*store, one.clone().or(other.clone()).or(all_of("user").tag(tag("a:1")))).await);
        assert!(is_refused(&*store, all_of("user").types(["Registered"]).or(one).or(other)).await);
    }

    async fn an_item_matches_only_messages_of_its_categories(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append_one(&*store, "user:command-1", tagged("Registered", &["a:1"])).await;
        append_one(&*store, "users-1", tagged("Registered", &["a:1"])).await;
        for item in [all_of("user"), all_of("user").tag(tag("a:1")), all_of("user").cardinal_id("1")] {
            assert!(!is_refused(&*store, item.clone()).await, "{item:?}");
            assert!(is_refused(&*store, item.clone().or_of(category("users"))).await, "{item:?}");
        }
    }

    async fn an_item_matches_only_the_streams_of_its_cardinal_id(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append_one(&*store, "user-70", tagged("Registered", &["a:1"])).await;
        append_one(&*store, "user-7-1", tagged("Registered", &["a:1"])).await;
        append_one(&*store, "user-0+7", tagged("Registered", &["a:1"])).await;
        let seven = || all_of("user").cardinal_id("7");
        assert!(!is_refused(&*store, seven()).await);
        assert!(!is_refused(&*store, seven().tag(tag("a:1"))).await);
        append_one(&*store, "user-7+log", tagged("Logged", &["a:1"])).await;
        assert!(is_refused(&*store, seven()).await);
        assert!(is_refused(&*store, seven().tag(tag("a:1"))).await);
        assert!(!is_refused(&*store, seven().types(["Registered"])).await);
        append(&*store, "user-7", &["Registered"]).await;
        assert!(is_refused(&*store, seven().types(["Registered"])).await);
    }

    /// The first answer may have been lost, and the messages match their own condition.
    async fn an_append_that_was_written_is_not_refused_by_its_own_condition(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        let registered = Append::to(stream("user-1")).message(tagged("Registered", &["email:ann"]));
        let request = AppendRequest::from(registered).unless(all_of("user").tag(tag("email:ann")));
        let first = store.append(request.clone()).await.unwrap();
        let again = store.append(request.clone()).await.unwrap();
        assert_eq!((&again.written, again.already_written), (&first.written, true));
        register(&*store, "2", "email:ann").await;
        assert_eq!(store.append(request).await.unwrap().written, first.written);
        assert_eq!(types_in(&*store, "user-1").await, ["Registered"]);
    }

    async fn an_append_with_a_condition_keeps_the_rules_of_appends(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        append(&*store, "user-1", &["A"]).await;
        let nothing = || all_of("user").types(["None"]);
        let expecting = |append: Append, position| append.expecting(Version::at(Position::new(position)));
        let streams = vec![to("other-1", &["B"]), expecting(to("user-1", &["C"]), 5)];
        let refused = store.append(AppendRequest::from(streams).unless(nothing())).await;
        assert!(matches!(refused, Err(Error::WrongExpectedVersion { .. })), "{refused:?}");
        assert!(is_empty(&*store, "other-1").await);
        let streams = vec![to("other-1", &["B", "D"]), expecting(to("user-1", &["C"]), 0)];
        let appended = store.append(AppendRequest::from(streams.clone()).unless(nothing())).await.unwrap();
        assert!(appended.written.is_sorted_by_key(|place| place.global_position));
        assert_eq!(types_in(&*store, "other-1").await, ["B", "D"]);
        assert_eq!(types_in(&*store, "user-1").await, ["A", "C"]);
        let half = AppendRequest::from(streams[0].clone().message(message("E"))).unless(nothing());
        let refused = store.append(half).await;
        assert!(matches!(refused, Err(Error::IdConflict { .. })), "{refused:?}");
    }

    async fn a_condition_with_too_many_parts_is_refused(subject) {
        let store = subject.store();
        let Some(_) = conditions_of(&*store) else { return };
        let full = (1..MAX_QUERY_PARTS).fold(all_of("user"), |item, number| item.or_of(category(&format!("user{number}"))));
        append_unless(&*store, full.clone()).await.unwrap();
        let refused = append_unless(&*store, full.or(all_of("one"))).await;
        assert!(matches!(refused, Err(Error::TooLarge { actual, .. }) if actual == MAX_QUERY_PARTS + 1), "{refused:?}");
    }

    async fn a_store_without_conditions_refuses_one(subject) {
        let store = subject.store();
        if store.conditions().is_some() {
            return;
        }
        let refused = append_unless(&*store, all_of("user")).await;
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
        assert!(is_empty(&*store, "appended-1").await);
    }
}}
