//! Message DB's functions, views and settings, as its clients see them. Each row is a call and its result.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::StreamName;
use message_store_tests::message_db::connect;
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Returns the rows of a call, with columns joined by `|`, or the SQLSTATE and the text of its error.
async fn call(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let rows = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    let columns = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL"));
                    Some(columns.collect::<Vec<_>>().join("|"))
                }
                _ => None,
            });
            rows.collect::<Vec<_>>().join("\n")
        }
        Err(error) => {
            let error = error.as_db_error().unwrap();
            format!("{} {}", error.code().code(), error.message())
        }
    }
}

async fn check(client: &Client, calls: &[(&str, &str)]) {
    for (sql, expected) in calls {
        assert_eq!(call(client, sql).await, *expected, "{sql}");
    }
}

fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// A client with the role of Message DB's clients, and *without* a useful search path.
async fn client() -> Client {
    let database = TestDatabase::create().await;
    let client = connect(database.url(), Some("message_store")).await;
    client.batch_execute("SET search_path = pg_catalog").await.unwrap();
    client
}

/// A client as above, of a store with five messages.
async fn client_with_messages() -> Client {
    let client = client().await;
    for (number, stream, message_type, data, metadata) in [
        (1, "account-1", "Opened", r#"'{"b": 1, "a":  2}'"#, "NULL"),
        (2, "account-2+x", "Opened", "NULL", r#"'{"correlationStreamName": "transfer-9"}'"#),
        (3, "account-1", "Deposited", "'7'", r#"'{"correlationStreamName": "transfers-9"}'"#),
        (4, "account", "Odd", "'[]'", "NULL"),
        (5, "account:command-1", "Open", "'{}'", "NULL"),
    ] {
        let id = id(number);
        let sql =
            format!("SELECT message_store.write_message('{id}', '{stream}', '{message_type}', {data}, {metadata})");
        call(&client, &sql).await;
    }
    client
}

#[tokio::test]
async fn stream_names_are_parsed_in_sql_as_in_rust() {
    let client = client().await;
    let show = |text: Option<&str>| text.unwrap_or("NULL").to_owned();
    for (name, category, id, cardinal, is_category) in [
        ("account", "account", None, None, "t"),
        ("account-123+456", "account", Some("123+456"), Some("123"), "f"),
        ("account:command-1-2-3+4", "account:command", Some("1-2-3+4"), Some("1-2-3"), "f"),
        ("account-", "account", Some(""), Some(""), "f"),
        ("-x", "", Some("x"), Some("x"), "f"),
        ("", "", None, None, "t"),
    ] {
        let sql = format!(
            "SELECT message_store.category('{name}'), message_store.id('{name}'), message_store.cardinal_id('{name}'), \
             message_store.is_category('{name}')"
        );
        let expected = [category.to_owned(), show(id), show(cardinal), is_category.to_owned()].join("|");
        assert_eq!(call(&client, &sql).await, expected, "{name:?} in SQL");
        if let Ok(stream) = StreamName::new(name) {
            assert_eq!(stream.category().as_str(), category, "{name:?} in Rust");
            assert_eq!((stream.id(), stream.cardinal_id()), (id, cardinal), "{name:?} in Rust");
        }
    }
    check(
        &client,
        &[
            (
                "SELECT message_store.category(NULL), message_store.id(NULL), message_store.cardinal_id(NULL), \
                 message_store.is_category(NULL)",
                "NULL|NULL|NULL|t",
            ),
            ("SELECT message_store.hash_64('someStream')", "2053039834977696644"),
            ("SELECT message_store.hash_64('123')", "2318431741638412123"),
            ("SELECT message_store.hash_64('a')", "919145239626757800"),
            ("SELECT message_store.hash_64('')", "-3162216497309240828"),
            ("SELECT message_store.hash_64('probe')", "-8239260754081981855"),
            ("SELECT message_store.acquire_lock('someStream-1')", "2053039834977696644"),
            ("SELECT message_store.message_store_version()", "1.3.0"),
        ],
    )
    .await;
}

#[tokio::test]
async fn write_message_returns_positions_and_refuses_what_message_db_refuses() {
    let client = client().await;
    let (one, two) = (id(1), id(2));
    let write = |id: &str, rest: &str| format!("SELECT message_store.write_message({id}, {rest})");
    let quoted = |id: &str| format!("'{id}'");
    for (sql, expected) in [
        (write(&quoted(&one), "'account-1', 'Opened', '{}'"), "0"),
        (write(&quoted(&two), "'account-1', 'Opened', NULL, NULL, 0"), "1"),
        (
            "SELECT message_store.write_message(id => gen_random_uuid()::varchar, stream_name => 'account-2', \
             \"type\" => 'A', data => '{}', metadata => '{}', expected_version => -1)"
                .to_owned(),
            "0",
        ),
        (write("gen_random_uuid()::varchar", "'account', 'OnACategory', '{}'"), "0"),
        (write("gen_random_uuid()::varchar", "'', 'OnNothing', '{}'"), "0"),
        (
            write("gen_random_uuid()::varchar", "'account-1', 'A', '{}', NULL, 0"),
            "P0001 Wrong expected version: 0 (Stream: account-1, Stream Version: 1)",
        ),
        (
            write("gen_random_uuid()::varchar", "'account-9', 'A', '{}', NULL, 3"),
            "P0001 Wrong expected version: 3 (Stream: account-9, Stream Version: -1)",
        ),
        (
            write("gen_random_uuid()::varchar", "'account-1', 'A', '{}', NULL, -1"),
            "P0001 Wrong expected version: -1 (Stream: account-1, Stream Version: 1)",
        ),
        (
            write(&quoted(&one), "'account-1', 'Opened', '{}'"),
            "23505 duplicate key value violates unique constraint \"messages_id\"",
        ),
        (write("'not-a-uuid'", "'account-1', 'A', '{}'"), "22P02 invalid input syntax for type uuid: \"not-a-uuid\""),
        (
            write("NULL", "'account-1', 'A', '{}'"),
            "23502 null value in column \"id\" of relation \"messages\" violates not-null constraint",
        ),
        (
            write("gen_random_uuid()::varchar", "NULL, 'A', '{}'"),
            "23502 null value in column \"stream_name\" of relation \"messages\" violates not-null constraint",
        ),
        (
            write("gen_random_uuid()::varchar", "'account-1', NULL, '{}'"),
            "23502 null value in column \"type\" of relation \"messages\" violates not-null constraint",
        ),
        ("SELECT message_store.stream_version('account-1')".to_owned(), "1"),
        ("SELECT message_store.stream_version('account-9')".to_owned(), "NULL"),
    ] {
        assert_eq!(call(&client, &sql).await, expected, "{sql}");
    }
    let uuid_typed = call(&client, &write("gen_random_uuid()", "'account-1', 'A', '{}'")).await;
    assert!(uuid_typed.starts_with("42883"), "{uuid_typed}");
}

#[tokio::test]
async fn messages_come_back_with_data_and_metadata_as_text_in_jsonbs_form() {
    let client = client_with_messages().await;
    let sql = "SELECT id, stream_name, type, position, data, metadata, pg_typeof(data), pg_typeof(id), time IS NOT NULL \
               FROM message_store.get_stream_messages('account-1')";
    let expected = [
        format!("{}|account-1|Opened|0|{{\"a\": 2, \"b\": 1}}|NULL|character varying|character varying|t", id(1)),
        format!(
            "{}|account-1|Deposited|1|7|{{\"correlationStreamName\": \"transfers-9\"}}|character varying|character varying|t",
            id(3)
        ),
    ];
    assert_eq!(call(&client, sql).await, expected.join("\n"));
}

#[tokio::test]
async fn get_stream_messages_and_get_last_stream_message() {
    let client = client_with_messages().await;
    let of = |arguments: &str| format!("SELECT type FROM message_store.get_stream_messages({arguments})");
    let last =
        |arguments: &str| format!("SELECT type, position FROM message_store.get_last_stream_message({arguments})");
    for (sql, expected) in [
        (of("'account-1'"), "Opened\nDeposited"),
        (of("'account-1', 1"), "Deposited"),
        (of("'account-1', 0, 1"), "Opened"),
        (of("'account-1', 0, -1"), "Opened\nDeposited"),
        (of("'account-1', 0, 0"), ""),
        (of("'account-1', NULL, NULL"), "Opened\nDeposited"),
        (of("'account-1', batch_size => 1, \"position\" => 1"), "Deposited"),
        (of("'account-1', 0, -2"), "2201W LIMIT must not be negative"),
        (of("'account-9'"), ""),
        (of("'account'"), "P0001 Must be a stream name: account"),
        (of("NULL"), "P0001 Must be a stream name: <NULL>"),
        (last("'account-1'"), "Deposited|1"),
        (last("'account-1', 'Opened'"), "Opened|0"),
        (last("'account-1', type => 'Nothing'"), ""),
        (last("'account-9'"), ""),
        (last("'account'"), "Odd|0"),
    ] {
        assert_eq!(call(&client, &sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn get_category_messages() {
    let client = client_with_messages().await;
    let of = |arguments: &str| format!("SELECT global_position FROM message_store.get_category_messages({arguments})");
    let group = |member: &str, size: &str| of(&format!("'account', 1, 1000, NULL, {member}, {size}"));
    for (sql, expected) in [
        (of("'account'"), "1\n2\n3\n4"),
        (of("'account', 2"), "2\n3\n4"),
        (of("'account', 1, 2"), "1\n2"),
        (of("category => 'account', batch_size => -1"), "1\n2\n3\n4"),
        (of("'account', NULL, NULL"), "1\n2\n3\n4"),
        (of("'account', 1, 0"), ""),
        (of("'account', 1, -3"), "2201W LIMIT must not be negative"),
        (of("'account:command'"), "5"),
        (of("'nothing'"), ""),
        (of("NULL"), ""),
        (of("'account', correlation => 'transfer'"), "2"),
        (
            of("'account', correlation => 'transfer-9'"),
            "P0001 Correlation must be a category (Correlation: transfer-9)",
        ),
        (of("'account-1'"), "P0001 Must be a category: account-1"),
        // A stream without an id belongs to no member.
        (group("0", "1"), "1\n2\n3"),
        (group("0", "2"), "1\n3"),
        (group("1", "2"), "2"),
        (
            group("NULL", "2"),
            "P0001 Consumer group member and size must be specified \
             (Consumer Group Member: <NULL>, Consumer Group Size: 2)",
        ),
        (
            group("1", "NULL"),
            "P0001 Consumer group member and size must be specified \
             (Consumer Group Member: 1, Consumer Group Size: <NULL>)",
        ),
        (
            group("0", "0"),
            "P0001 Consumer group size must not be less than 1 (Consumer Group Member: 0, Consumer Group Size: 0)",
        ),
        (
            group("-1", "2"),
            "P0001 Consumer group member must not be less than 0 (Consumer Group Member: -1, Consumer Group Size: 2)",
        ),
        (
            group("2", "2"),
            "P0001 Consumer group member must be less than the group size \
             (Consumer Group Member: 2, Consumer Group Size: 2)",
        ),
        (group("0", "40000"), "22003 smallint out of range"),
    ] {
        assert_eq!(call(&client, &sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn members_take_the_same_share_in_sql_as_in_rust() {
    let client = client().await;
    for entity in 0..30 {
        call(
            &client,
            &format!("SELECT message_store.write_message(gen_random_uuid()::varchar, 'c-{entity}+x', 'T', '{{}}')"),
        )
        .await;
    }
    for member in 0..3_u64 {
        let sql = format!(
            "SELECT message_store.cardinal_id(stream_name) \
             FROM message_store.get_category_messages('c', 1, -1, NULL, {member}, 3)"
        );
        let ours: Vec<String> = (0..30)
            .filter(|entity| {
                let stream = StreamName::new(format!("c-{entity}")).unwrap();
                stream.cardinal_hash().unwrap().unsigned_abs() % 3 == member
            })
            .map(|entity| entity.to_string())
            .collect();
        assert_eq!(call(&client, &sql).await, ours.join("\n"), "member {member}");
    }
}

#[tokio::test]
async fn a_condition_needs_the_owners_permission_and_the_sessions_setting() {
    let database = TestDatabase::create().await;
    let client = connect(database.url(), Some("message_store")).await;
    for stream in ["account-1", "account-1", "secret-1"] {
        call(&client, &format!("SELECT write_message(gen_random_uuid()::varchar, '{stream}', 'A', '{{}}')")).await;
    }
    let stream = "SELECT position FROM get_stream_messages('account-1', condition => 'position = 1')";
    let category = "SELECT position FROM get_category_messages('account', condition => 'position = 1')";
    let refused = "P0001 Retrieval with SQL condition is not activated";

    // The setting alone is not enough, because any session can change it.
    for setting in ["RESET message_store.sql_condition", "SET message_store.sql_condition = 'on'"] {
        check(&client, &[(setting, ""), (stream, refused), (category, refused)]).await;
    }
    let denied = call(&client, "UPDATE sql_condition SET allowed = true").await;
    assert!(denied.starts_with("42501"), "{denied}");

    message_store::postgres::allow_sql_condition(database.url()).await.unwrap();
    for (setting, answer) in [("off", refused), ("on", "1"), ("", "1")] {
        let set = format!("SET message_store.sql_condition = '{setting}'");
        check(&client, &[(&set, ""), (stream, answer), (category, answer)]).await;
    }
    // A condition that names other columns works as it does with Message DB.
    check(&client, &[("SELECT position FROM get_stream_messages('account-1', 0, 1, 'type = ''A''')", "0")]).await;
}

#[tokio::test]
async fn the_debug_settings_change_no_result() {
    let client = client_with_messages().await;
    for setting in ["debug", "debug_get", "debug_write"] {
        call(&client, &format!("SET message_store.{setting} = 'on'")).await;
    }
    check(
        &client,
        &[
            ("SELECT message_store.write_message(gen_random_uuid()::varchar, 'account-1', 'A', '{}')", "2"),
            ("SELECT position FROM message_store.get_stream_messages('account-1', 2)", "2"),
            ("SELECT position FROM message_store.get_category_messages('account', 5)", "2"),
            ("SELECT position FROM message_store.get_last_stream_message('account-1')", "2"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_views_count_by_their_keys_in_order() {
    let client = client_with_messages().await;
    check(
        &client,
        &[
            (
                "SELECT * FROM message_store.stream_summary",
                "account|1|20.00\naccount-1|2|40.00\naccount-2+x|1|20.00\naccount:command-1|1|20.00",
            ),
            (
                "SELECT * FROM message_store.type_summary",
                "Deposited|1|20.00\nOdd|1|20.00\nOpen|1|20.00\nOpened|2|40.00",
            ),
            (
                "SELECT * FROM message_store.stream_type_summary WHERE stream_name = 'account-1'",
                "account-1|Deposited|1|20.00\naccount-1|Opened|1|20.00",
            ),
            (
                "SELECT * FROM message_store.type_stream_summary WHERE type = 'Opened'",
                "Opened|account-1|1|20.00\nOpened|account-2+x|1|20.00",
            ),
            (
                "SELECT * FROM message_store.category_type_summary",
                "account|Deposited|1|20.00\naccount|Odd|1|20.00\naccount|Opened|2|40.00\naccount:command|Open|1|20.00",
            ),
            (
                "SELECT type, category, message_count, percent FROM message_store.type_category_summary",
                "Deposited|account|1|20.00\nOdd|account|1|20.00\nOpen|account:command|1|20.00\nOpened|account|2|40.00",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_role_writes_through_functions_alone() {
    let client = client_with_messages().await;
    let denied = "42501";
    for (sql, allowed) in [
        ("SELECT count(*) FROM message_store.messages", true),
        ("SELECT * FROM message_store.stream_summary", true),
        ("SELECT * FROM message_store.store_identity", true),
        ("SELECT last_value FROM message_store.messages_global_position_seq", true),
        ("SELECT message_store.write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')", true),
        (
            "SELECT message_store.append_messages('{b-1}', '{NULL}', '{1}', '{1}', '{-1}', '{1}', ARRAY[gen_random_uuid()], '{T}', '{null}', '{null}'::jsonb[])",
            true,
        ),
        ("SELECT message_store.horizon()", true),
        ("INSERT INTO message_store.messages (stream_name, position, type) VALUES ('a-1', 9, 'T')", false),
        ("UPDATE message_store.messages SET type = 'T'", false),
        ("DELETE FROM message_store.messages", false),
        ("TRUNCATE message_store.messages", false),
        ("SELECT nextval('message_store.messages_global_position_seq')", false),
        ("SELECT setval('message_store.messages_global_position_seq', 1)", false),
        ("UPDATE message_store.store_identity SET store_id = gen_random_uuid()", false),
        ("UPDATE message_store.sql_condition SET allowed = true", false),
        ("DELETE FROM message_store.schema_history", false),
        ("DROP TABLE message_store.messages", false),
        ("ALTER FUNCTION message_store.category(varchar) VOLATILE", false),
        ("CREATE TABLE message_store.mine ()", false),
    ] {
        let answer = call(&client, sql).await;
        assert_eq!(!answer.starts_with(denied), allowed, "{sql}: {answer}");
        assert!(!allowed || !answer.starts_with('4'), "{sql}: {answer}");
    }
}

#[tokio::test]
async fn a_version_conflict_is_one_under_every_isolation_level() {
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let database = TestDatabase::create().await;
        let (ours, theirs) = (connect(database.url(), None).await, connect(database.url(), None).await);
        let write = |expected: &str| {
            format!(
                "SELECT message_store.write_message(gen_random_uuid()::varchar, 'account-1', 'A', '{{}}', NULL, {expected})"
            )
        };
        call(&ours, &write("-1")).await;
        call(&ours, &format!("BEGIN ISOLATION LEVEL {level}")).await;
        // The snapshot is taken, and then another client writes.
        call(&ours, "SELECT count(*) FROM message_store.messages").await;
        assert_eq!(call(&theirs, &write("0")).await, "1");
        let answer = call(&ours, &write("0")).await;
        assert_eq!(answer, "P0001 Wrong expected version: 0 (Stream: account-1, Stream Version: 1)", "{level}");
        call(&ours, "ROLLBACK").await;

        call(&ours, &format!("BEGIN ISOLATION LEVEL {level}")).await;
        call(&ours, "SELECT count(*) FROM message_store.messages").await;
        assert_eq!(call(&theirs, &write("1")).await, "2");
        let answer = call(&ours, &write("NULL")).await;
        let expected = if level == "READ COMMITTED" { "3" } else { "40001" };
        assert!(answer.starts_with(expected), "{level}: {answer}");
        call(&ours, "ROLLBACK").await;
    }
}

/// The server refuses the transaction before the function can check the version. The guide documents this.
#[tokio::test]
async fn a_version_conflict_of_two_serializable_transactions_after_a_read_is_a_serialization_failure() {
    let database = TestDatabase::create().await;
    let (ours, theirs) = (connect(database.url(), None).await, connect(database.url(), None).await);
    let write = |expected: &str| {
        format!(
            "SELECT message_store.write_message(gen_random_uuid()::varchar, 'account-1', 'A', '{{}}', NULL, {expected})"
        )
    };
    call(&ours, &write("-1")).await;
    for client in [&ours, &theirs] {
        call(client, "SET default_transaction_isolation = 'serializable'").await;
    }
    call(&ours, "BEGIN").await;
    call(&ours, "SELECT count(*) FROM message_store.get_stream_messages('account-1')").await;
    assert_eq!(call(&theirs, &write("0")).await, "1");
    assert!(call(&ours, &write("0")).await.starts_with("40001"));
}
