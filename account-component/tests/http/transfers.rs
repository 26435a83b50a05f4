//! Transfers: each is made once, and no money is lost or made.

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::json;

use super::client::{Answered, Client, on_both_stores};

async fn ended(client: &Client, transfer: &str) -> Answered {
    client.send(&format!("GET /transfers/{transfer}"), &[("prefer", "wait=25")], "").await
}

async fn two_accounts(client: &Client) {
    client.open("7").await;
    client.open("8").await;
    client.deposit("d1", "100").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_made_once() {
    on_both_stores(async |client: Client, _| {
        two_accounts(&client).await;
        let order = r#"{"from":"7","to":"8","amount":30}"#;
        let first = client.send("PUT /transfers/t1", &[], order).await;
        assert!(matches!(first.status, StatusCode::ACCEPTED | StatusCode::OK), "{}", first.status);
        assert_eq!(first.header("location"), Some("/transfers/t1"));
        assert_eq!(ended(&client, "t1").await.body["stage"], "transferred");
        let again = client.send("PUT /transfers/t1", &[], order).await;
        assert!(again.status == StatusCode::OK && again.body["repeatOf"].is_string(), "{}", again.body);
        let other = client.send("PUT /transfers/t1", &[], r#"{"from":"7","to":"8","amount":31}"#).await;
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
        let by_key = async |body: &str| {
            client.send("POST /transfers", &[("idempotency-key", "k1"), ("prefer", "wait=25")], body.to_owned()).await
        };
        let all = join_all((0..10).map(|_| by_key(order))).await;
        assert!(all.iter().all(|answered| answered.body == all[0].body), "{}", all[0].body);
        assert_eq!(all.iter().filter(|answered| answered.header("idempotency-replayed").is_none()).count(), 1);
        assert_eq!(by_key(r#"{"from":"8","to":"7","amount":30}"#).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(ended(&client, "k1").await.body["stage"], "transferred");
        assert_eq!((client.balance("7").await, client.balance("8").await), (json!(40.0), json!(60.0)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_cannot_be_made_moves_no_money() {
    on_both_stores(async |client: Client, _| {
        two_accounts(&client).await;
        for (transfer, body, stage) in [
            ("t1", r#"{"from":"7","to":"8","amount":101}"#, "cancelled"),
            ("t2", r#"{"from":"9","to":"8","amount":1}"#, "cancelled"),
            ("t3", r#"{"from":"7","to":"9","amount":1}"#, "refunded"),
        ] {
            client.send(&format!("PUT /transfers/{transfer}"), &[], body).await;
            assert_eq!(ended(&client, transfer).await.body["stage"], stage);
        }
        assert_eq!((client.balance("7").await, client.balance("8").await), (json!(100.0), json!(0.0)));
        let long = format!("PUT /transfers/{}", "t".repeat(250));
        let far = format!(r#"{{"from":"7","to":"{}","amount":1}}"#, "8".repeat(200));
        for (line, body) in [
            ("PUT /transfers/t4", r#"{"from":"7","to":"7","amount":1}"#),
            ("PUT /transfers/t4", r#"{"from":"7","to":"8","amount":0}"#),
            ("PUT /transfers/t4", r#"{"from":"7","to":"8+1","amount":1}"#),
            ("PUT /transfers/t4", r#"{"from":"","to":"8","amount":1}"#),
            ("PUT /transfers/t4", &far),
            ("PUT /transfers/t+4", r#"{"from":"7","to":"8","amount":1}"#),
            (&long, r#"{"from":"7","to":"8","amount":1}"#),
        ] {
            let refused = client.send(line, &[], body.to_owned()).await;
            assert_eq!(
                (refused.status, &refused.body["type"]),
                (StatusCode::BAD_REQUEST, &json!("/problems/invalid-request")),
                "{line:.40} {body:.60}"
            );
        }
        assert_eq!(client.get("/transfers/t4").await.status, StatusCode::NOT_FOUND);
    })
    .await;
}
