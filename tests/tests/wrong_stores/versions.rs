//! Stores that do not keep expected versions.

use message_store::{
    Append, AppendRequest, Appended, Error, ExpectedVersion, MessageStore, Position, Result, Version,
};

use super::wrong::Wrong;

/// The same request with other expected versions.
fn expecting(request: &AppendRequest, other: impl Fn(usize, ExpectedVersion) -> ExpectedVersion) -> AppendRequest {
    let changed = |(number, append): (usize, &Append)| Append {
        expected: other(number, append.expected),
        ..append.clone()
    };
    let appends: Vec<Append> = request.appends().iter().enumerate().map(changed).collect();
    match request.history() {
        Some(history) => AppendRequest::from(appends).in_history(history),
        None => appends.into(),
    }
}

/// Appends, and where a version refuses that this store takes, appends at any.
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
    ExpectedVersionsAreIgnored breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            store.append(expecting(&request, |_, _| ExpectedVersion::Any)).await
        }
    }
    NoStreamIsTakenForAnyVersion breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let changed = |_, expected| if expected == ExpectedVersion::NoStream { ExpectedVersion::Any } else { expected };
            store.append(expecting(&request, changed)).await
        }
    }
    EarlierVersionsAreTaken breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            taking(store, request, |expected, actual| expected < actual).await
        }
    }
    LaterVersionsAreTaken breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            taking(store, request, |expected, actual| expected > actual).await
        }
    }
    ExpectedVersionsCountFrom1 breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let changed = |_, expected| match expected {
                ExpectedVersion::Exact(Position::FIRST) => ExpectedVersion::NoStream,
                ExpectedVersion::Exact(position) => ExpectedVersion::Exact(Position::new(position.get() - 1)),
                other => other,
            };
            store.append(expecting(&request, changed)).await
        }
    }
    OnlyTheFirstStreamIsHeldToItsVersion breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let changed = |number, expected| if number == 0 { expected } else { ExpectedVersion::Any };
            store.append(expecting(&request, changed)).await
        }
    }
    ARefusalReportsAnotherActualVersion breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            store.append(request).await.map_err(|error| match error {
                Error::WrongExpectedVersion { stream, expected, actual } => {
                    let actual = Version::at(actual.next());
                    Error::WrongExpectedVersion { stream, expected, actual }
                }
                other => other,
            })
        }
    }
    ARefusalNamesTheFirstStream breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let first = request.appends().first().map(|append| append.stream.clone());
            store.append(request).await.map_err(|error| match error {
                Error::WrongExpectedVersion { stream, expected, actual } => {
                    Error::WrongExpectedVersion { stream: first.unwrap_or(stream), expected, actual }
                }
                other => other,
            })
        }
    }
    ARefusedAppendWritesItsFirstMessage breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let result = store.append(request.clone()).await;
            if let (Err(Error::WrongExpectedVersion { .. }), Some(first)) = (&result, request.appends().first()) {
                let append = Append::to(first.stream.clone()).message(first.messages[0].clone());
                store.append(append.into()).await?;
            }
            result
        }
    }
    TheStreamsBesideARefusalAreWritten breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
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
