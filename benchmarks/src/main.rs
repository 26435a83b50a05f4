//! Measures the message store, the databases under it, Message DB and other event stores in one run.

mod bench;
mod databases;
mod figures;
mod handling;
mod messages;
mod processes;
mod references;
mod report;
mod rounds;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use message_store_tests::postgres::{LocalServer, Purpose};

use bench::Bench;
use databases::Databases;
use report::Report;
use rounds::Effort;

/// Measures the message store, plain SQL, Message DB and other event stores, on a private PostgreSQL with fsync on.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Fewer and shorter rounds: under five minutes.
    #[arg(long)]
    quick: bool,
    /// Only these figures, such as F1,F3.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The file to which the figures are written as JSON.
    #[arg(long, default_value = "figures.json")]
    json: PathBuf,
    /// The folder `database` of Message DB's npm package.
    #[arg(long)]
    message_db: Option<PathBuf>,
    /// The program that runs the other event stores (benchmarks/peers).
    #[arg(long)]
    peers: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Writers in a separate process. The benchmarks start it.
    #[command(hide = true)]
    Writers(processes::Writers),
    /// A member of a group of consumers in a separate process. The benchmarks start it.
    #[command(hide = true)]
    Member(handling::Member),
    /// A consumer in a separate process. The benchmarks start it.
    #[command(hide = true)]
    Backlog {
        #[arg(long)]
        url: String,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.part {
        Some(Part::Writers(writers)) => return writers.run().await,
        Some(Part::Member(member)) => return member.run().await,
        Some(Part::Backlog { url }) => return figures::commands::backlog(url).await,
        None => {}
    }
    let server = LocalServer::start(Purpose::Measuring).await?;
    let measured = tokio::select! {
        measured = measure(&arguments, server.url()) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    server.stop()?;
    let report = measured?;
    report.print();
    report.write(&arguments.json)
}

async fn measure(arguments: &Arguments, server: &str) -> Result<Report> {
    let effort = if arguments.quick {
        Effort { rounds: 3, time: Duration::from_millis(700), is_quick: true }
    } else {
        Effort { rounds: 5, time: Duration::from_secs(2), is_quick: false }
    };
    let databases = Databases::new(server, arguments.message_db.as_deref());
    let bench = Bench { peers: arguments.peers.clone(), databases, effort };
    let mut report = Report {
        machine: machine(server).await?,
        effort: format!("{} rounds of {:?} a side, in rotated order; medians", effort.rounds, effort.time),
        lines: Vec::new(),
    };
    let wanted = |figure: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == figure);
    macro_rules! figure {
        ($name:literal, $measure:expr) => {
            if wanted($name) {
                eprintln!("{}", $name);
                report.lines.extend($measure.await?);
            }
        };
    }
    figure!("F1", figures::appends::f1(&bench));
    figure!("F1", figures::locked_category::locked_category(&bench));
    figure!("F2", figures::appends::f2(&bench));
    figure!("F3", figures::appends::f3(&bench));
    figure!("F4", figures::commands::f4(&bench));
    figure!("F5", figures::reads::f5(&bench));
    figure!("F6", figures::wake_ups::f6(&bench));
    figure!("F7", figures::growth::f7(&bench));
    figure!("F7", figures::sizes::sizes(&bench));
    figure!("F8", figures::commands::f8(&bench));
    figure!("F9", figures::sqlite::f9(&bench));
    figure!("F10", figures::message_db::f10(&bench));
    figure!("F11", figures::message_db::f11(&bench));
    figure!("Memory", figures::commands::memory(&bench));
    figure!("P", figures::peers::peers(&bench));
    figure!("R", figures::readers_safety::safety(&bench));
    Ok(report)
}

/// The description of the machine and the server, in one line.
async fn machine(server: &str) -> Result<String> {
    let client = databases::connect(server).await?;
    let setting = async |name: &str| -> Result<String> {
        Ok(client.query_one("SELECT current_setting($1)", &[&name]).await?.try_get(0)?)
    };
    let processors = std::thread::available_parallelism()?;
    let (version, fsync, commit) =
        (setting("server_version").await?, setting("fsync").await?, setting("synchronous_commit").await?);
    Ok(format!("{processors} processors; PostgreSQL {version}, fsync {fsync}, synchronous_commit {commit}"))
}
