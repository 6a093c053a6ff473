//! Profiles in files.

use std::fs;

use tempfile::NamedTempFile;

/// Writes a profile to a file with a name that `--profile` takes for a file.
pub fn profile(text: &str) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(&file, text).unwrap();
    file
}
