//! The imports of each file of the library, resolved to the files that define the names. A name that is imported
//! through a re-export counts as imported from its definition. Unit tests and doc comments do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module, by its path from the crate's root: `["consumer", "dead_letters", "letter"]`.
type Module = Vec<String>;

/// The imports of a crate.
#[derive(Debug, Default)]
pub struct Imports {
    /// Each module's text, without comments, strings and unit tests.
    texts: BTreeMap<Module, String>,
    /// The names that a module re-exports, and the paths that it re-exports them from.
    handed_on: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Imports {
    /// Reads the crate whose root is `{folder}/lib.rs`.
    #[must_use]
    pub fn of_crate(folder: &Path) -> Self {
        let mut imports = Self::default();
        for file in rust_files(folder) {
            let module = module_of(folder, &file);
            let text = without_unit_tests(&without_comments(&fs::read_to_string(&file).unwrap()));
            let handed_on = uses(&text)
                .into_iter()
                .filter(|(is_public, _)| *is_public)
                .flat_map(|(_, tree)| leaves(&tree))
                .map(|(path, name)| (name, absolute(&module, &path)))
                .collect();
            imports.handed_on.insert(module.clone(), handed_on);
            imports.texts.insert(module, text);
        }
        imports
    }

    /// All modules that have a file.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.texts.keys()
    }

    /// The modules from which a module imports names, without those that it only re-exports.
    #[must_use]
    pub fn of(&self, module: &Module) -> BTreeSet<Module> {
        let text = &self.texts[module];
        let used = uses(text)
            .into_iter()
            .filter(|(is_public, _)| !is_public)
            .flat_map(|(_, tree)| leaves(&tree))
            .map(|(path, _)| path);
        used.chain(inline_paths(text))
            .map(|path| absolute(module, &path))
            .filter(|path| path.first().is_some_and(|first| first == "crate"))
            .map(|path| self.defining(&path[1..]))
            .filter(|found| found != module)
            .collect()
    }

    /// The module that defines the item at a path from the root.
    fn defining(&self, path: &[String]) -> Module {
        let mut module = Module::new();
        for (at, name) in path.iter().enumerate() {
            let below: Module = module.iter().cloned().chain([name.clone()]).collect();
            if self.texts.contains_key(&below) {
                module = below;
                continue;
            }
            if let Some(from) = self.handed_on.get(&module).and_then(|names| names.get(name)) {
                let rest = path.get(at + 1..).unwrap_or_default();
                let onward: Vec<String> = from.iter().skip(1).chain(rest).cloned().collect();
                // A re-export with the same name as its module ends the search.
                return if onward == path { module } else { self.defining(&onward) };
            }
            break;
        }
        module
    }
}

/// The Rust files in a folder and below it.
#[must_use]
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn module_of(folder: &Path, file: &Path) -> Module {
    let relative = file.strip_prefix(folder).unwrap().with_extension("");
    let mut module: Module = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

/// The text without comments, and with empty string and character literals.
fn without_comments(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r#\"") {
            rest.get(3..).and_then(|text| text.find("\"#")).map_or(rest.len(), |end| end + 5)
        } else if first == '"' {
            end_of_string(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            rest.get(2..).and_then(|text| text.find('\'')).map_or(rest.len(), |end| end + 3)
        } else {
            0
        };
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            rest = rest.get(skipped..).unwrap_or_default();
        }
    }
    out
}

fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn without_unit_tests(text: &str) -> String {
    let mut out = text.to_owned();
    // Some of them also need features.
    while let Some(begin) = out.find("#[cfg(test)]\nmod ").or_else(|| out.find("#[cfg(all(test, ")) {
        let Some(open) = out.get(begin..).and_then(|rest| rest.find('{')) else { break };
        let (mut depth, mut end) = (0, out.len());
        for (at, character) in out[begin + open..].char_indices() {
            depth += i32::from(character == '{') - i32::from(character == '}');
            if depth == 0 {
                end = begin + open + at + 1;
                break;
            }
        }
        out.replace_range(begin..end, "");
    }
    out
}

/// The trees of all `use` statements, and whether each is a re-export.
fn uses(text: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let line = text[..at].rsplit(['\n', ';', '{', '}']).next().unwrap_or_default().trim();
        let (is_public, is_use) = (line.starts_with("pub"), line.is_empty() || line.starts_with("pub"));
        if let Some(tree) = text[at + 4..].split(';').next().filter(|_| is_use) {
            found.push((is_public, tree.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    found
}

/// The paths of a `use` tree, each with the name that it is imported as.
fn leaves(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((prefix, group)) = tree.split_once('{') {
        let prefix: Vec<String> = segments(prefix);
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let mut found = Vec::new();
        for part in parts(group) {
            found.extend(leaves(part).into_iter().map(|(path, name)| {
                let path = path.into_iter().filter(|segment| segment != "self");
                (prefix.iter().cloned().chain(path).collect(), name)
            }));
        }
        return found;
    }
    let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
    let path = segments(path);
    let name = name.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
    vec![(path, name)]
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

/// The parts of a group between its commas. Commas in inner groups do not count.
fn parts(group: &str) -> Vec<&str> {
    let (mut found, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, character) in group.char_indices() {
        depth += i32::from(character == '{') - i32::from(character == '}');
        if character == ',' && depth == 0 {
            found.push(&group[begin..at]);
            begin = at + 1;
        }
    }
    found.push(&group[begin..]);
    found.retain(|part| !part.trim().is_empty());
    found
}

/// The paths outside of `use` statements that begin at the crate's root, or relative to the module.
fn inline_paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ["crate::", "super::"] {
        for (at, _) in text.match_indices(root) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|character| character.is_alphanumeric() || "_:".contains(character)) {
                continue;
            }
            let is_path = |character: char| character.is_alphanumeric() || character == '_' || character == ':';
            let path: String = text[at..].chars().take_while(|character| is_path(*character)).collect();
            found.push(segments(&path));
        }
    }
    found
}

/// The path from the crate's root. A path to another crate is returned unchanged.
fn absolute(module: &Module, path: &[String]) -> Vec<String> {
    let mut base: Vec<String> = ["crate".to_owned()].into_iter().chain(module.iter().cloned()).collect();
    match path.first().map(String::as_str) {
        Some("crate") => path.to_vec(),
        Some("self") => base.into_iter().chain(path.iter().skip(1).cloned()).collect(),
        Some("super") => {
            let ups = path.iter().take_while(|segment| *segment == "super").count();
            base.truncate(base.len().saturating_sub(ups));
            base.into_iter().chain(path.iter().skip(ups).cloned()).collect()
        }
        // A module below this one, or another crate: the module tree distinguishes them.
        _ => base.into_iter().chain(path.iter().cloned()).collect(),
    }
}
