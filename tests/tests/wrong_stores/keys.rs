//! Stores whose keys are taken wrongly, or recorded wrongly.

use std::sync::OnceLock;

use message_store::store::{Claim, ClaimRecord};
use message_store::{AppendRequest, Error, Json, Key, MessageId};

use super::wrong::{Seen, Store, Wrong, keys};

fn nothing() -> AppendRequest {
    Vec::new().into()
}

fn in_scope(claim: &Claim, scope: &str) -> Claim {
    changed!(claim.clone(), scope = scope.to_owned())
}

fn in_lower_case(claim: &Claim) -> Claim {
    changed!(claim.clone(), key = Key::new(claim.key.as_str().to_lowercase()).unwrap())
}

wrong_stores! {
    AKeyThatWasNeverTakenIsRecorded breaks [
        a_key_that_was_never_taken_has_no_record
        each_scope_has_keys_of_its_own
        an_append_that_its_version_refuses_leaves_the_key_free
        an_append_whose_id_is_taken_leaves_the_key_free
        an_append_that_is_invalid_or_too_large_leaves_the_key_free
        a_key_whose_window_has_ended_has_no_record
        a_window_is_not_prolonged_by_repeats
        a_sliding_window_ends_when_no_repeat_comes
    ] {
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            let (at, fingerprint) = (store.now().await?, claim.fingerprint.clone());
            let invented = ClaimRecord::new(at, fingerprint, Json::NULL);
            Ok(keys(store).record(claim).await?.or(Some(invented)))
        }
    }
    ATakenKeyIsSaidToBeFree breaks [
        a_key_is_taken_once
        a_repeat_is_answered_with_the_first_record
        of_callers_that_take_a_key_at_once_one_takes_it
        a_key_stays_taken_when_the_store_is_opened_again
        an_append_with_a_free_key_takes_it
        an_append_with_a_taken_key_is_not_refused
        a_key_whose_window_has_ended_can_be_taken_again
        a_sliding_window_begins_anew_when_an_append_is_repeated
        a_key_is_not_taken_if_a_condition_fails
    ] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            keys(store).append_once(claim, request, result).await.map(|_| None)
        }
    }
    ARecordForgetsTheAnswer breaks [
        a_taken_key_is_recorded_with_the_first_answer
        a_repeat_is_answered_with_the_first_record
    ] {
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            Ok(keys(store).record(claim).await?.map(|record| changed!(record, result = Json::NULL)))
        }
    }
    ARecordHasTheFingerprintOfItsReader breaks [a_taken_key_is_recorded_with_the_first_fingerprint] {
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            let fingerprint = claim.fingerprint.clone();
            Ok(keys(store).record(claim).await?.map(|record| changed!(record, fingerprint = fingerprint)))
        }
    }
    ARecordHasTheTimeOfItsReading breaks [
        a_taken_key_is_recorded_with_the_time_at_which_it_was_taken
        a_repeat_is_answered_with_the_first_record
    ] {
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            let at = store.now().await?;
            Ok(keys(store).record(claim).await?.map(|record| changed!(record, at = at)))
        }
    }
    ARepeatIsAnsweredWithItsOwnAnswer breaks [a_repeat_is_answered_with_the_first_record] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            let seen = keys(store).append_once(claim, request, result.clone()).await?;
            Ok(seen.map(|record| changed!(record, result = result)))
        }
    }
    KeysIgnoreCase breaks [each_key_has_a_record_of_its_own] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            keys(store).append_once(&in_lower_case(claim), request, result).await
        }
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            keys(store).record(&in_lower_case(claim)).await
        }
    }
    ScopesShareTheirKeys breaks [each_scope_has_keys_of_its_own] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            keys(store).append_once(&in_scope(claim, "all"), request, result).await
        }
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            keys(store).record(&in_scope(claim, "all")).await
        }
    }
    KeysAreAHandlesOwn(OnceLock<String>) breaks [a_key_stays_taken_when_the_store_is_opened_again] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            let handle = self.0.get_or_init(|| MessageId::new().to_string());
            keys(store).append_once(&in_scope(claim, &format!("{} of {handle}", claim.scope)), request, result).await
        }
        async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
            let handle = self.0.get_or_init(|| MessageId::new().to_string());
            keys(store).record(&in_scope(claim, &format!("{} of {handle}", claim.scope))).await
        }
    }
    AKeyIsTakenWithoutTheMessages breaks [
        an_append_with_a_free_key_writes_its_messages
        an_append_that_its_version_refuses_leaves_the_key_free
        an_append_whose_id_is_taken_leaves_the_key_free
        an_append_that_is_invalid_or_too_large_leaves_the_key_free
        an_append_that_was_decided_in_an_earlier_history_leaves_the_key_free
        an_empty_request_that_was_decided_in_an_earlier_history_leaves_the_key_free
        a_key_is_not_taken_if_a_condition_fails
    ] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, _request: AppendRequest, result: Json) -> Seen {
            keys(store).append_once(claim, nothing(), result).await
        }
    }
    AnEmptyRequestIsTakenInAnyHistory breaks [
        an_empty_request_that_was_decided_in_an_earlier_history_leaves_the_key_free
    ] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            let request = if request.is_empty() { nothing() } else { request };
            keys(store).append_once(claim, request, result).await
        }
    }
    MessagesAreWrittenWithoutTheKey breaks [
        an_append_with_a_free_key_takes_it
        an_append_with_a_taken_key_is_not_refused
        a_key_is_not_taken_if_a_condition_fails
    ] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            if request.is_empty() || keys(store).record(claim).await?.is_some() {
                return keys(store).append_once(claim, request, result).await;
            }
            store.append(request).await.map(|_| None)
        }
    }
    MessagesAreWrittenAlthoughTheKeyIsTaken breaks [an_append_with_a_taken_key_writes_nothing] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            let seen = keys(store).append_once(claim, request.clone(), result).await?;
            if seen.is_some() {
                let _ = store.append(request).await;
            }
            Ok(seen)
        }
    }
    ARepeatIsHeldToItsVersion breaks [an_append_with_a_taken_key_is_not_refused] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            for append in request.appends() {
                let actual = store.version(&append.stream).await?;
                if !append.expected.allows(actual) {
                    let (stream, expected) = (append.stream.clone(), append.expected);
                    return Err(Error::WrongExpectedVersion { stream, expected, actual });
                }
            }
            keys(store).append_once(claim, request, result).await
        }
    }
    ARefusedAppendTakesTheKey breaks [
        an_append_that_its_version_refuses_leaves_the_key_free
        an_append_whose_id_is_taken_leaves_the_key_free
        an_append_that_is_invalid_or_too_large_leaves_the_key_free
        an_append_that_was_decided_in_an_earlier_history_leaves_the_key_free
        an_empty_request_that_was_decided_in_an_earlier_history_leaves_the_key_free
        a_key_is_not_taken_if_a_condition_fails
    ] {
        async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
            let seen = keys(store).append_once(claim, request, result.clone()).await;
            if seen.is_err() {
                keys(store).append_once(claim, nothing(), result).await?;
            }
            seen
        }
    }
}
