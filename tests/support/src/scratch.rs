use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::ports::token;

/// A directory that only this user can read and that goes when the value is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates an empty directory below the system's directory for temporary files.
    ///
    /// # Errors
    ///
    /// When it cannot be created.
    pub fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("hmac-test-{}", token()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .context(format_args!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and returns where that is.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text).context(format_args!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that stays behind is no reason to fail a test that passed.
        let _ = fs::remove_dir_all(&self.0);
    }
}
