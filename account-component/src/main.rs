//! The account component's command line.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let logs = match cli::log(arguments.verbose) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("error: {}", message_store::chain(&*error));
            return ExitCode::FAILURE;
        }
    };
    let ended = arguments.run().await;
    logs.end().await;
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message_store::chain(&*error));
            ExitCode::FAILURE
        }
    }
}
