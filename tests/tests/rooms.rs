//! The order of the library's folders: a folder imports only from the folders before it in [`ROOMS`], and imports form
//! no cycle.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use message_store_tests::imports::{Imports, rust_files};

/// The folders of the library, from bottom to top. `values` are the files beside the folders.
const ROOMS: &[&str] = &[
    "values",
    "telemetry",
    "store",
    "postgres",
    "sqlite",
    "open",
    "entity",
    "intents",
    "handling",
    "consumer",
    "service",
    "operations",
    "testing",
];
/// The folders of backends. Only `open` imports from them; later folders use the contract.
const BACKENDS: &[&str] = &["postgres", "sqlite"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../message-store/src")
}

fn library() -> Imports {
    Imports::of_crate(&source())
}

fn room(module: &[String]) -> String {
    match module.first() {
        Some(first) if ROOMS.contains(&first.as_str()) => first.clone(),
        _ => "values".to_owned(),
    }
}

fn height(room: &str) -> usize {
    ROOMS.iter().position(|known| *known == room).unwrap()
}

/// The reason why a folder must not import from another; `None` if it may.
fn refusal(from: &str, to: &str) -> Option<&'static str> {
    if from == to {
        None
    } else if height(to) > height(from) {
        Some("it lies above")
    } else if BACKENDS.contains(&to) && from != "open" {
        Some("only what opens stores knows backends")
    } else if to == "open" && from != "testing" {
        Some("other folders receive an open store")
    } else {
        None
    }
}

/// The imports that break the order.
fn refused(library: &Imports) -> Vec<String> {
    let mut refused = Vec::new();
    for module in library.modules().filter(|module| !module.is_empty()) {
        for imported in library.of(module) {
            if let Some(why) = refusal(&room(module), &room(&imported)) {
                refused.push(format!("{} imports {}: {why}", module.join("::"), imported.join("::")));
            }
        }
    }
    refused
}

/// The unit that must not be part of a cycle: a file, a nested folder (its files are one concept), or all values
/// together.
fn unit(module: &[String]) -> Vec<String> {
    let file = module.iter().take(2).cloned().collect();
    if room(module) == "values" { vec!["values".to_owned()] } else { file }
}

/// The units that are part of a cycle of imports.
fn circles(library: &Imports) -> Vec<String> {
    let mut left: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for module in library.modules().filter(|module| !module.is_empty()) {
        let imported = left.entry(unit(module)).or_default();
        imported.extend(library.of(module).iter().map(|module| unit(module)).filter(|other| *other != unit(module)));
    }
    // Removes units that import from no remaining unit, until only cycles and their importers are left.
    loop {
        let free: BTreeSet<_> =
            left.iter().filter(|(_, imported)| imported.is_empty()).map(|(module, _)| module.clone()).collect();
        let rest: BTreeSet<_> = left.keys().cloned().collect();
        for imported in left.values_mut() {
            imported.retain(|module| !free.contains(module) && rest.contains(module));
        }
        left.retain(|module, _| !free.contains(module));
        if free.is_empty() {
            break;
        }
    }
    // Removes units that no remaining unit imports.
    loop {
        let imported: BTreeSet<_> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|module, _| imported.contains(module));
        if left.len() == before {
            break;
        }
    }
    left.iter()
        .map(|(unit, imported)| {
            let imported: Vec<String> = imported.iter().map(|unit| unit.join("::")).collect();
            format!("{} -> {}", unit.join("::"), imported.join(", "))
        })
        .collect()
}

#[test]
fn every_room_imports_from_rooms_below_it() {
    let refused = refused(&library());
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn no_file_imports_from_itself_by_way_of_others() {
    let circles = circles(&library());
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn imports_that_go_up_or_round_are_found() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [
        (
            "lib.rs",
            "pub mod consumer; mod message; pub mod postgres;\npub use consumer::Runs;\npub use message::Message;",
        ),
        ("message.rs", "use crate::Runs;\npub struct Message;"),
        ("consumer/mod.rs", "mod loops;\nmod runs;\npub use runs::Runs;"),
        ("consumer/runs.rs", "use crate::{Message, consumer::loops::{Loops}};\npub struct Runs;"),
        (
            "consumer/loops.rs",
            "// use super::none;\npub(super) struct Loops(super::Runs);\nfn f() { crate::postgres::open() }",
        ),
        ("postgres/mod.rs", "pub fn open() {}\n#[cfg(test)]\nmod tests { use crate::Runs; }"),
    ] {
        let file = folder.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let library = Imports::of_crate(folder.path());
    assert_eq!(
        refused(&library),
        [
            "consumer::loops imports postgres: only what opens stores knows backends",
            "message imports consumer::runs: it lies above"
        ]
    );
    // The message is part of a cycle too: it imports from a unit that imports from it.
    assert_eq!(
        circles(&library),
        ["consumer::loops -> consumer::runs", "consumer::runs -> consumer::loops, values", "values -> consumer::runs"]
    );
}

#[test]
fn the_reader_of_imports_sees_what_the_compiler_sees() {
    let library = library();
    let of = |module: &str| -> Vec<String> {
        let module = module.split("::").map(str::to_owned).collect();
        library.of(&module).into_iter().map(|module| module.join("::")).collect()
    };
    // Imports through the root, through a group, and through a path outside of `use`.
    assert!(of("message").contains(&"json".to_owned()), "{:?}", of("message"));
    assert!(of("metadata::following").contains(&"stream_name".to_owned()), "{:?}", of("metadata::following"));
    assert!(of("error").contains(&"stream_name".to_owned()), "{:?}", of("error"));
    assert!(of("position").is_empty(), "{:?}", of("position"));
}

#[test]
fn sql_is_in_sql_files() {
    let is_sql = |line: &&str| {
        let is_comment = line.trim_start().starts_with("//");
        let begins = ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM ", "\"SET LOCAL "];
        !is_comment && begins.iter().any(|word| line.contains(word))
    };
    let mut found = Vec::new();
    // The rules of read models have one, which is written as authors write theirs.
    let is_of_authors = |path: &Path| path.ends_with("testing/conformance/read_models.rs");
    for path in rust_files(&source()).into_iter().filter(|path| !is_of_authors(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        found.extend(text.lines().filter(is_sql).map(|line| format!("{}: {}", path.display(), line.trim())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
