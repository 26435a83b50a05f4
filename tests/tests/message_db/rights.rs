//! The roles that may read and write, in a new store and after an adoption.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::postgres::{adopt, check, migrate};
use message_store::{ExpectedVersion, Json, MessageStoreExt as _, NewMessage, Read, StreamName};
use message_store_tests::message_db::{connect, message_db};
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::Client;
use uuid::Uuid;

/// Calls that write. `ROLE` stands for the role's name.
const WRITES: [&str; 8] = [
    "SELECT message_store.write_message(gen_random_uuid()::varchar, 'ROLE-1', 'T', '{}')",
    "SELECT message_store.append_messages('{ROLE-2}', '{NULL}', '{1}', '{1}', '{NULL}', '{1}', ARRAY[gen_random_uuid()], '{T}', '{null}', '{null}'::jsonb[])",
    "SELECT message_store.append_message('ROLE-3', NULL, NULL, gen_random_uuid(), 'T', NULL, NULL)",
    "SELECT message_store.take_key('s', 'ROLE', interval '1 hour', 'f', NULL)",
    "SELECT * FROM message_store.find_key('s', 'k', interval '1 hour', true)",
    "SELECT message_store.lease_key('s', 'k', gen_random_uuid(), interval '1 hour')",
    "SELECT message_store.release_key('s', 'k', gen_random_uuid())",
    "SELECT message_store.sweep(10)",
];
const READS: [&str; 5] = [
    "SELECT count(*) FROM message_store.messages",
    "SELECT * FROM message_store.get_stream_messages('account-1')",
    "SELECT * FROM message_store.get_category_messages('account')",
    "SELECT * FROM message_store.get_last_stream_message('account-1')",
    "SELECT message_store.horizon()",
];

/// The roles of one test. Roles belong to the cluster, so each test has its own, and drops them at the end.
struct Roles {
    admin: Client,
    names: Vec<String>,
}

impl Roles {
    async fn new(database: &TestDatabase, count: usize) -> Self {
        let names: Vec<String> = (0..count).map(|_| format!("role_{}", Uuid::new_v4().simple())).collect();
        let admin = connect(database.url(), None).await;
        for name in &names {
            admin.batch_execute(&format!("CREATE ROLE {name} LOGIN")).await.unwrap();
        }
        Self { admin, names }
    }

    async fn execute(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    async fn end(self) {
        for name in &self.names {
            self.admin.batch_execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await.unwrap();
        }
    }
}

/// The SQLSTATE of a call's error, or "ok".
async fn answer(url: &str, role: &str, sql: &str) -> String {
    let client = connect(url, Some(role)).await;
    let sql = sql.replace("ROLE", role);
    match client.simple_query(&sql).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()),
    }
}

async fn answers<const N: usize>(url: &str, role: &str, calls: [&str; N]) -> Vec<String> {
    let mut answers = Vec::new();
    for sql in calls {
        answers.push(answer(url, role, sql).await);
    }
    answers
}

#[tokio::test]
async fn a_role_that_may_read_may_not_write_and_keeps_reading() {
    let database = TestDatabase::create().await;
    let url = database.url();
    let roles = Roles::new(&database, 3).await;
    let [stranger, reader, reads_all] = &roles.names[..] else { unreachable!() };
    roles.execute(&format!("GRANT USAGE ON SCHEMA message_store TO {stranger}")).await;
    roles
        .execute(&format!(
            "GRANT USAGE ON SCHEMA message_store TO {reader}; GRANT SELECT ON message_store.messages TO {reader}"
        ))
        .await;
    roles.execute(&format!("GRANT pg_read_all_data TO {reads_all}")).await;
    for role in &roles.names {
        assert_eq!(answers(url, role, WRITES).await, ["42501"; 8], "{role} wrote");
    }
    for role in [reader, reads_all] {
        assert_eq!(answers(url, role, READS).await, ["ok"; 5], "{role} could not read");
    }
    // The library also reads with this role, and gets the same refusal as from Message DB.
    let store = message_store::connect(&format!("{url}?options=-c%20role%3D{reader}")).await.unwrap();
    assert!(store.read_all(Read::default()).await.unwrap().messages.is_empty());
    let stream = StreamName::new("account-1").unwrap();
    let refused = store.append_to(&stream, ExpectedVersion::Any, vec![NewMessage::new("T", Json::NULL)]).await;
    assert!(refused.unwrap_err().to_string().contains("permission denied"));
    roles.end().await;
}

