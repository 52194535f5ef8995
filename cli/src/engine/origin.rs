//! What the user wants backed up.
//!
//! Owns the sources' names in the backup. `backup` makes them, the walk begins at them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// What is backed up: a file or folder, and its name at the top of the backup.
pub struct Origin {
    /// As the user wrote it, but absolute, and without links.
    pub path: PathBuf,
    pub name: Box<[u8]>,
}

impl Origin {
    /// Those of `paths`, none of which may have the name of another.
    pub fn all(paths: &[PathBuf]) -> Result<Vec<Origin>, Failure> {
        let mut all: Vec<Origin> = Vec::new();
        for path in paths {
            let origin = Origin::of(path)?;
            if let Some(other) = all.iter().find(|other| other.name == origin.name) {
                return Err(Failure::input(format!(
                    "{} and {} would both be `{}` in the backup: back them up apart, or the folder they are in",
                    other.path.display(),
                    origin.path.display(),
                    origin.name.escape_ascii()
                )));
            }
            all.push(origin);
        }
        Ok(all)
    }

    fn of(path: &Path) -> Result<Origin, Failure> {
        let real = path
            .canonicalize()
            .map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
        let name = path.file_name().or(real.file_name());
        // The top of the file system has none.
        let name = name.map_or(&b"root"[..], OsStr::as_bytes).into();
        Ok(Origin { path: real, name })
    }
}
