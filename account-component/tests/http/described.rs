//! Every answer is as the description (`OpenAPI` 3.1) says.

use std::sync::LazyLock;

use account_component::http::document;
use axum::http::HeaderMap;
use serde_json::{Value, json};

static DESCRIBED: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(document()).unwrap());

/// The description of a path: `/accounts/{account}` for `/accounts/7`.
fn described(path: &str) -> Option<&Value> {
    let parts: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
    let fits = |template: &str| {
        let templates: Vec<&str> = template.split('/').collect();
        templates.len() == parts.len()
            && templates.iter().zip(&parts).all(|(template, part)| template.starts_with('{') || template == part)
    };
    DESCRIBED["paths"].as_object().unwrap().iter().find(|(template, _)| fits(template)).map(|(_, found)| found)
}

/// Why the answer is not as described; `None` if it is.
fn fault(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &Value) -> Option<String> {
    let Some(operation) = described(path).and_then(|path| path.get(method.to_lowercase())) else {
        return (!matches!(status, 404 | 405)).then(|| "it is not described".to_owned());
    };
    let Some(answer) = operation["responses"].get(status.to_string()) else {
        return Some(format!("the status {status} is not described"));
    };
    let content_type = headers["content-type"].to_str().unwrap();
    let Some(content) = answer["content"].get(content_type) else {
        return Some(format!("{content_type} is not described for {status}"));
    };
    // The references of a schema lead to the components of the description.
    let mut schema = content["schema"].clone();
    schema["components"] = DESCRIBED["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator.iter_errors(body).next().map(|error| format!("{error}, at {}", error.instance_path()))
}

pub(crate) fn check(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &Value) {
    let fault = fault(method, path, status, headers, body);
    assert_eq!(fault, None, "{method} {path}: {status} {body}");
}

#[test]
fn the_description_has_every_path() {
    assert!(DESCRIBED["openapi"].as_str().unwrap().starts_with("3.1"), "{}", DESCRIBED["openapi"]);
    let paths: Vec<&String> = DESCRIBED["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths.len(), 12, "{paths:?}");
}

#[test]
fn every_answer_has_a_description_and_every_field_of_a_query_is_in_the_query() {
    for (path, operations) in DESCRIBED["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                assert!(
                    answer["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{method} {path}: {status}"
                );
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let (name, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
                assert_eq!(place == "path", path.contains(&format!("{{{name}}}")), "{method} {path}: {name}");
            }
        }
    }
}

#[test]
fn twin_an_answer_that_is_not_as_described_is_found() {
    let headers = HeaderMap::from_iter([(axum::http::header::CONTENT_TYPE, "application/json".parse().unwrap())]);
    let account =
        |balance: Value| json!({"accountId": "7", "balance": balance, "opened": "2026-01-01T00:00:00Z", "version": 1});
    let fault = |method, path, status, body| super::described::fault(method, path, status, &headers, &body);
    assert_eq!(fault("GET", "/accounts/7", 200, account(json!(1.5))), None);
    for (method, path, status, body) in [
        ("GET", "/accounts/7", 200, account(json!("much"))),
        ("GET", "/accounts/7", 200, json!({"accountId": "7"})),
        ("GET", "/accounts/7", 201, account(json!(1.5))),
        ("GET", "/accounts/7", 404, json!({})),
        ("PATCH", "/accounts/7", 200, account(json!(1.5))),
        ("GET", "/nowhere", 200, json!({})),
    ] {
        assert!(fault(method, path, status, body.clone()).is_some(), "{method} {path} {status} {body}");
    }
}
