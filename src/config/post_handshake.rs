//! Post-handshake actions: how connections behave after the handshake, for each port.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use tcp_bounce_wire::{Action, ActionByPort, ActionSet, PortSet};
use zerocopy::FromZeros as _;

use super::{ConfigError, PortList, ValueError};

/// The behaviour of a port after the handshake, as the user selects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// An action of the program.
    Action(Action),
    /// [`Action::Serve`], with a payload that identifies the connection.
    Identify(IdentityFormat),
}

/// The format of the payload that identifies a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityFormat {
    /// A line of text.
    Text,
    /// An object in JSON.
    Json,
}

impl Behaviour {
    /// Returns all behaviours: the actions in the order of [`Action::ALL`], and the formats of `identify`.
    fn all() -> impl Iterator<Item = Self> {
        let formats = [IdentityFormat::Text, IdentityFormat::Json].map(Self::Identify);
        Action::ALL.into_iter().map(Self::Action).chain(formats)
    }

    /// Returns the action of the program.
    fn action(self) -> Action {
        match self {
            Self::Action(action) => action,
            Self::Identify(_) => Action::Serve,
        }
    }

    /// Returns the name of the behaviour, as the user writes it.
    fn name(self) -> &'static str {
        match self {
            Self::Action(Action::Ignore) => "ignore",
            Self::Action(Action::Reset) => "reset",
            Self::Action(Action::Close) => "close",
            Self::Action(Action::Discard) => "discard",
            Self::Action(Action::Echo) => "echo",
            Self::Action(Action::Tarpit) => "tarpit",
            Self::Action(Action::Serve) => "serve",
            Self::Identify(IdentityFormat::Text) => "identify",
            Self::Identify(IdentityFormat::Json) => "identify=json",
        }
    }
}

/// An action and its ports, as in `echo:7`. Without ports, as in `close`, it applies to all ports that no choice names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionChoice {
    behaviour: Behaviour,
    ports: Option<PortList>,
}

impl FromStr for ActionChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (word, ports) = match text.split_once(':') {
            Some((word, ports)) => (word, Some(ports.parse()?)),
            None => (text, None),
        };
        let behaviour = Behaviour::all().find(|behaviour| behaviour.name() == word).ok_or_else(|| {
            let names = Behaviour::all().map(Behaviour::name).collect::<Vec<_>>().join(", ");
            ValueError::new(format!("\"{word}\" is not one of {names}"))
                .with_examples("an action with ports looks like echo:7,8000-8999")
        })?;
        Ok(Self { behaviour, ports })
    }
}

/// The post-handshake action of every port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostHandshake {
    /// The actions that have a list of ports, each with its list. No port is in two lists.
    named: Vec<(Behaviour, PortList)>,
    /// The action of all ports that `named` does not contain.
    others: Behaviour,
}

impl Default for PostHandshake {
    /// Returns [`Action::Ignore`] for every port.
    fn default() -> Self {
        Self { named: Vec::new(), others: Behaviour::Action(Action::Ignore) }
    }
}

impl PostHandshake {
    /// Combines `choices`. Ports that no choice covers get [`Action::Ignore`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::ConflictingActions`] if `choices` give two different actions to one port, or to all ports that
    /// they do not name.
    pub fn new(choices: &[ActionChoice]) -> Result<Self, ConfigError> {
        let mut named: Vec<(Behaviour, PortList)> = Vec::new();
        let mut others = None;
        for ActionChoice { behaviour, ports } in choices {
            let Some(ports) = ports else {
                match others.replace(*behaviour) {
                    Some(other) if other != *behaviour => return Err(conflict(None, other, *behaviour)),
                    _ => continue,
                }
            };
            for (other, taken) in named.iter().filter(|(other, _)| other != behaviour) {
                if let Some(&port) = taken.0.intersection(&ports.0).next() {
                    return Err(conflict(Some(port), *other, *behaviour));
                }
            }
            match named.iter_mut().find(|(other, _)| other == behaviour) {
                Some((_, own)) => own.0.extend(&ports.0),
                None => named.push((*behaviour, ports.clone())),
            }
        }
        Ok(Self { named, others: others.unwrap_or(Behaviour::Action(Action::Ignore)) })
    }

    /// Returns the action of `port`.
    pub fn action_of(&self, port: u16) -> Action {
        self.behaviour_of(port).action()
    }

