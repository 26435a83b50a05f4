//! One attempt to handle a message. A panic of the handler is returned as an error.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use super::SetAside;
use crate::handling::{Context, Handler};
use crate::{Message, Outcome, Source};

impl SetAside {
    pub(super) async fn attempt<H: Handler>(&self, handler: &H, message: &Message) -> Result<Outcome, Source> {
        let context = Context::new(&self.letters.store, handler.name(), message);
        match AssertUnwindSafe(handler.handle(message, &context)).catch_unwind().await {
            Ok(Ok(outcome)) => {
                self.time_outs.end();
                Ok(outcome)
            }
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(panicked(&*panic)),
        }
    }
}

pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> Source {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("without a message")).into()
}
