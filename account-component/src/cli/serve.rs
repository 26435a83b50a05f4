//! `account-component serve`: the accounts over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use message_store::service::stop_signal;

use account_component::component::service;
use account_component::http::{App, Metrics, listen, serve};

use super::StoreUrl;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreUrl,
    /// The address to listen on. Nobody is asked for a password, so put a proxy before any other address than this machine's own
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The number of commands that are handled at the same time, each of another account
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Do not run the component here: another process does
    #[arg(long)]
    no_consumers: bool,
    /// The seconds in which requests and messages under way may end after a signal
    #[arg(long, default_value_t = 25, value_name = "SECONDS")]
    drain_within: u64,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let drain_within = Duration::from_secs(arguments.drain_within);
    let metrics = Metrics::install()?;
    let store = arguments.store.open().await?;
    let listener = listen(arguments.listen).await?;
    let component = if arguments.no_consumers {
        None
    } else {
        Some(service(&store, arguments.concurrency).name("accounts").drain_within(drain_within).start().await?)
    };
    let app = App::new(&store, component.clone())?.with_metrics(metrics);
    eprintln!("listening on http://{}; GET /openapi.json describes the service", listener.local_addr()?);
    let ended = component.clone();
    let stop = async move {
        // If the component ends, requests would only be half handled.
        let component_ends = async {
            match &ended {
                Some(component) => drop(component.ended().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stop_signal() => {}
            () = component_ends => {}
        }
    };
    serve(app, listener, stop, drain_within).await;
    if let Some(component) = component {
        component.stop();
        component.ended().await?;
    }
    Ok(())
}
