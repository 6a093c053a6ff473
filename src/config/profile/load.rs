//! The profile that the user names: built-in, or in a file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::config::ConfigError;

use super::{BuiltIn, Profile};

/// The largest file of a profile, in bytes.
const LARGEST: u64 = 16 << 20;

/// The extension of files that are profiles even if they do not exist.
const EXTENSION: &str = ".toml";

impl Profile {
    /// Returns the profile that `name` stands for: a built-in profile, or the file at this path.
    ///
    /// A name with a slash and a name that ends with `.toml` are always paths.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::UnknownProfile`] if there is neither a built-in profile nor a file with this name.
    /// - [`ConfigError::ReadProfile`] if the file cannot be read.
    /// - [`ConfigError::Profile`] if the profile breaks a rule.
    pub fn load(name: &str) -> Result<Self, ConfigError> {
        let is_path = name.contains('/') || name.ends_with(EXTENSION);
        let profile = match BuiltIn::find(name) {
            Some(profile) if !is_path => profile.parse(),
            _ if is_path || Path::new(name).exists() => Self::parse(&read(Path::new(name))?, name),
            _ => return Err(ConfigError::UnknownProfile { name: name.to_owned() }),
        };
        profile.map_err(|source| ConfigError::Profile { profile: name.to_owned(), source })
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let mut text = String::new();
    // The file may be endless, such as /dev/zero.
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    let is_small = |&length: &usize| u64::try_from(length).is_ok_and(|length| length <= LARGEST);
    let read = read.and_then(|length| Some(length).filter(is_small).ok_or(io::ErrorKind::FileTooLarge.into()));
    read.map(|_| text).map_err(|source| ConfigError::ReadProfile { path: path.to_owned(), source })
}
