//! Golden files: one for every form in which a message was ever written.
//!
//! Problem: a change of an enum makes stored messages unreadable, or reads them as something else, and no test notices: a
//! test writes what it reads. Fix: a folder keeps a stored message of each form for ever. Each of them must be read as
//! its file says, and each variant must be written as its newest file says.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::variant::names;
use crate::{Fields, GlobalPosition, Json, Message, NewMessage, Position, StreamName, Timestamp, Upcaster};

/// A folder of golden files for the messages of an enum. The names of the files do not matter; `Deposited.1.json` is a
/// good one. A file has the `type`, the `data`, and the `metadata` if the version is above 1; and `readAs` if the message
/// is read as something else than what it says, because it has an earlier form: a list of messages of today, which is empty
/// if an upcaster drops it.
///
/// ```json
/// {
///   "type": "Paid",
///   "data": {"sum": 7.50},
///   "readAs": [{"type": "Deposited", "data": {"amount": 7.50, "currency": "CZK"}}]
/// }
/// ```
///
/// Files are added and never changed or removed: stored messages are not either.
#[derive(Debug)]
#[must_use = "say check(samples)"]
pub struct Golden<E> {
    folder: PathBuf,
    upcasters: Vec<Upcaster>,
    added: Vec<&'static str>,
    messages: PhantomData<fn() -> E>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(rename = "type")]
    message_type: String,
    data: Json,
    #[serde(default, skip_serializing_if = "Json::is_empty")]
    metadata: Json,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_as: Option<Vec<ReadAs>>,
}

#[derive(Serialize, Deserialize)]
struct ReadAs {
    #[serde(rename = "type")]
    message_type: String,
    data: Json,
}

impl<E: Serialize + DeserializeOwned + Debug> Golden<E> {
    /// The files in this folder.
    pub fn in_folder(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().to_owned();
        Self { folder, upcasters: Vec::new(), added: Vec::new(), messages: PhantomData }
    }

    /// Reads earlier forms by these upcasters.
    pub fn upcasters(mut self, upcasters: &[Upcaster]) -> Self {
        self.upcasters = upcasters.to_vec();
        self
    }

    /// The fields that the runtime adds to the data: they are not compared
    /// ([`Decider::SEQUENCE_FIELD`](crate::handling::Decider::SEQUENCE_FIELD)).
    pub fn added_fields(mut self, fields: impl IntoIterator<Item = &'static str>) -> Self {
        self.added.extend(fields);
        self
    }

    /// Panics unless every file is read as it says, every variant has a sample, and every sample is written as one of the
    /// files says.
    #[track_caller]
    pub fn check(&self, samples: impl IntoIterator<Item = E>) {
        let problems = self.problems(samples);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    /// The problems that [`check`](Self::check) finds.
    pub fn problems(&self, samples: impl IntoIterator<Item = E>) -> Vec<String> {
        let files = self.files();
        let mut problems: Vec<String> = files.iter().filter_map(|(name, file)| self.misread(name, file)).collect();
        let mut unseen: Vec<&str> = names::<E>().to_vec();
        for sample in samples {
            let written = NewMessage::from_variant(&sample).and_then(|message| message.versioned(&self.upcasters));
            let written = written.unwrap_or_else(|error| panic!("{sample:?}: {error}"));
            unseen.retain(|name| *name != written.message_type);
            let is_written = |file: &File| {
                file.message_type == written.message_type
                    && stored(file).type_version() == stored_message(&written).type_version()
                    && self.compared(&file.data).same_as(&self.compared(&written.data))
            };
            if !files.iter().any(|(_, file)| is_written(file)) {
                let NewMessage { message_type, data, metadata, .. } = written;
                let file = File { message_type, data, metadata, read_as: None };
                let text = serde_json::to_string_pretty(&file).unwrap();
                problems.push(format!(
                    "{sample:?} is written in a form that no file of {} has. If it is new, add the file; if the form has changed, \
         raise the version with an upcaster:\n{text}",
                    self.folder.display()
                ));
            }
        }
        problems.extend(unseen.iter().map(|name| format!("the variant {name} has no sample")));
        problems
    }

    fn files(&self) -> Vec<(String, File)> {
        let folder =
            std::fs::read_dir(&self.folder).unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
        let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.display().to_string(), file)
        };
        paths.into_iter().filter(is_json).map(read).collect()
    }

    /// The reason why a file is not read as it says.
    fn misread(&self, name: &str, file: &File) -> Option<String> {
        let values: Vec<E> = match stored(file).decode_upcast(&self.upcasters) {
            Ok(Some(values)) => values,
            Ok(None) => return Some(format!("{name}: {} is no type of this enum", file.message_type)),
            Err(error) => return Some(format!("{name}: {error}")),
        };
        let read = values.iter().map(|value| {
            let message = NewMessage::from_variant(value).unwrap_or_else(|error| panic!("{name}: {error}"));
            (message.message_type, message.data)
        });
        let read: Vec<(String, Json)> = read.collect();
        let expected: Vec<(&str, Json)> = match &file.read_as {
            None => vec![(&file.message_type, self.compared(&file.data))],
            Some(parts) => parts.iter().map(|part| (part.message_type.as_str(), part.data.clone())).collect(),
        };
        let is_same =
            |(read, expected): (&(String, Json), &(&str, Json))| read.0 == expected.0 && read.1.same_as(&expected.1);
        let is_right = read.len() == expected.len() && read.iter().zip(&expected).all(is_same);
        (!is_right).then(|| format!("{name}: it is read as {read:?}, not as {expected:?}"))
    }

    /// The data without the fields that the runtime adds.
    fn compared(&self, data: &Json) -> Json {
        let Ok(mut fields) = Fields::of(data) else { return data.clone() };
        if data.is_empty() {
            return Json::NULL;
        }
        for field in &self.added {
            fields.remove(field);
        }
        fields.to_json()
    }
}

fn stored(file: &File) -> Message {
    let message = NewMessage::new(&file.message_type, file.data.clone()).with_metadata_json(file.metadata.clone());
    stored_message(&message)
}

pub(super) fn stored_message(message: &NewMessage) -> Message {
    let stream = StreamName::from_database("golden-1");
    message.clone().written(stream, Position::FIRST, GlobalPosition::new(1), Timestamp::UNIX_EPOCH)
}
