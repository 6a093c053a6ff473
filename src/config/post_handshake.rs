//! Post-handshake actions: how connections behave after the handshake, for each port.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use tcp_bounce_wire::{Action, ActionByPort, ActionSet, PortSet};
use zerocopy::FromZeros as _;

use super::{ConfigError, PortList, ValueError};

/// An action and its ports, as in `echo:7`. Without ports, as in `close`, it applies to all ports that no choice names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionChoice {
    action: Action,
    ports: Option<PortList>,
}

impl FromStr for ActionChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (word, ports) = match text.split_once(':') {
            Some((word, ports)) => (word, Some(ports.parse()?)),
            None => (text, None),
        };
        let action = Action::ALL.into_iter().find(|&action| name(action) == word).ok_or_else(|| {
            let names = Action::ALL.map(name).join(", ");
            ValueError::new(format!("\"{word}\" is not one of {names}"))
                .with_examples("an action with ports looks like echo:7,8000-8999")
        })?;
        Ok(Self { action, ports })
    }
}

/// The post-handshake action of every port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostHandshake {
    /// The actions that have a list of ports, each with its list. No port is in two lists.
    named: Vec<(Action, PortList)>,
    /// The action of all ports that `named` does not contain.
    others: Action,
}

impl Default for PostHandshake {
    /// Returns [`Action::Ignore`] for every port.
    fn default() -> Self {
        Self { named: Vec::new(), others: Action::Ignore }
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
        let mut named: Vec<(Action, PortList)> = Vec::new();
        let mut others = None;
        for ActionChoice { action, ports } in choices {
            let Some(ports) = ports else {
                match others.replace(*action) {
                    Some(other) if other != *action => return Err(conflict(None, other, *action)),
                    _ => continue,
                }
            };
            for (other, taken) in named.iter().filter(|(other, _)| other != action) {
                if let Some(&port) = taken.0.intersection(&ports.0).next() {
                    return Err(conflict(Some(port), *other, *action));
                }
            }
            match named.iter_mut().find(|(other, _)| other == action) {
                Some((_, own)) => own.0.extend(&ports.0),
                None => named.push((*action, ports.clone())),
            }
        }
        Ok(Self { named, others: others.unwrap_or(Action::Ignore) })
    }

    /// Returns the action of `port`.
    pub fn action_of(&self, port: u16) -> Action {
        self.named.iter().find(|(_, ports)| ports.0.contains(&port)).map_or(self.others, |&(action, _)| action)
    }

    /// Returns the set of actions in use.
    pub fn actions(&self) -> ActionSet {
        self.named.iter().fold(ActionSet::only(self.others), |actions, &(action, _)| actions.with(action))
    }

    /// Returns the names of the actions in use that need a keyed ISN, in the order of [`Action::ALL`].
    pub fn keyed_actions(&self) -> Vec<&'static str> {
        self.actions_that(Action::follows_client)
    }

    /// Returns the names of the actions in use that acknowledge a segment's data without sending data, in the order of
    /// [`Action::ALL`].
    pub fn acknowledging_actions(&self) -> Vec<&'static str> {
        self.actions_that(|action| matches!(action, Action::Close | Action::Discard))
    }

    fn actions_that(&self, has_property: impl Fn(Action) -> bool) -> Vec<&'static str> {
        let actions = self.actions();
        Action::ALL.into_iter().filter(|&action| has_property(action) && actions.contains(action)).map(name).collect()
    }

    /// Builds the table that the program reads: the action of each port.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfMemory`] if the table of 64 KiB cannot be allocated.
    pub fn table(&self) -> Result<Box<ActionByPort>, ConfigError> {
        let mut table = ActionByPort::new_box_zeroed().map_err(|_| ConfigError::OutOfMemory)?;
        (0..=u16::MAX).for_each(|port| table.set(port, self.others));
        for (action, ports) in &self.named {
            ports.0.iter().for_each(|&port| table.set(port, *action));
        }
        Ok(table)
    }

    /// Lists the actions that name ports in `excluded`, with these ports, as in `tarpit on 22, discard on 9`. An action
    /// has no effect on an excluded port. Returns `None` if no named port is excluded.
    pub fn without_effect(&self, excluded: &PortSet) -> Option<String> {
        let affected =
            |ports: &PortList| PortList(ports.0.iter().copied().filter(|&port| excluded.contains(port)).collect());
        let named = self.named.iter().map(|(action, ports)| (*action, affected(ports)));
        let parts: Vec<String> =
            named.filter(|(_, ports)| !ports.0.is_empty()).map(|(action, ports)| on_ports(action, &ports)).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Returns whether every port has [`Action::Ignore`], the default.
    pub fn is_default(&self) -> bool {
        self.actions() == ActionSet::only(Action::Ignore)
    }
}

fn conflict(port: Option<u16>, first: Action, second: Action) -> ConfigError {
    ConfigError::ConflictingActions { port, actions: [first, second].map(name) }
}

fn on_ports(action: Action, ports: &PortList) -> String {
    format!("{} on {ports}", name(action))
}

impl Display for PostHandshake {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut parts: Vec<String> = self.named.iter().map(|(action, ports)| on_ports(*action, ports)).collect();
        let covers_all_ports = self.named.iter().map(|(_, ports)| ports.0.len()).sum::<usize>() == 1 << u16::BITS;
        if !covers_all_ports {
            parts.push(format!("{}{}", name(self.others), if parts.is_empty() { "" } else { " on the others" }));
        }
        f.write_str(&parts.join(", "))
    }
}

impl Serialize for PostHandshake {
    /// Writes a list such as `["echo:7", "close"]`. The last item is the action of all ports that the other items do
    /// not name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = self.named.iter().map(|(action, ports)| format!("{}:{ports}", name(*action)));
        serializer.collect_seq(named.chain([name(self.others).to_owned()]))
    }
}

/// Returns the name of `action`, as the user writes it.
fn name(action: Action) -> &'static str {
    match action {
        Action::Ignore => "ignore",
        Action::Reset => "reset",
        Action::Close => "close",
        Action::Discard => "discard",
        Action::Echo => "echo",
        Action::Tarpit => "tarpit",
        Action::Serve => "serve",
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
