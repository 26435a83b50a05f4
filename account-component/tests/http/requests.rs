//! Each intent takes effect once, and a request that is sent again gets the same answer.

use axum::body::Body;
use axum::http::StatusCode;
use futures_util::future::join_all;
use message_store::service::ServiceHandle;
use serde_json::json;

use super::client::{Client, on_both_stores};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_again_gets_the_same_answer_and_has_one_effect() {
    on_both_stores(async |client: Client, _| {
        client.open("7").await;
        let first = client.deposit("k1", "12.50").await;
        assert_eq!((first.status, &first.body["what"]), (StatusCode::CREATED, &json!("deposited")));
        assert_eq!(first.header("idempotency-replayed"), None);
        let again = client.deposit("\"k1\"", "12.5").await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("account-position"), first.header("account-position"));
        assert!(again.header("idempotency-key-expires").unwrap().parse::<jiff::Timestamp>().is_ok());
        let other = client.deposit("k1", "13").await;
        assert_eq!(
            (other.status, &other.body["type"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("/problems/idempotency-key-reused"))
        );
        assert_eq!(client.balance("7").await.to_string(), "12.5");
        // A rejection is an event, so its answer is kept; a request that was refused before that is not.
        let withdraw = async |key: &str, amount: &str| {
            let body = format!("{{\"amount\":{amount}}}");
            client.send("POST /accounts/7/withdrawals", &[("idempotency-key", key)], body).await
        };
        let refused = withdraw("w1", "99").await;
        assert_eq!(
            (refused.status, &refused.body["type"]),
            (StatusCode::CONFLICT, &json!("/problems/insufficient-funds"))
        );
        client.deposit("k2", "100").await;
        let again = withdraw("w1", "99").await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::CONFLICT, Some("true")));
        assert_eq!(withdraw("w2", "\"much\"").await.status, StatusCode::BAD_REQUEST);
        assert_eq!(withdraw("w2", "12.50").await.status, StatusCode::CREATED);
        assert_eq!(client.balance("7").await.to_string(), "100.0");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_in_the_path_takes_effect_once_without_a_key() {
    on_both_stores(async |client: Client, _| {
        client.open("7").await;
        let put = async |path: &str, amount: &str| {
            client.send(&format!("PUT {path}"), &[], format!("{{\"amount\":{amount}}}")).await
        };
        let first = put("/accounts/7/deposits/d1", "5").await;
        let again = put("/accounts/7/deposits/d1", "5").await;
        assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
        assert_eq!(first.body.get("repeatOf"), None);
        assert!(again.body["repeatOf"].is_string() && again.body["amount"] == first.body["amount"], "{}", again.body);
        assert_eq!(put("/accounts/7/deposits/d1", "6").await.status, StatusCode::UNPROCESSABLE_ENTITY);
        // The same intent by a key has no second effect, and the first is named.
        let by_key = client.deposit("d1", "5").await;
        assert!(by_key.body["repeatOf"].is_string(), "{}", by_key.body);
        assert_eq!(put("/accounts/7/withdrawals/d1", "2").await.status, StatusCode::CREATED);
        assert_eq!(client.balance("7").await.to_string(), "3.0");
        // Opened and closed again, an account is as before.
        let opened = client.send("PUT /accounts/7", &[], r#"{"customerId":"other"}"#).await;
        assert_eq!((opened.status, &opened.body["what"]), (StatusCode::OK, &json!("unchanged")));
        for what in ["closed", "unchanged"] {
            let closed = client.send("DELETE /accounts/7", &[], Body::empty()).await;
            assert_eq!((closed.status, &closed.body["what"]), (StatusCode::OK, &json!(what)));
        }
        let refused = put("/accounts/7/deposits/d2", "5").await;
        assert_eq!(refused.body["type"], "/problems/account-closed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_requests_at_once_with_one_key_one_takes_effect() {
    on_both_stores(async |client: Client, _| {
        client.open("7").await;
        let wait = [("idempotency-key", "k1"), ("prefer", "wait=30")];
        let all = join_all((0..20).map(|_| client.send("POST /accounts/7/deposits", &wait, r#"{"amount":1}"#))).await;
        assert!(all.iter().all(|answered| answered.status == StatusCode::CREATED && answered.body == all[0].body));
        assert_eq!(all.iter().filter(|answered| answered.header("idempotency-replayed").is_none()).count(), 1);
        let at_once = join_all((0..20).map(|_| client.deposit("k2", "1"))).await;
        for answered in at_once.iter().filter(|answered| answered.status != StatusCode::CREATED) {
            assert_eq!(
                (answered.status, &answered.body["type"]),
                (StatusCode::CONFLICT, &json!("/problems/request-in-flight"))
            );
            assert_eq!(answered.header("retry-after"), Some("1"));
        }
        assert_eq!(client.deposit("k2", "1").await.status, StatusCode::CREATED);
        assert_eq!(client.balance("7").await.to_string(), "2.0");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_can_be_read() {
    on_both_stores(async |client: Client, _| {
        client.open("7").await;
        let mut last = None;
        for number in 0..5 {
            last = client.deposit(&format!("k{number}"), "1.25").await.header("account-position").map(str::to_owned);
        }
        let account = client.get("/accounts/7").await;
        assert_eq!((account.body["version"].as_i64(), account.header("etag")), (Some(6), Some("\"6\"")));
        let days = client.get(&format!("/days?position={}", last.unwrap())).await;
        assert_eq!(days.body[0]["deposits"].to_string(), "6.25");
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let query = after.map_or_else(String::new, |after: i64| format!("&after={after}"));
            let page = client.get(&format!("/accounts/7/statement?limit=2{query}")).await;
            entries.extend(page.body["entries"].as_array().unwrap().clone());
            after = page.body["next"].as_i64();
            if after.is_none() {
                break;
            }
        }
        let what: Vec<&str> = entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
        assert_eq!(what, ["opened", "deposited", "deposited", "deposited", "deposited", "deposited"]);
        for none in ["/accounts/8", "/accounts/8/statement", "/nowhere"] {
            assert_eq!(client.get(none).await.status, StatusCode::NOT_FOUND);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_cannot_be_carried_out_has_a_problem_of_its_own() {
    on_both_stores(async |client: Client, component: ServiceHandle| {
        client.open("7").await;
        let large = format!("{{\"amount\":1,\"x\":\"{}\"}}", "x".repeat(70_000));
        let key = [("idempotency-key", "k1")];
        let cases = [
            ("POST /accounts/7/deposits", &[][..], r#"{"amount":1}"#, 400, "no-idempotency-key"),
            (
                "POST /accounts/7/deposits",
                &[("idempotency-key", "")],
                r#"{"amount":1}"#,
                400,
                "invalid-idempotency-key",
            ),
            ("POST /accounts/7/deposits", &key, r#"{"amount":1,"currency":"EUR"}"#, 400, "invalid-request"),
            ("POST /accounts/7/deposits", &key, r#"{"amount":1.001}"#, 400, "invalid-request"),
            ("POST /accounts/7/deposits", &key, "{", 400, "invalid-request"),
            ("POST /accounts/7/deposits", &key, &large, 413, "body-too-large"),
            ("POST /accounts/7/deposits", &key, r#"{"amount":0}"#, 409, "amount-not-positive"),
            ("POST /accounts/8/deposits", &[("idempotency-key", "k9")], r#"{"amount":1}"#, 404, "no-such-account"),
            ("PUT /accounts/a+b", &[], r#"{"customerId":"c"}"#, 400, "invalid-request"),
            ("PATCH /accounts/7", &[], "", 405, "no-such-method"),
            ("GET /accounts/7/statement?limit=many", &[], "", 400, "invalid-request"),
            ("GET /accounts/8/statement?after=0", &[], "", 404, "no-such-account"),
            ("GET /accounts/%FF", &[], "", 400, "invalid-request"),
            ("PUT /accounts/8", &[("if-match", "5")], r#"{"customerId":"c"}"#, 400, "invalid-request"),
            (
                "POST /accounts/7/deposits",
                &[("idempotency-key", "a"), ("idempotency-key", "b")],
                r#"{"amount":1}"#,
                400,
                "invalid-idempotency-key",
            ),
            ("POST /accounts/7/deposits", &key, r#"{"amount":99999999999}"#, 400, "invalid-request"),
            // A transfer would take it for its own deposit.
            ("PUT /accounts/7/deposits/transfer-in:t1", &[], r#"{"amount":1}"#, 400, "invalid-request"),
            (
                "POST /accounts/7/withdrawals",
                &[("idempotency-key", "transfer-out:t1")],
                r#"{"amount":1}"#,
                400,
                "invalid-request",
            ),
            ("GET /days?position=999999999", &[], "", 503, "not-shown-yet"),
        ];
        for (line, headers, body, status, name) in cases {
            let answered = client.send(line, headers, body.to_owned()).await;
            assert_eq!(
                (answered.status.as_u16(), &answered.body["type"]),
                (status, &json!(format!("/problems/{name}"))),
                "{line} {body:.40}"
            );
        }
        let after = format!("/accounts/7/statement?after={}", i64::MAX);
        assert_eq!(client.get(&after).await.body["entries"], json!([]));
        assert_eq!(client.get("/livez").await.status, StatusCode::OK);
        assert_eq!(client.get("/readyz").await.body, json!({"isWell": true, "reasons": []}));
        component.stop();
        component.ended().await.unwrap();
        assert_eq!(client.get("/livez").await.status, StatusCode::SERVICE_UNAVAILABLE);
        let ready = client.get("/readyz").await;
        assert!(ready.body["reasons"][0].as_str().unwrap().contains("ended"), "{}", ready.body);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_keeps_all_digits_of_an_amount() {
    on_both_stores(async |client: Client, _| {
        client.open("7").await;
        // (The test's own JSON has floats, so it looks at the text.)
        for line in ["PUT /accounts/7/deposits/d1", "POST /accounts/7/deposits", "POST /accounts/7/deposits"] {
            let text = client.text(line, &[("idempotency-key", "k1")], r#"{"amount":9999999999.90}"#).await;
            assert!(text.contains("9999999999.90"), "{text}");
        }
        let account = client.text("GET /accounts/7", &[], "").await;
        assert!(account.contains("19999999999.80"), "{account}");
    })
    .await;
}
