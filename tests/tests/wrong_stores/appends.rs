//! Stores that write, or say that they wrote, something else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use message_store::{
    Append, AppendRequest, Appended, Error, ExpectedVersion, Message, MessageStore, Place, Position,
    Result,
};
use tokio::sync::Mutex;

use super::wrong::Wrong;

fn moved(message: Message, to: impl Fn(i64) -> i64) -> Message {
    Message { position: Position::new(to(message.position.get())), ..message }
}

fn all_moved(mut appended: Appended, to: impl Fn(i64) -> i64) -> Appended {
    for place in &mut appended.written {
        place.position = Position::new(to(place.position.get()));
    }
    appended
}

/// Locks of streams, one after the other, in the order in which a request names them.
#[derive(Debug, Default)]
pub(crate) struct Locks([Mutex<()>; 2]);

wrong_stores! {
    PositionsBeginAt1 breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            store.append(request).await.map(|appended| all_moved(appended, |position| position + 1))
        }
        fn shown(&self, message: Message) -> Message {
            moved(message, |position| position + 1)
        }
    }
    PositionsHaveGaps breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            store.append(request).await.map(|appended| all_moved(appended, |position| position * 2))
        }
        fn shown(&self, message: Message) -> Message {
            moved(message, |position| position * 2)
        }
    }
    TheLastStreamIsWrittenFirst breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let history = request.history().unwrap_or(store.history());
            let mut appends = request.appends().to_vec();
            appends.reverse();
            let counts: Vec<usize> = appends.iter().map(|append| append.messages.len()).collect();
            let appended = store.append(AppendRequest::from(appends).in_history(history)).await?;
            let mut rest = appended.written.as_slice();
            let mut written = Vec::new();
            for count in counts {
                let (places, others) = rest.split_at(count);
                written.splice(0..0, places.iter().copied());
                rest = others;
            }
            Ok(Appended { written, ..appended })
        }
    }
    EveryMessageIsGivenThePlaceOfTheFirst breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let mut appended = store.append(request).await?;
            let first = appended.written[0].global_position;
            appended.written.iter_mut().for_each(|place| place.global_position = first);
            Ok(appended)
        }
    }
    EveryAppendIsMarkedAsAlreadyWritten breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            Ok(Appended { already_written: true, ..store.append(request).await? })
        }
    }
    OnlyTheFirstStreamIsWritten breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let others: usize = request.appends().iter().skip(1).map(|append| append.messages.len()).sum();
            let Some(first) = request.appends().first().filter(|_| others > 0) else { return store.append(request).await };
            let mut appended = store.append(first.clone().into()).await?;
            for _ in 0..others {
                let last = appended.written.last().unwrap().global_position;
                appended.written.push(Place { position: Position::FIRST, global_position: last.next() });
            }
            Ok(appended)
        }
    }
    OppositeOrdersDeadlock(Locks) breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let lock_of = |append: &Append| usize::from(append.stream.as_str().starts_with("left"));
            if let [first, second] = request.appends()
                && lock_of(first) != lock_of(second)
            {
                let _first = self.0.0[lock_of(first)].lock().await;
                tokio::time::sleep(Duration::from_millis(2)).await;
                let _second = self.0.0[lock_of(second)].lock().await;
                return store.append(request).await;
            }
            store.append(request).await
        }
    }
    ARefusalFailsTheAppendsBesideIt(AtomicUsize) breaks [] {
        async fn append(&self, store: &dyn MessageStore, request: AppendRequest) -> Result<Appended> {
            let refused_before = self.0.load(Ordering::SeqCst);
            let is_any = request.appends().iter().all(|append| append.expected == ExpectedVersion::Any);
            let result = store.append(request).await;
            if result.is_err() {
                self.0.fetch_add(1, Ordering::SeqCst);
            } else if is_any && self.0.load(Ordering::SeqCst) > refused_before {
                return Err(Error::TimedOut { context: "an append".to_owned(), cause: "a neighbour".into() });
            }
            result
        }
    }
}
