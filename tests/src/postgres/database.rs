//! A database for each test, cloned from a template that was migrated once.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use message_store::postgres::PostgresStore;
use tokio_postgres::Config;
use uuid::Uuid;

use super::SERVER;
use super::server::connect;

/// The prefix of the names of all test databases.
pub(super) const TEST_PREFIX: &str = "message_store_test_";
/// The key of the advisory lock for making the template. The number is arbitrary.
const TEMPLATE_LOCK: i64 = 3_141_592_653_589_793;

/// A new database for one test. It has the schema, unless it was made empty.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
}

impl TestDatabase {
    /// Makes a database with the schema.
    ///
    /// # Panics
    /// Panics if there is no PostgreSQL, because a test is never skipped.
    pub async fn create() -> Self {
        Self::clone_of(true).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Makes a database without a schema.
    ///
    /// # Panics
    /// Panics as [`TestDatabase::create`] does.
    pub async fn create_empty() -> Self {
        Self::clone_of(false).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn clone_of(migrated: bool) -> Result<Self> {
        let server = server()?;
        let template = if migrated { template(server).await? } else { "template0".to_owned() };
        let name = format!("{TEST_PREFIX}{}", Uuid::new_v4().simple());
        let client = connect(server).await?;
        client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
        let database = Self { url: with_database(server, &name)? };
        if migrated {
            // Each clone gets its own identity.
            let rotate = "UPDATE message_store.store_identity SET store_id = gen_random_uuid()";
            connect(&database.url).await?.batch_execute(rotate).await?;
        }
        Ok(database)
    }

    /// The URL with which a store is opened.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Replaces a part of the text of a function, as a planted mistake.
    ///
    /// # Panics
    /// Panics if the function does not contain that text.
    pub async fn replace_in_function(&self, function: &str, sound: &str, wrong: &str) {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        self.execute(&format!(
            "DO $$ DECLARE definition text; wrong text; BEGIN \
               SELECT pg_get_functiondef('message_store.{function}'::regproc) INTO definition; \
               wrong := replace(definition, {}, {}); ASSERT wrong <> definition; EXECUTE wrong; END $$",
            quoted(sound),
            quoted(wrong)
        ))
        .await;
    }

    /// Runs SQL in the database.
    ///
    /// # Panics
    /// Panics if the SQL fails.
    pub async fn execute(&self, sql: &str) {
        connect(&self.url).await.unwrap().batch_execute(sql).await.unwrap();
    }
}

/// The server's URL with another database.
fn with_database(url: &str, name: &str) -> Result<String> {
    let config: Config = url.parse()?;
    let old = config.get_dbname().context("the server's URL names no database")?;
    let (head, tail) = url.rsplit_once('/').context("the server's URL has no path")?;
    Ok(format!("{head}/{}", tail.replacen(old, name, 1)))
}

/// Returns the name of the template. The first caller makes it. The name depends on the schema's files, so that other
/// versions of the schema use other templates.
async fn template(server: &str) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for folder in ["../migrations/postgres", "../migrations/postgres/functions", "../message-store/src/postgres/sql"] {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))? {
            files.push(entry?.path());
        }
        files.retain(|file| file.is_file());
        files.sort();
        for file in files {
            std::fs::read(file)?.hash(&mut hasher);
        }
    }
    let name = format!("message_store_template_{:016x}", hasher.finish());

    let client = connect(server).await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK]).await?;
    let found = client.query_opt("SELECT datistemplate FROM pg_database WHERE datname = $1", &[&name]).await?;
    match found.map(|row| row.get(0)) {
        Some(true) => return Ok(name),
        // An earlier process was stopped while it made the template.
        Some(false) => client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?,
        None => {}
    }
    client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
    drop(PostgresStore::open(&with_database(server, &name)?).await?);
    client.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await?;
    loop {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1";
        let open: i64 = client.query_one(sql, &[&name]).await?.get(0);
        if open == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.batch_execute(&format!("ALTER DATABASE {name} IS_TEMPLATE true")).await?;
    Ok(name)
}

/// The server's URL, from a parent `postgres-for-tests`, or from one that this process starts and that ends with it.
fn server() -> Result<&'static str> {
    static SERVER_URL: OnceLock<Result<(String, Option<Supervisor>), String>> = OnceLock::new();
    let found = SERVER_URL.get_or_init(|| match std::env::var(SERVER) {
        Ok(url) => Ok((url, None)),
        Err(_) => start_supervisor().map(|(url, it)| (url, Some(it))).map_err(|error| format!("{error:#}")),
    });
    match found {
        Ok((url, _)) => Ok(url),
        Err(error) => bail!("{error}"),
    }
}

/// The program `postgres-for-tests`. It stops the server when its standard input is closed, which happens when this
/// process ends.
#[derive(Debug)]
struct Supervisor(#[allow(dead_code)] Child, #[allow(dead_code)] Option<ChildStdin>);

fn start_supervisor() -> Result<(String, Supervisor)> {
    let own = std::env::current_exe()?;
    // Test programs are in the folder `deps` beside the package's own programs.
    let folder = own.parent().and_then(Path::parent).context("the test program stands in no folder")?;
    let mut supervisor = Command::new(folder.join("postgres-for-tests"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("postgres-for-tests could not be started; build it: cargo build -p message-store-tests")?;
    let mut url = String::new();
    let stdout = supervisor.stdout.take().context("postgres-for-tests has no output")?;
    BufReader::new(stdout).read_line(&mut url)?;
    if url.trim().is_empty() {
        bail!("postgres-for-tests found no server; what it tried stands above");
    }
    let stdin = supervisor.stdin.take();
    Ok((url.trim().to_owned(), Supervisor(supervisor, stdin)))
}
