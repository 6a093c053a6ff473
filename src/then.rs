//! What becomes of connections after the handshake, as the user wants it.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use tcp_bounce_wire::{Action, ActionByPort, ActionSet, PortSet};
use zerocopy::FromZeros as _;

use crate::error::Error;
use crate::ports::PortList;

/// A mode, and the ports that have it: `echo:7`, or `close` for all that have no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThenChoice {
    then: Action,
    ports: Option<PortList>,
}

impl FromStr for ThenChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, ports) = match text.split_once(':') {
            Some((word, ports)) => (word, Some(ports.parse()?)),
            None => (text, None),
        };
        let then = Action::ALL.into_iter().find(|&then| name(then) == word).ok_or_else(|| {
            let names = names().join(", ");
            format!("\"{word}\" is none of {names}; with ports it looks like echo:7,8000-8999")
        })?;
        Ok(Self { then, ports })
    }
}

/// The mode of each port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The modes of some ports, which have no port in common.
    own: Vec<(Action, PortList)>,
    /// The mode of all others.
    others: Action,
}

impl Plan {
    /// What follows from all that the user says.
    pub fn new(choices: &[ThenChoice]) -> Result<Self, Error> {
        let mut plan = Self { own: Vec::new(), others: Action::Ignore };
        let mut others = None;
        for ThenChoice { then, ports } in choices {
            let Some(ports) = ports else {
                match others.replace(*then) {
                    Some(other) if other != *then => {
                        return Err(Error::TwoModes { port: None, modes: [other, *then].map(name) });
                    }
                    _ => continue,
                }
            };
            for (other, taken) in plan.own.iter().filter(|(other, _)| other != then) {
                if let Some(&port) = taken.0.intersection(&ports.0).next() {
                    return Err(Error::TwoModes { port: Some(port), modes: [*other, *then].map(name) });
                }
            }
            match plan.own.iter_mut().find(|(other, _)| other == then) {
                Some((_, own)) => own.0.extend(&ports.0),
                None => plan.own.push((*then, ports.clone())),
            }
        }
        plan.others = others.unwrap_or(Action::Ignore);
        Ok(plan)
    }

    /// The modes in use.
    pub fn modes(&self) -> ActionSet {
        self.own.iter().fold(ActionSet::only(self.others), |modes, &(then, _)| modes.with(then))
    }

    /// The names of those that must know the client's ISN.
    pub fn following(&self) -> Vec<&'static str> {
        Action::ALL.into_iter().filter(|&then| then.follows_client() && self.modes().contains(then)).map(name).collect()
    }

    /// The same for the program.
    pub fn by_port(&self) -> Result<Box<ActionByPort>, Error> {
        let mut by_port = ActionByPort::new_box_zeroed().map_err(|_| Error::OutOfMemory)?;
        (0..=u16::MAX).for_each(|port| by_port.set(port, self.others));
        for (then, ports) in &self.own {
            ports.0.iter().for_each(|&port| by_port.set(port, *then));
        }
        Ok(by_port)
    }

    /// What of it comes to nothing, in words, as these ports are not answered; `None`: nothing.
    pub fn without_effect(&self, spared: &PortSet) -> Option<String> {
        let spared =
            |ports: &PortList| PortList(ports.0.iter().copied().filter(|&port| spared.contains(port)).collect());
        let own = self.own.iter().map(|(then, ports)| (*then, spared(ports))).filter(|(_, ports)| !ports.0.is_empty());
        let parts: Vec<String> = own.map(|(then, ports)| format!("{} on {ports}", name(then))).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Whether it is anything else than [`Action::Ignore`] for all.
    pub fn says_something(&self) -> bool {
        self.modes() != ActionSet::only(Action::Ignore)
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut parts: Vec<String> =
            self.own.iter().map(|(then, ports)| format!("{} on {ports}", name(*then))).collect();
        let is_everything = self.own.iter().map(|(_, ports)| ports.0.len()).sum::<usize>() == 1 << u16::BITS;
        if !is_everything {
            parts.push(format!("{}{}", name(self.others), if parts.is_empty() { "" } else { " on the others" }));
        }
        f.write_str(&parts.join(", "))
    }
}

impl Serialize for Plan {
    /// As the user writes it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own = self.own.iter().map(|(then, ports)| format!("{}:{ports}", name(*then)));
        serializer.collect_seq(own.chain([name(self.others).to_owned()]))
    }
}

/// What the user calls the modes.
pub fn names() -> [&'static str; Action::ALL.len()] {
    Action::ALL.map(name)
}

/// What the user calls it.
fn name(then: Action) -> &'static str {
    match then {
        Action::Ignore => "drop",
        Action::Reset => "reset",
        Action::Close => "close",
        Action::Discard => "discard",
        Action::Echo => "echo",
        Action::Tarpit => "tarpit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(choices: &[&str]) -> Result<Plan, Error> {
        let choices: Vec<_> = choices.iter().map(|choice| choice.parse().expect("a choice")).collect();
        Plan::new(&choices)
    }

    #[test]
    fn ports_have_the_mode_that_names_them_and_the_others_that_which_names_none() {
        let plan = plan(&["discard:9", "echo:7", "close", "tarpit:22-23", "discard:9,10"]).unwrap();
        assert_eq!(plan.to_string(), "discard on 9-10, echo on 7, tarpit on 22-23, close on the others");
        assert_eq!(plan.following(), ["echo", "tarpit"]);
        assert!(!plan.modes().contains(Action::Ignore) && plan.modes().contains(Action::Close));
        let modes = Action::ALL.into_iter().fold(ActionSet::only(Action::Ignore), ActionSet::with);
        let by_port = plan.by_port().unwrap();
        for (port, then) in [
            (9, Action::Discard),
            (10, Action::Discard),
            (7, Action::Echo),
            (22, Action::Tarpit),
            (24, Action::Close),
            (0, Action::Close),
            (65535, Action::Close),
        ] {
            assert_eq!(modes.of_port(&by_port, port), ActionSet::only(then), "{port}");
        }
    }

    #[test]
    fn what_is_not_answered_comes_to_nothing() {
        let plan = plan(&["tarpit:22-23", "discard:9", "close"]).unwrap();
        let mut spared = PortSet::new();
        assert_eq!(plan.without_effect(&spared), None);
        spared.insert(80);
        assert_eq!(plan.without_effect(&spared), None);
        [9, 22].into_iter().for_each(|port| spared.insert(port));
        assert_eq!(plan.without_effect(&spared).unwrap(), "tarpit on 22, discard on 9");
    }

    #[test]
    fn without_a_word_all_is_dropped() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.to_string().as_str(), plan.modes()), ("drop", ActionSet::only(Action::Ignore)));
        assert!(!plan.says_something());
    }

    #[test]
    fn there_are_no_others_where_all_are_named() {
        assert_eq!(plan(&["echo:0-99", "close:100-65535"]).unwrap().to_string(), "echo on 0-99, close on 100-65535");
    }

    #[test]
    fn no_port_has_two_modes() {
        assert!(matches!(plan(&["echo:7-9", "discard:9"]), Err(Error::TwoModes { port: Some(9), .. })));
        assert!(matches!(plan(&["close", "reset"]), Err(Error::TwoModes { port: None, .. })));
        assert!(plan(&["close", "close", "close:7"]).is_ok());
    }
}