    /// Returns the format in which connections to `port` are identified, or `None` if it has another action.
    pub fn identity_of(&self, port: u16) -> Option<IdentityFormat> {
        match self.behaviour_of(port) {
            Behaviour::Identify(format) => Some(format),
            Behaviour::Action(_) => None,
        }
    }

    /// Returns whether connections to any port are identified.
    pub fn identifies(&self) -> bool {
        self.actions().contains(Action::Serve)
    }

    fn behaviour_of(&self, port: u16) -> Behaviour {
        let named = self.named.iter().find(|(_, ports)| ports.0.contains(&port));
        named.map_or(self.others, |&(behaviour, _)| behaviour)
    }

    /// Returns the set of actions in use.
    pub fn actions(&self) -> ActionSet {
        self.behaviours().fold(ActionSet::only(self.others.action()), |actions, own| actions.with(own.action()))
    }

    /// Returns the names of the actions in use that need a keyed ISN, in the order of the help.
    pub fn keyed_actions(&self) -> Vec<&'static str> {
        self.names_of(|action| action == Action::Serve || action.follows_client())
    }

    /// Returns the names of the actions in use that acknowledge a segment's data without sending data, in the order of
    /// the help.
    pub fn acknowledging_actions(&self) -> Vec<&'static str> {
        self.names_of(|action| matches!(action, Action::Close | Action::Discard))
    }

    /// Returns the names of the behaviours in use whose action has a property, in the order of the help.
    fn names_of(&self, has_property: impl Fn(Action) -> bool) -> Vec<&'static str> {
        let is_used = |behaviour| self.behaviours().any(|own| own == behaviour);
        Behaviour::all().filter(|&own| has_property(own.action()) && is_used(own)).map(Behaviour::name).collect()
    }

    /// Returns the behaviours in use.
    fn behaviours(&self) -> impl Iterator<Item = Behaviour> {
        self.named.iter().map(|&(behaviour, _)| behaviour).chain([self.others])
    }

    /// Builds the table that the program reads: the action of each port.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfMemory`] if the table of 64 KiB cannot be allocated.
    pub fn table(&self) -> Result<Box<ActionByPort>, ConfigError> {
        let mut table = ActionByPort::new_box_zeroed().map_err(|_| ConfigError::OutOfMemory)?;
        (0..=u16::MAX).for_each(|port| table.set(port, self.others.action()));
        for (behaviour, ports) in &self.named {
            ports.0.iter().for_each(|&port| table.set(port, behaviour.action()));
        }
        Ok(table)
    }

    /// Lists the actions that name ports in `excluded`, with these ports, as in `tarpit on 22, discard on 9`. An action
    /// has no effect on an excluded port. Returns `None` if no named port is excluded.
    pub fn without_effect(&self, excluded: &PortSet) -> Option<String> {
        let affected =
            |ports: &PortList| PortList(ports.0.iter().copied().filter(|&port| excluded.contains(port)).collect());
        let named = self.named.iter().map(|(behaviour, ports)| (*behaviour, affected(ports)));
        let parts: Vec<String> = named
            .filter(|(_, ports)| !ports.0.is_empty())
            .map(|(behaviour, ports)| on_ports(behaviour, &ports))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Returns whether every port has [`Action::Ignore`], the default.
    pub fn is_default(&self) -> bool {
        self.actions() == ActionSet::only(Action::Ignore)
    }
}

fn conflict(port: Option<u16>, first: Behaviour, second: Behaviour) -> ConfigError {
    ConfigError::ConflictingActions { port, actions: [first, second].map(Behaviour::name) }
}

fn on_ports(behaviour: Behaviour, ports: &PortList) -> String {
    format!("{} on {ports}", behaviour.name())
}

impl Display for PostHandshake {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut parts: Vec<String> = self.named.iter().map(|(behaviour, ports)| on_ports(*behaviour, ports)).collect();
        let covers_all_ports = self.named.iter().map(|(_, ports)| ports.0.len()).sum::<usize>() == 1 << u16::BITS;
        if !covers_all_ports {
            parts.push(format!("{}{}", self.others.name(), if parts.is_empty() { "" } else { " on the others" }));
        }
        f.write_str(&parts.join(", "))
    }
}

