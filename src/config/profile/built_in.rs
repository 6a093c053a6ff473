//! The profiles that are part of the program.

use super::{Profile, ProfileError};

/// A profile that is part of the program.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// The name.
    pub name: &'static str,
    /// The text of the profile, in TOML.
    pub text: &'static str,
}

impl BuiltIn {
    /// All built-in profiles.
    pub const ALL: [Self; 8] = [
        Self { name: "linux-server", text: include_str!("built_in/linux-server.toml") },
        Self { name: "windows-server", text: include_str!("built_in/windows-server.toml") },
        Self { name: "mail-server", text: include_str!("built_in/mail-server.toml") },
        Self { name: "router", text: include_str!("built_in/router.toml") },
        Self { name: "printer", text: include_str!("built_in/printer.toml") },
        Self { name: "ip-camera", text: include_str!("built_in/ip-camera.toml") },
        Self { name: "database", text: include_str!("built_in/database.toml") },
        Self { name: "all-ports", text: include_str!("built_in/all-ports.toml") },
    ];

    /// Returns the profile with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|profile| profile.name == name)
    }

    /// Returns what the host looks like, in a phrase: the first line of the profile, which is a comment.
    pub fn description(&self) -> &'static str {
        let line = self.text.lines().next().unwrap_or_default();
        line.trim_start_matches(['#', ' ']).trim_end_matches('.')
    }

    /// Parses the profile.
    ///
    /// # Errors
    ///
    /// None: the tests parse every built-in profile.
    pub fn parse(&self) -> Result<Profile, ProfileError> {
        Profile::parse(self.text, self.name)
    }
}

impl Profile {
    /// Returns the built-in profile with this name.
    pub fn built_in(name: &str) -> Option<Self> {
        BuiltIn::find(name).and_then(|profile| profile.parse().ok())
    }
}

#[cfg(test)]
mod tests;
