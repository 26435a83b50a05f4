//! Finds or starts a PostgreSQL server for tests.
//!
//! `postgres-for-tests COMMAND [ARGUMENT…]` runs a command with the server in its environment, then stops the server
//! and exits as the command did. Without a command it prints the server's URL, and stops the server when its standard
//! input ends.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use message_store_tests::postgres::{SERVER, Server};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next();
    if command.as_ref().is_some_and(|word| word == "--help" || word == "-h") {
        println!("Finds or starts a PostgreSQL server for tests.\n\nUsage: postgres-for-tests [COMMAND [ARGUMENT…]]");
        return Ok(ExitCode::SUCCESS);
    }
    // An interrupt at the terminal also reaches the tests. They end, and then this program stops the server.
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::spawn(async move { while interrupted.recv().await.is_some() {} });
    let server = Server::find().await?;
    eprintln!("PostgreSQL for tests: {}", server.describe());
    let code = match command {
        Some(command) => run(Command::new(command).args(arguments).env(SERVER, server.url())).await,
        None => serve(server.url()).await,
    };
    server.stop().await?;
    code
}

async fn run(command: &mut Command) -> Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut child = command.kill_on_drop(true).spawn().context("the command could not be started")?;
    tokio::select! {
        status = child.wait() => {
            let code = status?.code().and_then(|code| u8::try_from(code).ok());
            Ok(ExitCode::from(code.unwrap_or(1)))
        }
        _ = terminated.recv() => {
            child.kill().await?;
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn serve(url: &str) -> Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    println!("{url}");
    let (mut stdin, mut input) = (tokio::io::stdin(), Vec::new());
    tokio::select! {
        end = stdin.read_to_end(&mut input) => { end?; }
        _ = terminated.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}
