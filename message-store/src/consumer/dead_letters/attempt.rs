//! One attempt to handle a message. A panic of the handler is returned as an error.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::SetAside;
use crate::handling::{Context, Handler};
use crate::{Error, Message, Outcome, Source};

impl SetAside {
    pub(super) async fn attempt<H: Handler>(&self, handler: &H, message: &Message) -> Result<Outcome, Source> {
        let context = Context::new(&self.letters.store, handler.name(), message)
            .with_shutdown(self.outages.shutdown())
            .with_fence(self.share.fence(&message.stream)?);
        let handled = catch_panic(handler.handle(message, &context));
        let outcome = match self.pace.time_limit {
            None => handled.await?,
            Some(limit) => match timeout(limit, handled).await {
                Ok(handled) => handled?,
                Err(_) => return Err(took_too_long(limit)),
            },
        };
        self.time_outs.end();
        Ok(outcome)
    }
}

/// The error of an attempt that reached its time limit. As with the database's own limits, the store or the message may
/// be at fault: see [`super::time_outs`].
fn took_too_long(limit: Duration) -> Source {
    let cause = format!("the handler did not end within its time limit of {limit:?}");
    Error::TimedOut { context: "handling the message".to_owned(), cause: cause.into() }.into()
}

/// The result of a call of the handler. A panic is an error.
pub(super) async fn catch_panic<T>(call: impl Future<Output = Result<T, Source>>) -> Result<T, Source> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Source {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("without a message")).into()
}
