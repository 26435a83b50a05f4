//! `message-store context`: names for stores.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::contexts::{Contexts, StoreContext, has_password, place};
use crate::exit::Exit;
use crate::output::{Format, Rows, line, remark};

#[derive(Debug, clap::Args)]
pub(crate) struct Context {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the contexts. The current one is taken by commands that name no store
    List,
    /// Give a store a name
    Set {
        /// The context's name
        name: String,
        /// The store: `postgres://USER@HOST/DATABASE` or `sqlite:PATH`
        #[arg(long, value_name = "URL")]
        store: String,
        /// A file whose first line is the password
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Make a context the current one
    Use {
        /// The context's name
        name: String,
    },
    /// Remove a context. The store stays
    Remove {
        /// The context's name
        name: String,
    },
}

impl Context {
    pub(crate) fn run(self, format: Format) -> Result<()> {
        let path = place()?;
        let mut contexts = Contexts::read(&path)?;
        match self.action {
            Action::List => {
                let mut rows = Rows::new(format, ["name", "store", "password file", "current"])?;
                for (name, context) in &contexts.contexts {
                    rows.add([
                        json!(name),
                        json!(without_password(&context.store)),
                        json!(context.password_file),
                        json!(contexts.current.as_ref() == Some(name)),
                    ])?;
                }
                rows.print()
            }
            Action::Set { name, store, password_file } => {
                if has_password(&store) {
                    remark("warning: the password is in the file of contexts; --password-file keeps it apart");
                }
                let context = StoreContext { store: absolute(store)?, password_file };
                context.check()?;
                contexts.contexts.insert(name.clone(), context);
                if contexts.current.is_none() {
                    contexts.current = Some(name.clone());
                }
                contexts.write(&path)?;
                line(format_args!("{name} is set in {}", path.display()))
            }
            Action::Use { name } => {
                contexts.named(&name)?;
                contexts.current = Some(name.clone());
                contexts.write(&path)?;
                line(format_args!("{name} is the current context"))
            }
            Action::Remove { name } => {
                if contexts.contexts.remove(&name).is_none() {
                    return Err(Exit::NotFound.because(format!("there is no context {name:?}")));
                }
                contexts.current.take_if(|current| *current == name);
                contexts.write(&path)?;
                line(format_args!("{name} is removed"))
            }
        }
    }
}

/// The URL with asterisks in the place of a password.
/// The URL with the whole path of a SQLite file: commands are given in any folder.
fn absolute(store: String) -> Result<String> {
    match store.strip_prefix("sqlite:") {
        Some(path) if !path.starts_with(':') && !path.starts_with("file:") => {
            Ok(format!("sqlite:{}", std::path::absolute(path)?.display()))
        }
        _ => Ok(store),
    }
}

fn without_password(url: &str) -> String {
    let hidden = url.split_once("://").and_then(|(scheme, rest)| {
        let (user, place) = rest.split_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:***@{place}"))
    });
    hidden.unwrap_or_else(|| match url.split_once('?') {
        Some((before, _)) if has_password(url) => format!("{before}?***"),
        _ => url.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_no_password() {
        let shown = ["postgres://ann:secret@host/db", "postgres://host/db?password=secret", "sqlite:a.db"]
            .map(without_password);
        assert_eq!(shown, ["postgres://ann:***@host/db", "postgres://host/db?***", "sqlite:a.db"]);
    }
}
