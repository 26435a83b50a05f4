//! Troubles of a PostgreSQL server.

use std::time::Duration;

use anyhow::Result;
use message_store::operations::{Trouble, TroubleKind};
use message_store::postgres::{Check, CheckedItem, Installation, OpenTransaction, check, open_transactions};

/// The troubles of the server that a URL names, and of the schema there. It does not open the store, so it works when that cannot be
/// opened. A transaction is a trouble when it is open for longer than `patience`.
pub(super) async fn server_troubles(url: &str, patience: Duration) -> Result<Vec<Trouble>> {
    let Check { findings, installation, .. } = check(url).await?;
    let mut troubles: Vec<Trouble> =
        findings.into_iter().filter_map(|finding| of_finding(finding, &installation)).collect();
    for transaction in open_transactions(url, patience).await? {
        let OpenTransaction { process, program, user, state, age, statement, .. } = transaction;
        let what = format!(
            "{program} (user {user}, process {process} of the server) has had a transaction open for {} s, which keeps writers or \
             readers of the store waiting. It is {state}, and its last statement is: {statement}",
            age.as_secs()
        );
        let mend = format!("End it in the program that began it, or with SELECT pg_terminate_backend({process})");
        troubles.push(Trouble::new(TroubleKind::ForeignTransaction, what, mend));
    }
    Ok(troubles)
}

fn of_finding(CheckedItem { what, problem, .. }: CheckedItem, installation: &Installation) -> Option<Trouble> {
    let problem = problem?;
    let migrate = if *installation == Installation::MessageDb {
        "`message-store migrate --adopt`"
    } else {
        "`message-store migrate`, as the owner of the schema"
    };
    let (kind, mend) = match what.as_str() {
        "fsync" | "synchronous_commit" => {
            (TroubleKind::NotDurable, format!("Set {what} = on in the server's configuration"))
        }
        what if what.starts_with("category reads") => {
            (TroubleKind::StandbyAway, "Start the standby, or leave category_reads=standby out of the URL".to_owned())
        }
        "schema" => (TroubleKind::SchemaToUpgrade, migrate.to_owned()),
        what if what.starts_with("role ") || what.starts_with("rights ") => (TroubleKind::Rights, migrate.to_owned()),
        _ => (TroubleKind::Schema, migrate.to_owned()),
    };
    Some(Trouble::new(kind, format!("{what}: {problem}"), mend))
}
