//! The contract of [`MessageStore`], as tests that every backend runs. Unstable, and destructive: give it empty stores.
//!
//! ```ignore
//! message_store::conformance_tests!(MySubject::new().await);
//! ```

/// Declares the tests of a module, and lists them for [`conformance_tests`](crate::conformance_tests): what is declared is run.
macro_rules! contract {
    ($dollar:tt $module:ident $list:ident { $($(#[$doc:meta])* async fn $name:ident($subject:ident) $body:block)* }) => {
        $($(#[$doc])* pub async fn $name($subject: &impl Subject) $body)*

        #[doc(hidden)]
        #[macro_export]
        macro_rules! $list {
            ($dollar subject:expr) => {
                mod $module {
                    #[allow(unused_imports)]
                    use super::*;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                        async fn $name() {
                            $crate::testing::conformance::$module::$name(&$dollar subject).await;
                        }
                    )*
                }
            };
        }
    };
}

/// Declares the modules, and lists them as well.
macro_rules! modules {
    ($dollar:tt $($module:ident $list:ident)*) => {
        $(pub mod $module;)*

        /// Makes a test of each sentence of the contract. The argument is an expression (it may `.await`) that makes a
        /// [`Subject`](crate::testing::conformance::Subject).
        #[macro_export]
        macro_rules! conformance_tests {
            ($dollar subject:expr) => { $($crate::$list! { $dollar subject })* };
        }
    };
}

modules! {$
    appending appending_tests
    repeating repeating_tests
    reading reading_tests
    filtering filtering_tests
    order order_tests
    waking waking_tests
    identity identity_tests
}

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::{Append, Appended, Json, MessageStore, NewMessage, StreamName};

/// A backend under test: an empty store, and ways to it from outside.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store. It was empty when the subject was made.
    fn store(&self) -> Arc<dyn MessageStore>;

    /// The same store opened once more, as another process would.
    async fn reopen(&self) -> Result<Arc<dyn MessageStore>, Cannot>;

    /// Appends as a slow foreign writer does: in a transaction that stays open after its positions are drawn, until `meanwhile` is over, and is
    /// then committed or rolled back.
    async fn append_slowly(&self, append: Append, meanwhile: BoxFuture<'_, ()>, commit: bool) -> Result<(), Cannot>;
}

/// Why a backend has no such thing: it is printed by the test that would need it.
#[derive(Clone, Copy, Debug)]
pub struct Cannot(pub &'static str);

impl Cannot {
    /// Prints that a test, or a part of it, is not run.
    fn say(self, what: &str) {
        println!("not run: {what}: {}", self.0);
    }
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn message(message_type: &str) -> NewMessage {
    NewMessage::new(message_type, Json::NULL)
}

fn numbered(number: usize) -> NewMessage {
    NewMessage::new("Numbered", Json::encode(&number).unwrap())
}

/// Appends messages of these types to a stream, at any version.
async fn append(store: &dyn MessageStore, name: &str, types: &[&str]) -> Appended {
    let append = Append::to(stream(name)).messages(types.iter().map(|message_type| message(message_type)));
    store.append(append.into()).await.unwrap()
}

/// The types of a stream's messages.
async fn types_in(store: &dyn MessageStore, name: &str) -> Vec<String> {
    let messages = store.read_stream(&stream(name), crate::StreamRead::default()).await.unwrap();
    messages.into_iter().map(|message| message.message_type).collect()
}
