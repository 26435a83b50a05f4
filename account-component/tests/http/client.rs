//! A client of a service that runs in this process.

use std::sync::Arc;

use account_component::component::service;
use account_component::http::{App, router};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::response::Parts;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use message_store::service::ServiceHandle;
use message_store::{MessageStore, connect};
use message_store_tests::postgres::TestDatabase;
use serde_json::Value;
use tower::ServiceExt as _;

use super::described;

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answered {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A client of a service.
#[derive(Clone)]
pub(crate) struct Client(Router);

impl Client {
    pub(crate) fn of(router: Router) -> Self {
        Self(router)
    }

    async fn answer(&self, line: &str, headers: &[(&str, &str)], body: Body) -> (Parts, Bytes) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.0.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    }

    pub(crate) async fn send(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answered {
        let (response, bytes) = self.answer(line, headers, body.into()).await;
        let (method, path) = line.split_once(' ').unwrap();
        let (status, headers) = (response.status, response.headers);
        let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        let is_problem = headers["content-type"] == "application/problem+json";
        assert_eq!(is_problem, status.is_client_error() || body.get("type").is_some(), "{line}: {body}");
        described::check(method, path, status.as_u16(), &headers, &body);
        if is_problem {
            assert_eq!(body["status"], status.as_u16());
            assert!(
                body["type"].as_str().unwrap().starts_with("/problems/") && body["detail"].as_str().unwrap().len() > 9
            );
        }
        Answered { status, headers, body }
    }

    /// The text of an answer.
    pub(crate) async fn text(&self, line: &str, headers: &[(&str, &str)], body: &'static str) -> String {
        let bytes = self.answer(line, headers, Body::from(body)).await.1;
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.send(&format!("GET {path}"), &[], Body::empty()).await
    }

    pub(crate) async fn open(&self, account: &str) {
        let opened = self.send(&format!("PUT /accounts/{account}"), &[], r#"{"customerId":"c"}"#).await;
        assert_eq!(opened.status, StatusCode::CREATED);
    }

    pub(crate) async fn deposit(&self, key: &str, amount: &str) -> Answered {
        let body = format!("{{\"amount\":{amount}}}");
        self.send("POST /accounts/7/deposits", &[("idempotency-key", key)], body).await
    }

    pub(crate) async fn balance(&self, account: &str) -> Value {
        self.get(&format!("/accounts/{account}")).await.body["balance"].clone()
    }
}

pub(crate) async fn run(store: &Arc<dyn MessageStore>) -> (Client, ServiceHandle) {
    let component = service(store, 8).start().await.unwrap();
    (Client(router(App::new(store, Some(component.clone())).unwrap())), component)
}

pub(crate) async fn on_both_stores(test: impl AsyncFn(Client, ServiceHandle)) {
    let folder = tempfile::tempdir().unwrap();
    let database = TestDatabase::create().await;
    for url in [format!("sqlite:{}", folder.path().join("store.db").display()), database.url().to_owned()] {
        let (client, component) = run(&connect(&url).await.unwrap()).await;
        test(client, component.clone()).await;
        component.stop();
        component.ended().await.unwrap();
    }
}
