//! Stores that check the conditions of appends wrongly, or read the messages that match wrongly.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use message_store::store::{Condition, LookedThrough, Matches, Query, QueryItem};
use message_store::{
    AppendRequest, Appended, Category, Error, ExpectedVersion, GlobalPosition, Json, MessageStore, Result,
};

use super::wrong::{Seen, Store, Wrong, conditions, keys};

/// The same request without its condition.
fn without_condition(request: &AppendRequest) -> AppendRequest {
    let mut other = AppendRequest::from(request.appends().to_vec());
    if let Some(history) = request.history() {
        other = other.in_history(history);
    }
    if let Some(fence) = request.fence() {
        other = other.fenced_by(fence.clone());
    }
    other
}

/// The same request with another condition.
fn with_condition(request: &AppendRequest, change: impl FnOnce(Condition) -> Condition) -> AppendRequest {
    match request.condition() {
        Some(condition) => without_condition(request).unless(change(condition.clone())),
        None => request.clone(),
    }
}

/// The same condition with other items.
fn with_items(condition: Condition, change: impl Fn(QueryItem) -> QueryItem) -> Condition {
    let after = condition.after;
    let mut items = condition.query.items().iter().cloned().map(change);
    let first = Query::from(items.next().unwrap());
    items.fold(first, Query::or).after(after)
}

/// The same condition with other positions.
fn with_after(condition: Condition, change: impl Fn(GlobalPosition) -> GlobalPosition) -> Condition {
    let Condition { query, after, .. } = condition;
    let categories: Vec<Category> = query.categories().into_iter().cloned().collect();
    let changed = categories.into_iter().fold(LookedThrough::default(), |changed, category| {
        let position = change(after.of(&category));
        changed.with(category, position)
    });
    query.after(changed)
}

/// Looks for a match, gives way to other writers, and appends without the condition.
async fn look_and_append(store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
    if let Some(condition) = request.condition()
        && !request.appends().is_empty()
    {
        let found = conditions(store).matches(condition, 1).await?;
        tokio::time::sleep(Duration::from_millis(60)).await;
        if let Some(found) = found.messages.first() {
            let repeated = store.message(request.appends()[0].messages[0].id).await?;
            if repeated.is_none() {
                let stream = request.appends()[0].stream.clone();
                return Err(Error::ConditionFailed { stream, found: found.reference() });
            }
        }
    }
    store.append(without_condition(&request)).await
}

/// What a read has found, with other positions.
fn through(found: Matches, condition: &Condition, change: impl Fn(&[GlobalPosition]) -> GlobalPosition) -> Matches {
    let categories = condition.query.categories();
    let positions: Vec<_> = categories.iter().map(|category| found.looked_through.of(category)).collect();
    Matches::new(found.messages, change(&positions).into(), found.has_more)
}