/// Grants EXECUTE to PUBLIC, which is PostgreSQL's default for functions.
#[tokio::test]
async fn twin_without_the_revocation_a_role_that_may_read_writes() {
    let database = TestDatabase::create().await;
    let roles = Roles::new(&database, 1).await;
    let reader = &roles.names[0];
    roles
        .execute(&format!(
            "GRANT USAGE ON SCHEMA message_store TO {reader}; GRANT SELECT ON message_store.messages TO {reader}"
        ))
        .await;
    roles.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA message_store TO PUBLIC").await;
    assert_eq!(answers(database.url(), reader, WRITES).await, ["ok"; 8]);
    let report = check(database.url()).await.unwrap().to_string();
    assert!(
        report.contains("write_message(varchar, varchar, varchar, jsonb, jsonb, bigint): every role may call it"),
        "{report}"
    );
    migrate(database.url()).await.unwrap();
    assert_eq!(answers(database.url(), reader, WRITES).await, ["42501"; 8]);
    roles.end().await;
}

#[tokio::test]
async fn a_member_of_the_role_and_a_role_that_may_execute_write_message_write() {
    let database = TestDatabase::create().await;
    let roles = Roles::new(&database, 2).await;
    let [member, writer] = &roles.names[..] else { unreachable!() };
    roles.execute(&format!("GRANT message_store TO {member}")).await;
    roles.execute(&format!("GRANT USAGE ON SCHEMA message_store TO {writer}; GRANT EXECUTE ON FUNCTION message_store.write_message TO {writer}")).await;
    let report = check(database.url()).await.unwrap().to_string();
    assert!(
        report.contains(&format!(
            "role {writer}: it may write by write_message, and not by append_message, append_messages,"
        )),
        "{report}"
    );
    migrate(database.url()).await.unwrap();
    for role in &roles.names {
        assert_eq!(answers(database.url(), role, WRITES).await, ["ok"; 8], "{role}");
    }
    roles.end().await;
}

#[tokio::test]
async fn after_an_adoption_those_that_wrote_write_by_the_functions_alone_and_those_that_read_do_not() {
    let database = message_db().await;
    let url = database.url();
    let roles = Roles::new(&database, 7).await;
    let [writer, column_writer, group, member_of_group, member, reader, executes] = &roles.names[..] else {
        unreachable!()
    };
    for role in [writer, column_writer, group, reader, executes] {
        roles
            .execute(&format!(
                "GRANT USAGE ON SCHEMA message_store TO {role}; GRANT SELECT ON message_store.messages TO {role}"
            ))
            .await;
    }
    for role in [writer, group] {
        roles.execute(&format!("GRANT INSERT ON message_store.messages TO {role}; GRANT USAGE ON SEQUENCE message_store.messages_global_position_seq TO {role}")).await;
    }
    roles.execute(&format!("GRANT INSERT (id, stream_name, position, type, data, metadata) ON message_store.messages TO {column_writer}; GRANT USAGE ON SEQUENCE message_store.messages_global_position_seq TO {column_writer}")).await;
    roles.execute(&format!("GRANT {group} TO {member_of_group}; GRANT message_store TO {member}")).await;
    // A right that has no effect in Message DB, and that would allow every write here.
    roles.execute(&format!("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA message_store TO {executes}")).await;

    let writers = [writer, column_writer, group, member_of_group, member];
    for (role, expected) in
        writers.map(|role| (role, "ok")).into_iter().chain([reader, executes].map(|role| (role, "42501")))
    {
        assert_eq!(answer(url, role, WRITES[0]).await, expected, "{role} before the adoption");
    }
    adopt(url).await.unwrap();
    for role in writers {
        assert_eq!(answers(url, role, WRITES).await, ["ok"; 8], "{role}");
        let direct = "INSERT INTO message_store.messages (stream_name, position, type) VALUES ('ROLE-9', 7, 'T')";
        assert_eq!(answer(url, role, direct).await, "42501", "{role}");
    }
    for role in [reader, executes] {
        assert_eq!(answers(url, role, WRITES).await, ["42501"; 8], "{role}");
    }
    for role in &roles.names {
        assert_eq!(answers(url, role, READS).await, ["ok"; 5], "{role}");
    }
    let report = check(url).await.unwrap();
    assert!(report.findings.iter().all(|finding| finding.problem.is_none() || finding.what == "fsync"), "{report}");
    roles.end().await;
}
