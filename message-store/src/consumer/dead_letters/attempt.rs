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
        let context = Context::new(&self.letters.store, handler.name(), message).with_shutdown(self.outages.shutdown());
        let handled = catch_panic(handler.handle(message, &context));
        let outcome = match self.pace.time_limit {
            None => handled.await?,
            Some(limit) => match timeout(limit, handled).await {
                Ok(handled) => handled?,
                Err(_) => return Err(self.took_too_long(limit).await),
            },
        };
        self.time_outs.end();
        Ok(outcome)
    }
}

impl SetAside {
    /// The error of an attempt that reached its time limit. If the store does not answer, the fault is not the message's.
    async fn took_too_long(&self, limit: Duration) -> Source {
        let text = format!("the handler did not end within its time limit of {limit:?}");
        if self.time_outs.answers(&*self.letters.store).await {
            return text.into();
        }
        Error::backend(text, true, "and the store does not answer").into()
    }
}

/// The result of a call of the handler. A panic is an error.
pub(super) async fn catch_panic<T>(call: impl Future<Output = Result<T, Source>>) -> Result<T, Source> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Source {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("without a message")).into()
}