impl Serialize for PostHandshake {
    /// Writes a list such as `["echo:7", "close"]`. The last item is the action of all ports that the other items do
    /// not name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = self.named.iter().map(|(behaviour, ports)| format!("{}:{ports}", behaviour.name()));
        serializer.collect_seq(named.chain([self.others.name().to_owned()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(choices: &[&str]) -> Result<PostHandshake, ConfigError> {
        let choices: Vec<_> = choices.iter().map(|choice| choice.parse().unwrap()).collect();
        PostHandshake::new(&choices)
    }

    #[test]
    fn gives_each_port_its_named_action_and_the_rest_the_default() {
        let post_handshake = parse(&["discard:9", "echo:7", "close", "tarpit:22-23", "discard:9,10"]).unwrap();
        assert_eq!(post_handshake.to_string(), "discard on 9-10, echo on 7, tarpit on 22-23, close on the others");
        assert_eq!(post_handshake.keyed_actions(), ["echo", "tarpit"]);
        assert!(!post_handshake.actions().contains(Action::Ignore) && post_handshake.actions().contains(Action::Close));
        let actions = Action::ALL.into_iter().fold(ActionSet::only(Action::Ignore), ActionSet::with);
        let table = post_handshake.table().unwrap();
        for (port, action) in [
            (9, Action::Discard),
            (10, Action::Discard),
            (7, Action::Echo),
            (22, Action::Tarpit),
            (24, Action::Close),
            (0, Action::Close),
            (65535, Action::Close),
        ] {
            assert_eq!(actions.of_port(&table, port), ActionSet::only(action), "{port}");
        }
    }

    #[test]
    fn identify_serves_its_ports_in_each_format() {
        let post_handshake = parse(&["identify:80-81", "identify=json:8080", "close"]).unwrap();
        assert_eq!(post_handshake.to_string(), "identify on 80-81, identify=json on 8080, close on the others");
        assert_eq!(post_handshake.keyed_actions(), ["identify", "identify=json"]);
        assert_eq!(post_handshake.acknowledging_actions(), ["close"]);
        let formats = [79, 80, 8080].map(|port| post_handshake.identity_of(port));
        assert_eq!(formats, [None, Some(IdentityFormat::Text), Some(IdentityFormat::Json)]);
        assert_eq!(
            [79, 80, 8080].map(|port| post_handshake.action_of(port)),
            [Action::Close, Action::Serve, Action::Serve]
        );
        assert!(post_handshake.identifies() && !parse(&["close", "echo:7"]).unwrap().identifies());
        let json = serde_json::to_string(&parse(&["identify=json", "echo:7"]).unwrap()).unwrap();
        assert_eq!(json, r#"["echo:7","identify=json"]"#);
        assert!(matches!(
            parse(&["identify:80", "identify=json:80"]),
            Err(ConfigError::ConflictingActions { port: Some(80), actions: ["identify", "identify=json"] })
        ));
        for unknown in ["identify=xml", "serve", "identify=", "identify=json=json"] {
            assert!(unknown.parse::<ActionChoice>().is_err(), "{unknown}");
        }
    }

    #[test]
    fn lists_actions_without_effect_on_excluded_ports() {
        let post_handshake = parse(&["tarpit:22-23", "discard:9", "close"]).unwrap();
        let mut excluded = PortSet::new();
        assert_eq!(post_handshake.without_effect(&excluded), None);
        excluded.insert(80);
        assert_eq!(post_handshake.without_effect(&excluded), None);
        [9, 22].into_iter().for_each(|port| excluded.insert(port));
        assert_eq!(post_handshake.without_effect(&excluded).unwrap(), "tarpit on 22, discard on 9");
    }

    #[test]
    fn ignores_later_segments_by_default() {
        let post_handshake = parse(&[]).unwrap();
        assert_eq!(
            (post_handshake.to_string().as_str(), post_handshake.actions()),
            ("ignore", ActionSet::only(Action::Ignore))
        );
        assert!(post_handshake.is_default());
    }

    #[test]
    fn omits_the_rest_if_every_port_is_named() {
        assert_eq!(parse(&["echo:0-99", "close:100-65535"]).unwrap().to_string(), "echo on 0-99, close on 100-65535");
    }

    #[test]
    fn rejects_two_actions_for_one_port() {
        assert!(matches!(
            parse(&["echo:7-9", "discard:9"]),
            Err(ConfigError::ConflictingActions { port: Some(9), .. })
        ));
        assert!(matches!(parse(&["close", "reset"]), Err(ConfigError::ConflictingActions { port: None, .. })));
        assert!(parse(&["close", "close", "close:7"]).is_ok());
    }
}
