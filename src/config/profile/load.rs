//! The profile that the user names: built-in, or in a file.

use std::path::{Path, PathBuf};

use crate::config::toml_file::has_keys;
use crate::config::{ConfigError, TomlError, text_file};

use super::{BuiltIn, Profile, ProfileError, portspoof};

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
    /// Returns whether `name` is always a path, even if there is no such file.
    pub(crate) fn is_path(name: &str) -> bool {
        name.contains('/') || EXTENSIONS.iter().any(|extension| name.ends_with(extension))
    }

    /// Returns the profile that `name` stands for: a built-in profile, or the file at this path.
    ///
    /// A name with a slash and a name that ends with `.toml` or `.conf` are always paths, and so is every name if
    /// `format` is another one than TOML. `key` expands the payloads of portspoof.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::UnknownProfile`] if there is neither a built-in profile nor a file with this name.
    /// - [`ConfigError::ReadProfile`] if the file cannot be read.
    /// - [`ConfigError::Profile`] if the profile breaks a rule.
    pub fn load(name: &str, format: ProfileFormat, key: &[u8; 16]) -> Result<Self, ConfigError> {
        let path = PathBuf::from(name);
        let is_path = Self::is_path(name);
        let profile = match (BuiltIn::find(name), format) {
            (Some(profile), ProfileFormat::Toml) if !is_path => profile.parse(),
            (_, ProfileFormat::Toml) if !is_path && !path.exists() => {
                return Err(ConfigError::UnknownProfile { name: name.to_owned() });
            }
            (_, ProfileFormat::Toml) => parse_toml(&read(&path)?, name),
            (_, ProfileFormat::Portspoof) => Self::parse_portspoof(&read(&path)?, name, key),
            (_, ProfileFormat::PortspoofSignatures) => Self::parse_signatures(&read(&path)?, name, key),
        };
        profile.map_err(|source| ConfigError::Profile { profile: name.to_owned(), source })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    text_file::read(path).map_err(|source| ConfigError::ReadProfile { path: path.to_owned(), source })
}

/// Parses a profile in TOML. A file in another format gets an error that names the format.
fn parse_toml(bytes: &[u8], name: &str) -> Result<Profile, ProfileError> {
    let parsed = match str::from_utf8(bytes) {
        Ok(text) => Profile::parse(text, name),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or(bytes);
            Err(ProfileError::NotUtf8 { line: before.iter().filter(|&&byte| byte == b'\n').count() + 1 })
        }
    };
    parsed.map_err(|error| match error {
        ProfileError::NotUtf8 { .. } => portspoof::is_configuration(bytes).unwrap_or(error),
        ProfileError::Toml(TomlError::Syntax { line, .. }) if !has_keys(bytes) => {
            portspoof::is_configuration(bytes).unwrap_or(ProfileError::NotToml { line })
        }
        _ => error,
    })
}
