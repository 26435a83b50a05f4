//! Keys held across processes: one locked file each, beside the database.
//!
//! The system frees a file's lock with the process that has it. The file itself is removed by who lets go of the key, or, after a process
//! was killed, by the next one to hold that key, or to sweep.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use same_file::Handle;

use crate::store::{Claim, name_for_locks};
use crate::{Error, Result};

/// The folder of the files: the database's path with `-once` behind it.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// A file that is locked; removed when it is dropped.
pub(super) struct Lock {
    path: PathBuf,
    file: Handle,
}

impl Folder {
    /// The one for this database, by whatever path it was opened.
    pub(super) fn beside(database: &Path) -> Result<Self> {
        let mut path = fs::canonicalize(database).map_err(failed(database))?.into_os_string();
        path.push("-once");
        Ok(Self(path.into()))
    }

    /// The key, if no caller has it.
    pub(super) fn try_hold(&self, claim: &Claim) -> Result<Option<Lock>> {
        fs::create_dir_all(&self.0).map_err(failed(&self.0))?;
        let path = self.0.join(name_for_locks(claim).to_string());
        Lock::try_new(&path).map_err(failed(&path))
    }

    /// Removes the files of processes that were killed.
    pub(super) fn sweep(&self) -> Result<()> {
        let files = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            files => files.map_err(failed(&self.0))?,
        };
        for file in files {
            let path = file.map_err(failed(&self.0))?.path();
            drop(Lock::try_new(&path).map_err(failed(&path))?);
        }
        Ok(())
    }
}

impl Lock {
    fn try_new(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let file = Handle::from_file(file)?;
        // Its last holder may have removed it after we opened it: then it guards nothing.
        match Handle::from_path(path) {
            Ok(named) if named == file => Ok(Some(Self { path: path.to_owned(), file })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still locked, so that no file but ours is removed.
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the file of a key stays until the key is held again");
        }
        if let Err(error) = self.file.as_file().unlock() {
            tracing::debug!(%error, "a key is freed when its file is closed");
        }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    let context = format!("holding a key with {}", path.display());
    move |error| Error::backend(context.clone(), false, error)
}
