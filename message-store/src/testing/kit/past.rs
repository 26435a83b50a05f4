//! The past of a case: the given messages, and what the runtime remembers of them.

use std::sync::Arc;

use crate::entity::{EntityStore, Projection};
use crate::{
    ExpectedVersion, GlobalPosition, Message, MessageStore, MessageStoreExt as _, NewMessage, Outcome, Sequence,
    StreamName,
};

/// Appends a message to a stream, and returns it as a consumer reads it.
pub(super) async fn send(store: &dyn MessageStore, stream: &StreamName, message: NewMessage) -> Message {
    let id = message.id;
    store.append_to(stream, ExpectedVersion::Any, vec![message]).await.unwrap();
    store.message(id).await.unwrap().expect("it was just written")
}

/// Writes the given messages to the entity's stream. The runtime remembers the first `known` of them, and another writer
/// has written the others. `None`: the runtime has read nothing.
pub(super) async fn write_given<P: Projection>(
    entities: &EntityStore<P>,
    stream: &StreamName,
    given: &[NewMessage],
    known: Option<usize>,
) {
    let (first, others) = given.split_at(known.unwrap_or(given.len()));
    for (part, is_known) in [(first, known.is_some()), (others, false)] {
        if !part.is_empty() {
            entities.store.append_to(stream, ExpectedVersion::Any, part.to_vec()).await.unwrap();
        }
        if is_known {
            entities.refresh(stream).await.unwrap();
        }
    }
}

/// Makes a message late: adds a higher mark of its origin to the remembered entity.
pub(super) async fn make_late<P: Projection>(
    entities: &EntityStore<P>,
    stream: &StreamName,
    handler: &str,
    message: &Message,
) {
    let mut entry = entities.load(stream).await.unwrap().entry;
    let mut entity = (*entry.entity).clone();
    let above = GlobalPosition::new(message.global_position.get() + 1_000);
    entity.sequences.record(Some(handler), &Sequence::new(entities.store.store_id(), message.category(), above));
    entry.entity = Arc::new(entity);
    entities.remember(stream, entry);
}

/// Panics if a delivery after the first had an effect.
pub(super) fn assert_repeat_is_recognised(time: u32, outcome: &Outcome) {
    let is_repeat = matches!(outcome, Outcome::AlreadyProcessed { .. } | Outcome::Ignored);
    assert!(time == 1 || is_repeat, "delivery {time} was {outcome}");
}

/// Runs a case in a runtime on a separate thread, because the test may run inside a runtime.
pub(super) fn run_apart<T, F>(case: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(case())
    };
    std::thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
