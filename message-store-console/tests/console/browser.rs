//! The screens in a real browser: what is seen, and that it reports no error.
//!
//! `MESSAGE_STORE_TEST_BROWSER` names the browser's program (default: `chromium`), or is `none` to leave the tests out.
//! `MESSAGE_STORE_SCREENSHOTS` names a folder in which pictures of the screens are kept.

use std::path::Path;
use std::process::Command;

use message_store_console::Console;
use message_store_tests::accounts::Account;
use tokio::net::TcpListener;

use super::seeded::{Seeded, on_both_stores};

fn browser() -> Option<String> {
    let named = std::env::var("MESSAGE_STORE_TEST_BROWSER").ok().filter(|name| !name.is_empty());
    let browser = named.unwrap_or_else(|| "chromium".to_owned());
    (browser != "none").then_some(browser)
}

/// Opens a page, and returns the text of its document and what the browser reports.
fn open(browser: &str, profile: &Path, url: &str, more: &[String]) -> (String, String) {
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]);
    command.arg("--window-size=1280,900").arg(format!("--user-data-dir={}", profile.display()));
    let output = command.args(more).arg(url).output().unwrap_or_else(|error| panic!("{browser}: {error}"));
    assert!(output.status.success(), "{url}: {output:?}");
    let reported = String::from_utf8_lossy(&output.stderr);
    let console: Vec<&str> = reported.lines().filter(|line| line.contains("CONSOLE")).collect();
    (String::from_utf8(output.stdout).unwrap(), console.join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_screen_is_seen_in_a_browser_without_an_error() {
    let Some(browser) = browser() else { return };
    on_both_stores(async |seeded: &Seeded| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("http://{}", listener.local_addr().unwrap());
        let console = Console::new(&seeded.store).projection::<Account>().allow_actions(true);
        let server = tokio::spawn(console.serve(listener, std::future::pending()));
        let profile = tempfile::tempdir().unwrap();
        let message = format!("/messages/{}", seeded.deposits[0].id);
        let screens = [
            ("overview", "/", "messages in the last minute"),
            ("categories", "/categories", "of consumers"),
            ("category", "/categories/account:command", "Streams, those with the latest messages first"),
            ("stream", "/streams/account-7", "Stream account-7"),
            ("entity", "/entities/account-7?version=1", "What each event changed"),
            ("message", &message, "Causes and effects"),
            ("search", "/search?category=account&text=11", "Looked through global position"),
            ("consumers", "/consumers?category=account:command", "already processed"),
            ("dead-letters", "/dead-letters", "set aside"),
            ("repeats", "/repeats?outcome=duplicate", "duplicate"),
            ("tail", "/tail?paused=yes", "Deposited"),
        ];
        for (name, path, text) in screens {
            let (browser, profile, url) = (browser.clone(), profile.path().to_owned(), format!("{place}{path}"));
            let seen = tokio::task::spawn_blocking(move || {
                let seen = open(&browser, &profile, &url, &["--dump-dom".to_owned()]);
                if let Ok(folder) = std::env::var("MESSAGE_STORE_SCREENSHOTS") {
                    open(&browser, &profile, &url, &[format!("--screenshot={folder}/{name}.png")]);
                }
                seen
            });
            let (document, console) = seen.await.unwrap();
            assert!(document.contains(text), "{text:?} is not in {path}: {document}");
            assert_eq!(console, "", "{path}");
        }
        server.abort();
    })
    .await;
}
