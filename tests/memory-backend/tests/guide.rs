//! The guide's page "Writing a backend" shows this crate's code.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

const PAGE: &str = include_str!("../../../docs/guide/src/writing-a-backend.md");

/// Lines without their indentation: a page shows a method by itself.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

/// The page's pieces of code.
fn snippets(page: &str) -> Vec<Vec<&str>> {
    page.split("```rust,ignore\n").skip(1).map(|rest| lines(rest.split("```").next().unwrap())).collect()
}

fn is_in_the_crate(snippet: &[&str]) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["src", "tests"].iter().flat_map(|part| std::fs::read_dir(folder.join(part)).unwrap()).any(|file| {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        lines(&text).windows(snippet.len()).any(|window| window == snippet)
    })
}

#[test]
fn each_piece_of_code_on_the_page_is_in_this_crate() {
    let snippets = snippets(PAGE);
    assert!(snippets.len() > 5, "the page has lost its code");
    for snippet in snippets {
        assert!(is_in_the_crate(&snippet), "{}", snippet.join("\n"));
    }
}

#[test]
fn twin_a_piece_that_was_changed_is_noticed() {
    let changed = PAGE.replace("wake(&streams)", "wake(&[])");
    assert!(!snippets(&changed).iter().all(|snippet| is_in_the_crate(snippet)));
}
