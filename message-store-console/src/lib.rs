//! A console for message stores: pages that show what a store contains, what runs on it, and what came again.
//!
//! Read it in this order: `app.rs` (the console and its routes), `html.rs` (what all pages share), `pages/` (one file for each screen),
//! `entities.rs` (how the state of an entity is shown), `guard.rs` and `actions.rs` (who may see and do what).
//!
//! Problem: what is in a store is only seen with SQL, and what runs on it only in the logs of each process. Fix: pages made of reads
//! of the store, by the same operations as those of the command line. Why it is safe: a console reads, unless it is told to allow
//! actions; its pages run no scripts, and the content of messages is text in them, whatever it contains.
//!
//! ```no_run
//! use message_store::connect;
//! use message_store_console::Console;
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let store = connect("sqlite:store.db").await?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8090").await?;
//! Console::new(&store).serve(listener, std::future::pending()).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod actions;
mod app;
mod entities;
mod failure;
mod fields;
mod graph;
mod guard;
mod html;
mod json;
mod options;
mod pages;

pub use app::Console;
pub use options::Options;
