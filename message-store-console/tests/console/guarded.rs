//! Who may see the pages.

use axum::http::StatusCode;
use message_store::connect;
use message_store_console::Console;

use super::seeded::Client;

#[tokio::test]
async fn without_a_token_only_this_machines_names_are_answered() {
    let store = connect("sqlite::memory:").await.unwrap();
    let client = Client::new(&store);
    for host in ["localhost", "127.0.0.1:8090", "[::1]:8090"] {
        assert_eq!(client.send("GET /", &[("host", host)], "").await.status, StatusCode::OK, "{host}");
    }
    for headers in [&[("host", "evil.example")][..], &[("host", "localhost.evil.example")], &[]] {
        assert_eq!(client.send("GET /", headers, "").await.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
}

#[tokio::test]
async fn with_a_token_only_who_has_it_is_answered() {
    let store = connect("sqlite::memory:").await.unwrap();
    let client = Client::of(Console::new(&store).token("s3cret"));
    let host = ("host", "console.example");
    let status = async |line: &str, header: (&str, &str)| client.send(line, &[host, header], "").await.status;
    assert_eq!(status("GET /", ("x", "y")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("GET /", ("authorization", "Bearer wrong")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("GET /?token=s3cre", ("x", "y")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("GET /", ("authorization", "Bearer s3cret")).await, StatusCode::OK);
    let opened = client.send("GET /consumers?token=s3cret", &[host], "").await;
    assert_eq!((opened.status, &opened.headers["location"]), (StatusCode::SEE_OTHER, &"/consumers".parse().unwrap()));
    let cookie = opened.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!(status("GET /", ("cookie", cookie.split(';').next().unwrap())).await, StatusCode::OK);
    // The token leads nowhere else, and does not stay in the address.
    for (path, to) in [
        ("//evil.example/?token=s3cret", "/evil.example/"),
        ("/\\evil.example?token=s3cret", "/evil.example"),
        ("/search?type=T&token=s3cret&after=1", "/search?type=T&after=1"),
    ] {
        let opened = client.send(&format!("GET {path}"), &[host, ("authorization", "Bearer s3cret")], "").await;
        assert_eq!(opened.headers["location"], to);
    }
}

#[tokio::test]
async fn a_browser_is_told_to_run_nothing_and_to_show_no_page_in_another() {
    let store = connect("sqlite::memory:").await.unwrap();
    for path in ["/", "/nowhere", "/search?since=x"] {
        let headers = Client::new(&store).get(path).await.headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(
            (&headers["x-content-type-options"], &headers["cache-control"]),
            (&"nosniff".parse().unwrap(), &"no-store".parse().unwrap())
        );
    }
}
