//! `If-Match`: what is carried out on the version that the client has seen, and on no other.

use axum::body::Body;
use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::json;

use super::client::{Client, on_both_stores};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_on_another_version_changes_nothing() {
    on_both_stores(async |client: Client, _| {
        client.open("7").await;
        let put = async |path: &str, version: &str| {
            client.send(&format!("PUT /accounts/7/{path}"), &[("if-match", version)], r#"{"amount":5}"#).await
        };
        let etag = client.get("/accounts/7").await.header("etag").unwrap().to_owned();
        assert_eq!(etag, "\"1\"");
        assert_eq!(put("deposits/d1", &etag).await.status, StatusCode::CREATED);
        // A request that is sent again is a repeat, whatever the version is now.
        let again = put("deposits/d1", &etag).await;
        assert!(again.status == StatusCode::CREATED && again.body["repeatOf"].is_string(), "{}", again.body);
        let refused = put("withdrawals/w1", &etag).await;
        assert_eq!(
            (refused.status, &refused.body["type"]),
            (StatusCode::PRECONDITION_FAILED, &json!("/problems/version-changed"))
        );
        // What was refused has changed nothing, so its id can be used again, and the version is as it was.
        assert_eq!(client.get("/accounts/7").await.header("etag"), Some("\"2\""));
        assert_eq!(put("withdrawals/w1", "\"99\"").await.status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(put("withdrawals/w1", "\"7\", \"2\"").await.status, StatusCode::CREATED);
        assert_eq!(put("deposits/d2", "*").await.status, StatusCode::CREATED);
        assert_eq!(put("deposits/d3", "W/\"5\"").await.status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(put("deposits/d4", "5").await.status, StatusCode::BAD_REQUEST);
        let by_key = [("idempotency-key", "k1"), ("if-match", "\"1\"")];
        let refused = client.send("POST /accounts/7/deposits", &by_key, r#"{"amount":5}"#).await;
        let again = client.send("POST /accounts/7/deposits", &by_key, r#"{"amount":5}"#).await;
        assert_eq!((refused.status, again.status), (StatusCode::PRECONDITION_FAILED, StatusCode::PRECONDITION_FAILED));
        assert_eq!(again.header("idempotency-replayed"), None, "nothing was written, so no answer is kept");
        let fresh = client.get("/accounts/7").await.header("etag").unwrap().to_owned();
        let by_key = [("idempotency-key", "k1"), ("if-match", &*fresh)];
        let done = client.send("POST /accounts/7/deposits", &by_key, r#"{"amount":5}"#).await;
        let again = client.send("POST /accounts/7/deposits", &by_key, r#"{"amount":5}"#).await;
        assert_eq!((done.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(client.balance("7").await.to_string(), "10.0");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_requests_on_one_version_one_is_carried_out() {
    on_both_stores(async |client: Client, _| {
        client.open("7").await;
        for version in 1..4 {
            let before = client.get("/accounts/7").await;
            let etag = before.header("etag").unwrap().to_owned();
            let all = join_all((0..16).map(|number| {
                let (path, etag, client) =
                    (format!("PUT /accounts/7/deposits/{version}-{number}"), etag.clone(), client.clone());
                async move { client.send(&path, &[("if-match", &etag)], r#"{"amount":1}"#).await.status }
            }))
            .await;
            assert_eq!(all.iter().filter(|status| **status == StatusCode::CREATED).count(), 1, "{all:?}");
            assert_eq!(all.iter().filter(|status| **status == StatusCode::PRECONDITION_FAILED).count(), 15, "{all:?}");
            assert_eq!(client.balance("7").await.as_f64(), Some(f64::from(version)));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_closed_on_the_version_that_was_seen() {
    on_both_stores(async |client: Client, _| {
        let open = async |version: &str| {
            client.send("PUT /accounts/7", &[("if-match", version)], r#"{"customerId":"c"}"#).await.status
        };
        let close =
            async |version: &str| client.send("DELETE /accounts/7", &[("if-match", version)], Body::empty()).await;
        assert_eq!(open("*").await, StatusCode::PRECONDITION_FAILED);
        client.open("7").await;
        assert_eq!(open("\"1\"").await, StatusCode::OK);
        assert_eq!(open("\"2\"").await, StatusCode::PRECONDITION_FAILED);
        client.deposit("d1", "5").await;
        assert_eq!(close("\"1\"").await.status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(close("\"3\"").await.status, StatusCode::PRECONDITION_FAILED, "it would be right later");
        assert_eq!(client.get("/accounts/7").await.body.get("closed"), None);
        assert_eq!(close("\"2\"").await.body["what"], "closed");
        assert_eq!(close("\"2\"").await.body["what"], "unchanged", "it is sent again");
    })
    .await;
}
