//! Stores whose keys are taken wrongly, or recorded wrongly.

use std::sync::OnceLock;

use message_store::store::{Claim, ClaimRecord};
use message_store::{AppendRequest, Error, Json, Key, MessageId, MessageStore, Result};

use super::wrong::{Wrong, keys};

fn nothing() -> AppendRequest {
    Vec::new().into()
}

fn in_scope(claim: &Claim, scope: &str) -> Claim {
    Claim { scope: scope.to_owned(), ..claim.clone() }
}

fn in_lower_case(claim: &Claim) -> Claim {
    Claim { key: Key::new(claim.key.as_str().to_lowercase()).unwrap(), ..claim.clone() }
}

wrong_stores! {
    AKeyThatWasNeverTakenIsRecorded breaks [] {
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            let (at, fingerprint) = (store.now().await?, claim.fingerprint.clone());
            let invented = ClaimRecord { at, fingerprint, result: Json::NULL };
            Ok(keys(store).record(claim).await?.or(Some(invented)))
        }
    }
    ATakenKeyIsSaidToBeFree breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            keys(store).append_once(claim, request, result).await.map(|_| None)
        }
    }
    ARecordForgetsTheAnswer breaks [] {
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            Ok(keys(store).record(claim).await?.map(|record| ClaimRecord { result: Json::NULL, ..record }))
        }
    }
    ARecordHasTheFingerprintOfItsReader breaks [] {
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            let fingerprint = claim.fingerprint.clone();
            Ok(keys(store).record(claim).await?.map(|record| ClaimRecord { fingerprint, ..record }))
        }
    }
    ARecordHasTheTimeOfItsReading breaks [] {
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            let at = store.now().await?;
            Ok(keys(store).record(claim).await?.map(|record| ClaimRecord { at, ..record }))
        }
    }
    ARepeatIsAnsweredWithItsOwnAnswer breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            let seen = keys(store).append_once(claim, request, result.clone()).await?;
            Ok(seen.map(|record| ClaimRecord { result, ..record }))
        }
    }
    KeysIgnoreCase breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            keys(store).append_once(&in_lower_case(claim), request, result).await
        }
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            keys(store).record(&in_lower_case(claim)).await
        }
    }
    ScopesShareTheirKeys breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            keys(store).append_once(&in_scope(claim, "all"), request, result).await
        }
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            keys(store).record(&in_scope(claim, "all")).await
        }
    }
    KeysAreAHandlesOwn(OnceLock<String>) breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            let handle = self.0.get_or_init(|| MessageId::new().to_string());
            keys(store).append_once(&in_scope(claim, &format!("{} of {handle}", claim.scope)), request, result).await
        }
        async fn record(&self, store: &dyn MessageStore, claim: &Claim) -> Result<Option<ClaimRecord>> {
            let handle = self.0.get_or_init(|| MessageId::new().to_string());
            keys(store).record(&in_scope(claim, &format!("{} of {handle}", claim.scope))).await
        }
    }
    AKeyIsTakenWithoutTheMessages breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, _request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            keys(store).append_once(claim, nothing(), result).await
        }
    }
    MessagesAreWrittenWithoutTheKey breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            if request.is_empty() || keys(store).record(claim).await?.is_some() {
                return keys(store).append_once(claim, request, result).await;
            }
            store.append(request).await.map(|_| None)
        }
    }
    MessagesAreWrittenAlthoughTheKeyIsTaken breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            let seen = keys(store).append_once(claim, request.clone(), result).await?;
            if seen.is_some() {
                let _ = store.append(request).await;
            }
            Ok(seen)
        }
    }
    ARepeatIsHeldToItsVersion breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
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
    ARefusedAppendTakesTheKey breaks [] {
        async fn append_once(&self, store: &dyn MessageStore, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
            let seen = keys(store).append_once(claim, request, result.clone()).await;
            if seen.is_err() {
                keys(store).append_once(claim, nothing(), result).await?;
            }
            seen
        }
    }
}
