//! Content that would be markup, a script or another text, if it were not escaped.

use message_store::{Append, Json, Metadata, NewMessage, StreamName, connect};
use message_store_tests::postgres::TestDatabase;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::seeded::Client;

const HOSTILE: [&str; 10] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</pre></code></svg><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{7*7}}${7*7}<%= 7 %>",
    "&lt;b&gt;&#60;",
    "a\u{202e}gpj.exe\u{200b}",
    "<!--<svg/onload=alert(1)>",
    "x\u{7}\u{1b}[31m",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_message_contains_is_shown_as_text() {
    let database = TestDatabase::create().await;
    for url in ["sqlite::memory:", database.url()] {
        let store = connect(url).await.unwrap();
        let mut paths = vec!["/".to_owned(), "/categories".to_owned(), "/tail".to_owned(), "/search".to_owned()];
        for (number, text) in HOSTILE.iter().enumerate() {
            let data = serde_json::json!({ *text: text, "nested": { "list": [text] } }).to_string();
            let metadata = Metadata::default().property("p", text).unwrap();
            let message = NewMessage::new(*text, Json::parse(&data).unwrap()).with_metadata(&metadata).unwrap();
            let id = message.id;
            let stream = StreamName::new(format!("hostile{number}-{text}")).unwrap();
            store.append(Append::to(stream.clone()).message(message).into()).await.unwrap();
            let encoded = utf8_percent_encode(stream.as_str(), NON_ALPHANUMERIC);
            paths.extend([format!("/streams/{encoded}"), format!("/entities/{encoded}"), format!("/messages/{id}")]);
            paths.push(format!("/search?text={}", utf8_percent_encode(text, NON_ALPHANUMERIC)));
            paths.push(format!("/categories/hostile{number}"));
        }
        let client = Client::new(&store);
        for path in paths {
            let page = client.page(&path).await;
            for markup in ["<script", "<img", "onerror=alert(1)>", "<!--", "<svg/onload", "href=\"javascript:"] {
                assert!(!page.contains(markup), "{markup} in {path}: {page}");
            }
            assert!(
                !page.chars().any(|character| matches!(character, '\u{202e}' | '\u{200b}' | '\u{7}' | '\u{1b}')),
                "{path}"
            );
        }
    }
}
