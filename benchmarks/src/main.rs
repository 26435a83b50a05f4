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
use report::{Line, Report};
use rounds::Effort;

/// The figures that compare with other event stores.
const OF_PEERS: [&str; 3] = ["P", "P10000", "Conditions"];

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
    /// The folder with initdb and the other programs of another PostgreSQL, for P, P10000 and Conditions.
    #[arg(long)]
    peers_postgres: Option<PathBuf>,
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
    let (rounds, time) = if arguments.quick { (3, Duration::from_millis(700)) } else { (5, Duration::from_secs(2)) };
    let effort = Effort { rounds, time, is_quick: arguments.quick };
    let mut machine = vec![format!("{} processors", std::thread::available_parallelism()?)];
    let mut lines = Vec::new();
    let is_wanted = |figure: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == figure);
    // One server at a time, so that an idle one disturbs no figure.
    let newer = arguments.peers_postgres.as_deref().filter(|_| OF_PEERS.iter().any(|figure| is_wanted(figure)));
    let are_of_peers = |only: &[String]| !only.is_empty() && only.iter().all(|only| OF_PEERS.contains(&only.as_str()));
    if newer.is_none() || !are_of_peers(&arguments.only) {
        let on_local = |figure: &str| is_wanted(figure) && (!OF_PEERS.contains(&figure) || newer.is_none());
        let server = LocalServer::start(Purpose::Measuring).await?;
        machine.push(measure_on(server, &arguments, effort, on_local, &mut lines).await?);
    }
    if let Some(programs) = newer {
        let server = LocalServer::start_with(programs.to_owned(), Purpose::Measuring).await?;
        let server_is = measure_on(
            server,
            &arguments,
            effort,
            |figure| is_wanted(figure) && OF_PEERS.contains(&figure),
            &mut lines,
        )
        .await?;
        machine.push(format!("{}: {server_is}", OF_PEERS.join(", ")));
    }
    let effort = format!("{rounds} rounds of {time:?} a side, in rotated order; medians");
    let report = Report { machine: machine.join("; "), effort, lines };
    report.print();
    report.write(&arguments.json)
}

/// Measures figures on this server, and stops it, also after an error. Returns the description of the server.
async fn measure_on(
    server: LocalServer,
    arguments: &Arguments,
    effort: Effort,
    wanted: impl Fn(&str) -> bool,
    lines: &mut Vec<Line>,
) -> Result<String> {
    let databases = Databases::new(server.url(), arguments.message_db.as_deref());
    let bench = Bench { peers: arguments.peers.clone(), databases, effort };
    let measured = tokio::select! {
        measured = measure(&bench, wanted, lines) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    server.stop()?;
    measured
}

async fn measure(bench: &Bench, wanted: impl Fn(&str) -> bool, lines: &mut Vec<Line>) -> Result<String> {
    macro_rules! figure {
        ($name:literal, $measure:expr) => {
            if wanted($name) {
                eprintln!("{}", $name);
                lines.extend($measure.await?);
            }
        };
    }
    figure!("F1", figures::appends::f1(bench));
    figure!("F1", figures::locked_category::locked_category(bench));
    figure!("F2", figures::appends::f2(bench));
    figure!("F3", figures::appends::f3(bench));
    figure!("F4", figures::commands::f4(bench));
    figure!("F5", figures::reads::f5(bench));
    figure!("F6", figures::wake_ups::f6(bench));
    figure!("F7", figures::growth::f7(bench));
    figure!("F7", figures::sizes::sizes(bench));
    figure!("Archive", figures::growth::archive(bench));
    figure!("F8", figures::commands::f8(bench));
    figure!("F9", figures::sqlite::f9(bench));
    figure!("F10", figures::message_db::f10(bench));
    figure!("F11", figures::message_db::f11(bench));
    figure!("Memory", figures::commands::memory(bench));
    figure!("P", figures::peers::short_streams(bench));
    figure!("P10000", figures::peers::long_streams(bench));
    figure!("Snapshots", figures::peers::snapshots(bench));
    figure!("Conditions", figures::peers::conditions(bench));
    figure!("J", figures::jetstream::j(bench));
    figure!("R", figures::readers_safety::safety(bench));
    bench.databases.server_is().await
}