wrong_stores! {
    ConditionsAreIgnored breaks [
        an_append_whose_condition_fails_writes_nothing
        a_failed_condition_names_the_message_that_matches
        messages_up_to_the_position_of_a_condition_do_not_count
        a_message_after_many_others_makes_a_condition_fail
        an_item_without_types_matches_any_type_and_one_with_types_only_these
        an_item_matches_only_messages_with_all_of_its_tags
        a_query_matches_what_one_of_its_items_matches
        an_item_matches_only_messages_of_its_categories
        an_item_matches_only_the_streams_of_its_cardinal_id
        a_condition_with_too_many_parts_is_refused
        an_append_after_a_read_of_its_matches_is_written
        a_message_that_a_read_of_matches_did_not_see_makes_the_condition_fail
        of_writers_with_one_boundary_one_writes
        of_processes_with_one_boundary_one_writes
        of_two_writers_that_each_exclude_the_other_at_most_one_writes
        an_append_whose_condition_fails_does_not_fail_its_neighbours
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(without_condition(&request)).await
        }
    }
    EveryConditionFails breaks [
        an_append_is_written_if_nothing_matches_its_condition
        a_failed_condition_names_the_message_that_matches
        messages_up_to_the_position_of_a_condition_do_not_count
        a_message_after_many_others_makes_a_condition_fail
        an_item_without_types_matches_any_type_and_one_with_types_only_these
        an_item_matches_only_messages_with_all_of_its_tags
        a_query_matches_what_one_of_its_items_matches
        an_item_matches_only_messages_of_its_categories
        an_item_matches_only_the_streams_of_its_cardinal_id
        an_append_that_was_written_is_not_refused_by_its_own_condition
        an_append_with_a_condition_keeps_the_rules_of_appends
        a_condition_with_too_many_parts_is_refused
        an_append_after_a_read_of_its_matches_is_written
        a_category_without_news_does_not_make_conditions_fail
        of_writers_with_one_boundary_one_writes
        of_processes_with_one_boundary_one_writes
        writers_with_disjoint_boundaries_all_write
        of_two_writers_that_each_exclude_the_other_at_most_one_writes
        a_condition_waits_for_a_writer_of_its_category
        an_append_whose_condition_fails_does_not_fail_its_neighbours
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let found = store.read_all(message_store::Read::default().limit(1)).await?;
            match found.messages.first() {
                Some(found) => {
                    let stream = request.appends()[0].stream.clone();
                    Err(Error::ConditionFailed { stream, found: found.reference() })
                }
                None => store.append(request).await,
            }
        }
    }
    AnAppendIsWrittenBeforeItsConditionIsChecked breaks [
        an_append_whose_condition_fails_writes_nothing
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            if matches!(result, Err(Error::ConditionFailed { .. })) {
                store.append(without_condition(&request)).await?;
            }
            result
        }
    }
    AFailedConditionNamesTheFirstMessageOfTheStore breaks [a_failed_condition_names_the_message_that_matches] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let first = store.read_all(message_store::Read::default().limit(1)).await?.messages;
            store.append(request).await.map_err(|error| match error {
                Error::ConditionFailed { stream, found } => {
                    Error::ConditionFailed { stream, found: first.first().map_or(found, message_store::Message::reference) }
                }
                other => other,
            })
        }
    }
    PositionsOfConditionsAreIgnored breaks [
        messages_up_to_the_position_of_a_condition_do_not_count
        a_message_after_many_others_makes_a_condition_fail
        an_append_after_a_read_of_its_matches_is_written
        a_category_without_news_does_not_make_conditions_fail
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(with_condition(&request, |condition| condition.query.into())).await
        }
    }
    TheMessageAtThePositionCounts breaks [
        messages_up_to_the_position_of_a_condition_do_not_count
        a_message_after_many_others_makes_a_condition_fail
        a_category_without_news_does_not_make_conditions_fail
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let before = |position: GlobalPosition| GlobalPosition::new((position.get() - 1).max(0));
            store.append(with_condition(&request, |condition| with_after(condition, before))).await
        }
    }
    TheMessageAfterThePositionDoesNotCount breaks [
        messages_up_to_the_position_of_a_condition_do_not_count
        a_message_that_a_read_of_matches_did_not_see_makes_the_condition_fail
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let next = |position: GlobalPosition| if position == GlobalPosition::ZERO { position } else { position.next() };
            store.append(with_condition(&request, |condition| with_after(condition, next))).await
        }
    }
    OnlyAHundredMessagesAreLookedAt breaks [
        a_message_after_many_others_makes_a_condition_fail
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            match (&result, request.condition()) {
                (Err(Error::ConditionFailed { found, .. }), Some(condition))
                    if found.global_position.get() > condition.after.of(&found.stream.category()).get() + 100 =>
                {
                    store.append(without_condition(&request)).await
                }
                _ => result,
            }
        }
    }
    TypesOfItemsAreIgnored breaks [
        an_append_is_written_if_nothing_matches_its_condition
        an_item_without_types_matches_any_type_and_one_with_types_only_these
        a_query_matches_what_one_of_its_items_matches
        an_item_matches_only_the_streams_of_its_cardinal_id
        an_append_with_a_condition_keeps_the_rules_of_appends
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let change = |item: QueryItem| changed!(item, types = Vec::new());
            store.append(with_condition(&request, |condition| with_items(condition, change))).await
        }
    }
    OnlyTheFirstTypeCounts breaks [an_item_without_types_matches_any_type_and_one_with_types_only_these] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let change = |item: QueryItem| { let first = item.types.first().cloned(); changed!(item, types = first.into_iter().collect()) };
            store.append(with_condition(&request, |condition| with_items(condition, change))).await
        }
    }
    TagsOfItemsAreIgnored breaks [
        a_failed_condition_names_the_message_that_matches
        a_message_after_many_others_makes_a_condition_fail
        an_item_matches_only_messages_with_all_of_its_tags
        a_query_matches_what_one_of_its_items_matches
        of_writers_with_one_boundary_one_writes
        of_processes_with_one_boundary_one_writes
        writers_with_disjoint_boundaries_all_write
        a_condition_waits_for_a_writer_of_its_category
        an_append_whose_condition_fails_does_not_fail_its_neighbours
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let change = |item: QueryItem| changed!(item, tags = Vec::new());
            store.append(with_condition(&request, |condition| with_items(condition, change))).await
        }
    }
    OneTagOfAnItemIsEnough breaks [an_item_matches_only_messages_with_all_of_its_tags] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let change = |item: QueryItem| { let first = item.tags.first().cloned(); changed!(item, tags = first.into_iter().collect()) };
            store.append(with_condition(&request, |condition| with_items(condition, change))).await
        }
    }
    OnlyTheFirstItemCounts breaks [
        a_query_matches_what_one_of_its_items_matches
        a_condition_with_too_many_parts_is_refused
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let first = |condition: Condition| Query::from(condition.query.items()[0].clone()).after(condition.after);
            store.append(with_condition(&request, first)).await
        }
    }
    OnlyTheFirstCategoryOfAnItemCounts breaks [
        an_item_matches_only_messages_of_its_categories
        a_condition_with_too_many_parts_is_refused
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let change = |item: QueryItem| { let first = item.categories[0].clone(); changed!(item, categories = vec![first]) };
            store.append(with_condition(&request, |condition| with_items(condition, change))).await
        }
    }
    CardinalIdsOfItemsAreIgnored breaks [
        a_message_after_many_others_makes_a_condition_fail
        an_item_matches_only_the_streams_of_its_cardinal_id
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let change = |item: QueryItem| changed!(item, cardinal_id = None);
            store.append(with_condition(&request, |condition| with_items(condition, change))).await
        }
    }
    ConditionsAreCheckedBeforeIds breaks [
        an_append_that_was_written_is_not_refused_by_its_own_condition
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await?;
            if result.already_written && let Some(condition) = request.condition() {
                let found = conditions(store).matches(condition, 1).await?;
                if let Some(found) = found.messages.first() {
                    let stream = request.appends()[0].stream.clone();
                    return Err(Error::ConditionFailed { stream, found: found.reference() });
                }
            }
            Ok(result)
        }
    }
    AConditionAllowsAnyVersion breaks [an_append_with_a_condition_keeps_the_rules_of_appends] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let any = request.appends().iter().cloned().map(|append| append.expecting(ExpectedVersion::Any));
            let mut other = AppendRequest::from(any.collect::<Vec<_>>());
            if let Some(condition) = request.condition() {
                other = other.unless(condition.clone());
            }
            if let Some(fence) = request.fence() {
                other = other.fenced_by(fence.clone());
            }
            store.append(other).await
        }
    }
    ConditionsHaveAnyNumberOfParts breaks [a_condition_with_too_many_parts_is_refused] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            match store.append(request.clone()).await {
                Err(Error::TooLarge { .. }) => store.append(without_condition(&request)).await,
                result => result,
            }
        }
    }
    AStoreWithoutConditionsIgnoresThem breaks [a_store_without_conditions_refuses_one] {
        fn has_conditions(&self) -> bool {
            false
        }
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(without_condition(&request)).await
        }
    }
    /// As a check in a transaction of its own, or without a lock.
    ConditionsAreCheckedBeforeTheAppend breaks [
        of_writers_with_one_boundary_one_writes
        of_processes_with_one_boundary_one_writes
        of_two_writers_that_each_exclude_the_other_at_most_one_writes
        a_condition_waits_for_a_writer_of_its_category
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            look_and_append(store, request).await
        }
    }
    /// As SERIALIZABLE, when it takes writers of one index page for writers of one boundary.
    OneOfTwoWritersAtATimeIsRefused(AtomicBool) breaks [
        writers_with_disjoint_boundaries_all_write
        of_two_writers_that_each_exclude_the_other_at_most_one_writes
        an_append_whose_condition_fails_does_not_fail_its_neighbours
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            if self.0.swap(true, Ordering::SeqCst) {
                let stream = request.appends()[0].stream.clone();
                let first = store.read_all(message_store::Read::default().limit(1)).await?.messages;
                if let Some(first) = first.first() {
                    return Err(Error::ConditionFailed { stream, found: first.reference() });
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            let result = store.append(request).await;
            self.0.store(false, Ordering::SeqCst);
            result
        }
    }
    AFailedConditionFailsTheNextAppend(AtomicBool) breaks [
        messages_up_to_the_position_of_a_condition_do_not_count
        a_message_after_many_others_makes_a_condition_fail
        an_item_without_types_matches_any_type_and_one_with_types_only_these
        an_item_matches_only_messages_with_all_of_its_tags
        a_query_matches_what_one_of_its_items_matches
        an_item_matches_only_messages_of_its_categories
        an_item_matches_only_the_streams_of_its_cardinal_id
        a_message_that_a_read_of_matches_did_not_see_makes_the_condition_fail
        of_writers_with_one_boundary_one_writes
        of_processes_with_one_boundary_one_writes
    ] {
        async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            if self.0.swap(false, Ordering::SeqCst) {
                return Err(Error::backend("appending", false, "another append of the batch failed"));
            }
            let result = store.append(request).await;
            self.0.store(matches!(result, Err(Error::ConditionFailed { .. })), Ordering::SeqCst);
            result
        }
    }
    ConditionsBesideKeysAreIgnored breaks [a_key_is_not_taken_if_a_condition_fails] {
        async fn append_once(&self, store: Store<'_>, claim: &message_store::store::Claim, request: AppendRequest, result: Json) -> Seen {
            keys(store).append_once(claim, without_condition(&request), result).await
        }
    }
    ConditionsBesideFencesAreIgnored breaks [an_append_keeps_its_condition_beside_a_fence] {
        async fn append_with_fence(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(without_condition(&request)).await
        }
    }
    MatchesAreReadBackwards breaks [
        matches_are_read_in_the_order_of_their_positions_each_once
        a_read_of_matches_begins_after_its_positions
        a_read_of_matches_goes_on_where_the_one_before_it_ended
    ] {
        async fn matches(&self, store: Store<'_>, condition: &Condition, limit: usize) -> Result<Matches> {
            let mut found = conditions(store).matches(condition, limit).await?;
            found.messages.reverse();
            Ok(found)
        }
    }
    PositionsOfReadsOfMatchesAreIgnored breaks [
        a_read_of_matches_begins_after_its_positions
        a_read_of_matches_goes_on_where_the_one_before_it_ended
        a_read_of_matches_keeps_to_the_limits_of_a_batch
    ] {
        async fn matches(&self, store: Store<'_>, condition: &Condition, _: usize) -> Result<Matches> {
            let all = Condition::from(condition.query.clone());
            let mut found = conditions(store).matches(&all, 1_000).await?;
            while found.has_more {
                let mut next = conditions(store).matches(&condition.query.clone().after(found.looked_through), 1_000).await?;
                found.messages.append(&mut next.messages);
                (found.looked_through, found.has_more) = (next.looked_through, next.has_more);
            }
            Ok(found)
        }
    }
    /// It says that it has looked at everything.
    AReadOfMatchesEndsAtItsLimit breaks [
        a_read_of_matches_goes_on_where_the_one_before_it_ended
        a_read_of_matches_keeps_to_the_limits_of_a_batch
    ] {
        async fn matches(&self, store: Store<'_>, condition: &Condition, limit: usize) -> Result<Matches> {
            let mut found = conditions(store).matches(condition, limit).await?;
            found.has_more = false;
            Ok(found)
        }
    }
    ReadsOfMatchesHaveAnySize breaks [a_read_of_matches_keeps_to_the_limits_of_a_batch] {
        async fn matches(&self, store: Store<'_>, condition: &Condition, limit: usize) -> Result<Matches> {
            let mut found = conditions(store).matches(condition, limit).await?;
            while found.has_more && found.messages.len() < limit {
                let rest = limit - found.messages.len();
                let mut next = conditions(store).matches(&condition.query.clone().after(found.looked_through), rest).await?;
                found.messages.append(&mut next.messages);
                (found.looked_through, found.has_more) = (next.looked_through, next.has_more);
            }
            Ok(found)
        }
    }
    AReadOfMatchesLooksUpToTheMessageBeforeTheLast breaks [
        an_append_after_a_read_of_its_matches_is_written
        a_category_without_news_does_not_make_conditions_fail
    ] {
        async fn matches(&self, store: Store<'_>, condition: &Condition, limit: usize) -> Result<Matches> {
            let found = conditions(store).matches(condition, limit).await?;
            match found.messages.last().map(|last| last.global_position.previous()) {
                Some(before) if !found.has_more => Ok(through(found, condition, |_| before)),
                _ => Ok(found),
            }
        }
    }
    /// One position for all categories.
    AReadOfMatchesLooksUpToTheEndOfTheQuietestCategory breaks [a_category_without_news_does_not_make_conditions_fail] {
        async fn matches(&self, store: Store<'_>, condition: &Condition, limit: usize) -> Result<Matches> {
            let found = conditions(store).matches(condition, limit).await?;
            let mut lowest = GlobalPosition::new(i64::MAX);
            for category in condition.query.categories() {
                let end = store.backlog(category, GlobalPosition::ZERO).await?.end;
                lowest = lowest.min(end);
            }
            if found.has_more { Ok(found) } else { Ok(through(found, condition, |_| lowest)) }
        }
    }
    AReadOfMatchesLooksBeyondTheEnd breaks [
        an_append_after_a_read_of_its_matches_is_written
        a_message_that_a_read_of_matches_did_not_see_makes_the_condition_fail
        a_query_without_matches_is_read_to_the_end
    ] {
        async fn matches(&self, store: Store<'_>, condition: &Condition, limit: usize) -> Result<Matches> {
            let found = conditions(store).matches(condition, limit).await?;
            let beyond = |positions: &[GlobalPosition]| GlobalPosition::new(positions[0].get() + 1_000);
            if found.has_more { Ok(found) } else { Ok(through(found, condition, beyond)) }
        }
    }
    AReadWithoutMatchesLooksNowhere breaks [a_query_without_matches_is_read_to_the_end] {
        async fn matches(&self, store: Store<'_>, condition: &Condition, limit: usize) -> Result<Matches> {
            let found = conditions(store).matches(condition, limit).await?;
            if found.messages.is_empty() { Ok(Matches::new(Vec::new(), condition.after.clone(), false)) } else { Ok(found) }
        }
    }
}
