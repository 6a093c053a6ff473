//! A summary of the answered ports and clients, as text and as JSON.

use std::fmt::{self, Display, Formatter};

use ipnet::IpNet;
use serde::Serialize;

use super::Exclusions;
use super::scope::join_first;
use crate::config::{Config, DestinationChoice, PortList, PostHandshake};

/// The ports and clients that are answered, and the actions after the handshake.
#[derive(Clone, Debug, Serialize)]
pub struct AnswerSummary {
    /// The excluded ports.
    #[serde(rename = "excluded")]
    exclusions: Exclusions,
    /// The ports that the user selected with `--ports`. `None` if every port is selected.
    ports: Option<PortList>,
    /// The prefixes of the answered clients. Empty if every client is answered.
    sources: Vec<String>,
    /// The post-handshake action of each port.
    #[serde(rename = "on_connect")]
    post_handshake: PostHandshake,
    #[serde(skip)]
    sentence: String,
}

impl AnswerSummary {
    /// Summarizes `config`, and the ports that are currently excluded.
    pub fn new(config: &Config, exclusions: &Exclusions) -> Self {
        Self {
            sources: config.scope.sources.iter().map(IpNet::to_string).collect(),
            post_handshake: config.post_handshake.clone(),
            sentence: sentence(config, exclusions),
            ports: exclusions.selected().cloned(),
            exclusions: exclusions.clone(),
        }
    }
}

impl Display for AnswerSummary {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

fn sentence(config: &Config, exclusions: &Exclusions) -> String {
    let Config { scope, post_handshake, .. } = config;
    let mut sentence = exclusions.to_string();
    if !scope.sources.is_empty() {
        sentence += &format!(", to clients in {}", join_first(&scope.sources));
    }
    if !post_handshake.is_default() {
        sentence += &format!("; then {post_handshake}");
        if let Some(parts) = post_handshake.without_effect(&exclusions.to_set()) {
            sentence += &format!(" (but not {parts}: not answered)");
        }
    }
    let keyed_actions = post_handshake.keyed_actions();
    if config.syn_ack.isn.is_none() && !keyed_actions.is_empty() {
        sentence += &format!("; sequence numbers are keyed, for {}", keyed_actions.join(" and "));
    }
    if scope.takeover {
        let is_total =
            scope.destinations == DestinationChoice::Any && scope.ports.is_complete() && scope.sources.is_empty();
        sentence += if is_total {
            "; all other TCP is dropped (--takeover)"
        } else {
            "; other TCP is dropped, but for what is left to the host (--takeover)"
        };
    }
    sentence
}
