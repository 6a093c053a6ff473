//! A summary of the answered ports and clients, as text and as JSON.

use std::fmt::{self, Display, Formatter};

use ipnet::IpNet;
use serde::Serialize;

use super::Exclusions;
use super::scope::join_first;
use crate::config::{Config, IsnChoice, PortList, PostHandshake, Profile, ScopeConfig, System};
use crate::host::TcpSettings;

/// The ports and clients that are answered, and the actions after the handshake.
///
/// The text has a line for the ports, and an indented line for each setting that differs from the default.
#[derive(Clone, Debug, Serialize)]
pub struct AnswerSummary {
    /// The excluded ports.
    #[serde(rename = "excluded")]
    exclusions: Exclusions,
    /// The ports that the user selected with `--ports`. `None` if every port is selected.
    ports: Option<PortList>,
    /// The prefixes of the answered clients. Empty if every client is answered.
    sources: Vec<String>,
    /// The profile, if there is one.
    profile: Option<ProfileSummary>,
    /// The post-handshake action of each port. `None` with a profile, whose services take the place of all actions.
    #[serde(rename = "on_connect")]
    post_handshake: Option<PostHandshake>,
    /// Whether initial sequence numbers are keyed.
    #[serde(rename = "keyed")]
    is_keyed: bool,
    /// Whether all other TCP in the scope is dropped.
    takeover: bool,
    /// Whether replies have the settings of the host's kernel, and not those of a profile.
    #[serde(skip)]
    follows_host: bool,
    /// The settings that the text lists, one a line.
    #[serde(skip)]
    settings: Vec<String>,
}

/// The name of a profile, and the operating system that it imitates.
#[derive(Clone, Debug, Serialize)]
struct ProfileSummary {
    name: String,
    system: &'static str,
}

impl AnswerSummary {
    /// Summarizes `config`, and the ports that are currently excluded.
    pub fn new(config: &Config, exclusions: &Exclusions) -> Self {
        Self {
            sources: config.scope.sources.iter().map(IpNet::to_string).collect(),
            profile: config.profile.as_ref().map(ProfileSummary::new),
            post_handshake: config.profile.is_none().then(|| config.post_handshake.clone()),
            is_keyed: is_keyed(config),
            takeover: config.scope.takeover,
            follows_host: config.profile.as_ref().is_none_or(|profile| profile.system() == System::Host),
            settings: settings(config, exclusions),
            ports: exclusions.selected().cloned(),
            exclusions: exclusions.clone(),
        }
    }

    /// Adds a line if the kernel's settings, which replies imitate, differ from Linux's defaults or are unknown. Adds
    /// nothing if a profile has settings of its own.
    pub fn imitating(mut self, tcp_settings: Option<&TcpSettings>) -> Self {
        if !self.follows_host {
            return self;
        }
        let Some(tcp_settings) = tcp_settings else {
            self.settings.push("note: replies have Linux's defaults: /proc/sys/net cannot be read".to_owned());
            return self;
        };
        let differences = tcp_settings.differences();
        if !differences.is_empty() {
            self.settings.push(format!("replies follow this host's sysctls: {}", differences.join(", ")));
        }
        self
    }

    /// Returns the excluded ports. They display as the answered ports.
    pub fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    /// Returns the settings that differ from the default, such as `sources: 10.0.0.0/8`.
    pub fn settings(&self) -> &[String] {
        &self.settings
    }
}

impl ProfileSummary {
    fn new(profile: &Profile) -> Self {
        Self { name: profile.name().to_owned(), system: profile.system().name() }
    }
}

impl Display for AnswerSummary {
    /// Writes the text of the preflight check. Nothing is answered yet.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "would answer on {}", self.exclusions)?;
        self.settings.iter().try_for_each(|setting| write!(f, "\n  {setting}"))
    }
}

/// Returns a line for each setting that differs from the default.
fn settings(config: &Config, exclusions: &Exclusions) -> Vec<String> {
    let Config { scope, post_handshake, profile, .. } = config;
    let mut settings = Vec::new();
    if !scope.sources.is_empty() {
        settings.push(format!("sources: {}", join_first(&scope.sources)));
    }
    if let Some(profile) = profile {
        settings.push(format!("profile: {} (system: {})", profile.name(), profile.system()));
    }
    if !post_handshake.is_default() {
        settings.push(format!("on connect: {post_handshake}"));
        if let Some(parts) = post_handshake.without_effect(&exclusions.to_set()) {
            settings.push(format!("note: actions on excluded ports have no effect: {parts}"));
        }
    }
    if is_keyed(config) {
        let actions = post_handshake.keyed_actions().join(" and ");
        let reason = match profile {
            _ if config.syn_ack.isn.is_some() => String::new(),
            Some(_) => " (required by the profile)".to_owned(),
            None => format!(" (required by {actions})"),
        };
        settings.push(format!("sequence numbers: keyed{reason}"));
    }
    if scope.listener_grace != ScopeConfig::DEFAULT_GRACE && !scope.takeover {
        settings.push(format!("listener grace: {}", humantime::format_duration(scope.listener_grace)));
    }
    if scope.takeover {
        let sources = if scope.sources.is_empty() { "" } else { " from these sources" };
        let ports = if scope.ports.is_complete() { "" } else { " and ports" };
        settings.push(format!("takeover: all other TCP{sources} to these addresses{ports} is dropped"));
    }
    settings
}

/// Returns whether the initial sequence numbers are keyed: because the user chose so, or because a profile or an action
/// requires it.
fn is_keyed(config: &Config) -> bool {
    match config.syn_ack.isn {
        Some(choice) => choice == IsnChoice::Keyed,
        None => config.profile.is_some() || !config.post_handshake.keyed_actions().is_empty(),
    }
}
