//! The profile that the user names: built-in, or in a file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::config::{ConfigError, isn};

use super::{BuiltIn, Profile};

/// The largest file of a profile, in bytes.
const LARGEST: u64 = 16 << 20;

/// The extensions of files that are profiles even if they do not exist.
const EXTENSIONS: [&str; 2] = [".toml", ".conf"];

/// The format of a profile in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProfileFormat {
    /// TOML, as [`Profile::parse`] reads it.
    #[default]
    Toml,
    /// The configuration of portspoof: lines with ports and a payload.
    Portspoof,
    /// The signatures of portspoof: one regular expression a line.
    PortspoofSignatures,
}

impl Profile {
    /// Returns the profile that `name` stands for: a built-in profile, or the file at this path.
    ///
    /// A name with a slash and a name that ends with `.toml` or `.conf` are always paths, and so is every name if
    /// `format` is another one than TOML. The key in `key_file`, or a random key, expands the payloads of portspoof.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::UnknownProfile`] if there is neither a built-in profile nor a file with this name.
    /// - [`ConfigError::ReadProfile`] if the file cannot be read.
    /// - [`ConfigError::Profile`] if the profile breaks a rule.
    /// - [`ConfigError::ReadKey`], [`ConfigError::InvalidKey`] or [`ConfigError::NoRandomness`] for the key.
    pub fn load(name: &str, format: ProfileFormat, key_file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = PathBuf::from(name);
        let is_path = name.contains('/') || EXTENSIONS.iter().any(|extension| name.ends_with(extension));
        let profile = match (BuiltIn::find(name), format) {
            (Some(profile), ProfileFormat::Toml) if !is_path => profile.parse(),
            (_, ProfileFormat::Toml) if !is_path && !path.exists() => {
                return Err(ConfigError::UnknownProfile { name: name.to_owned() });
            }
            (_, ProfileFormat::Toml) => Self::parse(&read_text(&path)?, name),
            (_, ProfileFormat::Portspoof) => Self::parse_portspoof(&read(&path)?, name, &isn::key(key_file)?),
            (_, ProfileFormat::PortspoofSignatures) => {
                Self::parse_signatures(&read(&path)?, name, &isn::key(key_file)?)
            }
        };
        profile.map_err(|source| ConfigError::Profile { profile: name.to_owned(), source })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::new();
    // The file may be endless, such as /dev/zero.
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    let is_small = |&length: &usize| u64::try_from(length).is_ok_and(|length| length <= LARGEST);
    let read = read.and_then(|length| Some(length).filter(is_small).ok_or(io::ErrorKind::FileTooLarge.into()));
    read.map(|_| bytes).map_err(|source| ConfigError::ReadProfile { path: path.to_owned(), source })
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|error| ConfigError::ReadProfile {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()),
    })
}
