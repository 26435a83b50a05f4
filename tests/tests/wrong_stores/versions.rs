//! Stores that check expected versions wrongly.

use message_store::{Append, AppendRequest, Appended, Error, ExpectedVersion, MessageStore, Position, Result, Version};

use super::wrong::{Store, Wrong};

/// The same request with other expected versions.
fn expecting(request: &AppendRequest, other: impl Fn(usize, ExpectedVersion) -> ExpectedVersion) -> AppendRequest {
    let changed =
        |(number, append): (usize, &Append)| changed!(append.clone(), expected = other(number, append.expected));
    let appends: Vec<Append> = request.appends().iter().enumerate().map(changed).collect();
    match request.history() {
        Some(history) => AppendRequest::from(appends).in_history(history),
        None => appends.into(),
    }
}

/// Appends. If the version is refused, and `is_taken` accepts it, appends at any version.
async fn taking(
    store: &dyn MessageStore,
    request: AppendRequest,
    is_taken: impl Fn(Version, Version) -> bool + Send,
) -> Result<Appended> {
    match store.append(request.clone()).await {
        Err(Error::WrongExpectedVersion { expected: ExpectedVersion::Exact(expected), actual, .. })
            if is_taken(Version::at(expected), actual) =>
        {
            store.append(expecting(&request, |_, _| ExpectedVersion::Any)).await
        }
        result => result,
    }
}

wrong_stores! {
    ExpectedVersionsAreIgnored breaks [
        of_writers_that_expect_the_same_version_one_writes
        one_refused_append_does_not_fail_its_neighbours
        an_append_that_expects_no_stream_is_refused_where_there_is_one
        an_append_that_expects_an_earlier_version_is_refused
        an_append_that_expects_a_later_version_is_refused
        an_append_that_expects_a_version_is_refused_where_there_is_no_stream
        a_refusal_names_the_stream_and_what_was_expected_and_what_is
        a_refused_append_writes_nothing
        an_append_that_one_of_its_streams_refuses_is_written_to_none_of_them
        each_stream_of_an_append_is_held_to_its_own_version
        a_refused_append_can_be_made_again
        an_append_continues_after_archived_messages
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(expecting(&request, |_, _| ExpectedVersion::Any)).await
        }
    }
    NoStreamIsTakenForAnyVersion breaks [
        an_append_that_expects_no_stream_is_refused_where_there_is_one
        a_refusal_names_the_stream_and_what_was_expected_and_what_is
        an_append_that_one_of_its_streams_refuses_is_written_to_none_of_them
        each_stream_of_an_append_is_held_to_its_own_version
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let changed = |_, expected| if expected == ExpectedVersion::NoStream { ExpectedVersion::Any } else { expected };
            store.append(expecting(&request, changed)).await
        }
    }
    EarlierVersionsAreTaken breaks [
        of_writers_that_expect_the_same_version_one_writes
        an_append_that_expects_an_earlier_version_is_refused
        a_refusal_names_the_stream_and_what_was_expected_and_what_is
        an_append_continues_after_archived_messages
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            taking(store, request, |expected, actual| expected < actual).await
        }
    }
    LaterVersionsAreTaken breaks [
        one_refused_append_does_not_fail_its_neighbours
        an_append_that_expects_a_later_version_is_refused
        an_append_that_expects_a_version_is_refused_where_there_is_no_stream
        a_refusal_names_the_stream_and_what_was_expected_and_what_is
        a_refused_append_writes_nothing
        each_stream_of_an_append_is_held_to_its_own_version
        a_refused_append_can_be_made_again
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            taking(store, request, |expected, actual| expected > actual).await
        }
    }
    ExpectedVersionsCountFrom1 breaks [
        of_writers_that_expect_the_same_version_one_writes
        an_expected_version_that_holds_lets_the_append_through
        an_append_that_expects_a_later_version_is_refused
        an_append_that_expects_a_version_is_refused_where_there_is_no_stream
        a_refusal_names_the_stream_and_what_was_expected_and_what_is
        each_stream_of_an_append_is_held_to_its_own_version
        a_refused_append_can_be_made_again
        an_append_continues_after_archived_messages
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let changed = |_, expected| match expected {
                ExpectedVersion::Exact(Position::FIRST) => ExpectedVersion::NoStream,
                ExpectedVersion::Exact(position) => ExpectedVersion::Exact(Position::new(position.get() - 1)),
                other => other,
            };
            store.append(expecting(&request, changed)).await
        }
    }
    OnlyTheFirstStreamIsHeldToItsVersion breaks [
        a_refusal_names_the_stream_and_what_was_expected_and_what_is
        an_append_that_one_of_its_streams_refuses_is_written_to_none_of_them
        each_stream_of_an_append_is_held_to_its_own_version
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let changed = |number, expected| if number == 0 { expected } else { ExpectedVersion::Any };
            store.append(expecting(&request, changed)).await
        }
    }
    ARefusalReportsAnotherActualVersion breaks [a_refusal_names_the_stream_and_what_was_expected_and_what_is] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            store.append(request).await.map_err(|error| match error {
                Error::WrongExpectedVersion { stream, expected, actual } => {
                    let actual = Version::at(actual.next());
                    Error::WrongExpectedVersion { stream, expected, actual }
                }
                other => other,
            })
        }
    }
    ARefusalNamesTheFirstStream breaks [a_refusal_names_the_stream_and_what_was_expected_and_what_is] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let first = request.appends().first().map(|append| append.stream.clone());
            store.append(request).await.map_err(|error| match error {
                Error::WrongExpectedVersion { stream, expected, actual } => {
                    Error::WrongExpectedVersion { stream: first.unwrap_or(stream), expected, actual }
                }
                other => other,
            })
        }
    }
    ARefusedAppendWritesItsFirstMessage breaks [
        of_writers_that_expect_the_same_version_one_writes
        a_refused_append_writes_nothing
        an_append_that_one_of_its_streams_refuses_is_written_to_none_of_them
        each_stream_of_an_append_is_held_to_its_own_version
        a_refused_append_can_be_made_again
        an_append_continues_after_archived_messages
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            if let (Err(Error::WrongExpectedVersion { .. }), Some(first)) = (&result, request.appends().first()) {
                let append = Append::to(first.stream.clone()).message(first.messages[0].clone());
                store.append(append.into()).await?;
            }
            result
        }
    }
    TheStreamsBesideARefusalAreWritten breaks [
        an_append_that_one_of_its_streams_refuses_is_written_to_none_of_them
        each_stream_of_an_append_is_held_to_its_own_version
    ] {
        async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            if let Err(Error::WrongExpectedVersion { stream, .. }) = &result {
                for append in request.appends().iter().filter(|append| append.stream != *stream) {
                    let _ = store.append(append.clone().into()).await;
                }
            }
            result
        }
    }
}
