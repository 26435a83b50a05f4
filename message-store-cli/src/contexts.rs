//! Contexts: names for stores, in a file of the user.
//!
//! A password does not belong into an argument, where other users of the machine see it. A context names the file that
//! has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// The file of contexts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The context that is taken if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, StoreContext>,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreContext {
    /// Its URL.
    pub(crate) store: String,
    /// A file whose first line is the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Where the file is: `MESSAGE_STORE_CONTEXTS`, or `message-store/contexts.toml` in the folder of the user's settings.
pub(crate) fn place() -> Result<PathBuf> {
    if let Some(path) = env::var_os("MESSAGE_STORE_CONTEXTS") {
        return Ok(path.into());
    }
    let settings = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let settings = settings.or_else(|| env::home_dir().map(|home| home.join(".config")));
    Ok(settings
        .context("the user has no home folder; MESSAGE_STORE_CONTEXTS names the file of contexts")?
        .join("message-store/contexts.toml"))
}

impl Contexts {
    /// The file's contexts. None if there is no file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("the contexts in {}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("the contexts in {}", path.display())),
        }
    }

    /// Writes the file, readable for its user alone.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        use std::io::Write as _;
        let folder = path.parent().context("the file of contexts has no folder")?;
        fs::create_dir_all(folder).with_context(|| format!("the folder {}", folder.display()))?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(toml::to_string(self)?.as_bytes())?;
        file.persist(path).with_context(|| format!("the contexts in {}", path.display()))?;
        Ok(())
    }

    /// The context of this name.
    pub(crate) fn named(&self, name: &str) -> Result<&StoreContext> {
        self.contexts.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let known =
                if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
            Exit::NotFound.because(format!("there is no context {name:?}; {known}"))
        })
    }
}

impl StoreContext {
    /// Fails if the password of the file cannot be put into the URL.
    pub(crate) fn check(&self) -> Result<()> {
        if self.password_file.is_some() {
            with_password(&self.store, "")?;
        }
        Ok(())
    }

    /// The store's URL, with the password of the file.
    pub(crate) fn url(&self) -> Result<String> {
        let Some(file) = &self.password_file else { return Ok(self.store.clone()) };
        let text = fs::read_to_string(file).with_context(|| format!("the password in {}", file.display()))?;
        let password = text.lines().next().unwrap_or_default();
        if password.is_empty() {
            bail!("the first line of {} is empty", file.display());
        }
        with_password(&self.store, password)
    }
}

/// The URL of a PostgreSQL store with this password.
fn with_password(url: &str, password: &str) -> Result<String> {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let parts = url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?)));
    let Some((scheme, (user, rest))) = parts.filter(|(_, (user, _))| !user.contains([':', '/'])) else {
        bail!("a store with a password file must be written as postgres://USER@HOST/DATABASE");
    };
    Ok(format!("{scheme}://{user}:{}@{rest}", utf8_percent_encode(password, NON_ALPHANUMERIC)))
}

/// Whether a URL contains a password.
pub(crate) fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    let is_in_user = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    is_in_user
        || rest
            .split_once('?')
            .is_some_and(|(_, parameters)| parameters.split('&').any(|parameter| parameter.starts_with("password=")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_put_into_the_url() {
        assert_eq!(
            with_password("postgres://ann@host/db?a=b", "p@ss/").unwrap(),
            "postgres://ann:p%40ss%2F@host/db?a=b"
        );
        for wrong in ["sqlite:a.db", "postgres://host/db", "postgres://ann:old@host/db"] {
            assert!(with_password(wrong, "x").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_seen() {
        for with in ["postgres://ann:secret@host/db", "postgresql://host/db?user=ann&password=secret"] {
            assert!(has_password(with), "{with}");
        }
        for without in ["sqlite:a.db", "postgres://ann@host:5432/db", "postgres://host/a@b:c"] {
            assert!(!has_password(without), "{without}");
        }
    }
}
