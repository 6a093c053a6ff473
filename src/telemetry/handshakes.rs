//! Whether completed handshakes are counted, which depends on the post-handshake actions.

use tcp_bounce_wire::Action;

use crate::config::Config;

/// The ports at which completed handshakes are counted.
///
/// Echo does not count them: it cannot tell the last ACK of a handshake from later ACKs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountedHandshakes {
    /// Every selected port.
    #[default]
    All,
    /// The selected ports with an action other than echo.
    ExceptEcho,
    /// No port, because every selected port has the action echo.
    None,
}

impl CountedHandshakes {
    /// Returns the ports at which `config` counts completed handshakes.
    ///
    /// The selected ports are those of the configuration. Local listeners, which may change, have no influence.
    pub fn of(config: &Config) -> Self {
        if !config.post_handshake.actions().contains(Action::Echo) {
            return Self::All;
        }
        let selected = || (0..=u16::MAX).filter(|&port| config.scope.ports.contains(port));
        let is_echo = |port| config.post_handshake.action_of(port) == Action::Echo;
        match (selected().any(is_echo), selected().all(is_echo)) {
            (false, _) => Self::All,
            (true, false) => Self::ExceptEcho,
            (true, true) => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PortList, PortSelection, PostHandshake};

    #[test]
    fn depend_on_the_actions_of_the_selected_ports() {
        for (actions, only, excluded, expected) in [
            ("close", None, "", CountedHandshakes::All),
            ("echo", None, "", CountedHandshakes::None),
            ("echo:7", None, "", CountedHandshakes::ExceptEcho),
            ("echo:7", Some("7"), "", CountedHandshakes::None),
            ("echo:7", Some("80"), "", CountedHandshakes::All),
            ("echo:7", None, "7", CountedHandshakes::All),
        ] {
            let mut config = Config::new(["eth0"]);
            config.post_handshake = PostHandshake::new(&[actions.parse().unwrap()]).unwrap();
            let list = |text: &str| if text.is_empty() { PortList::default() } else { text.parse().unwrap() };
            config.scope.ports = PortSelection::new(only.map(list), list(excluded)).unwrap();
            assert_eq!(CountedHandshakes::of(&config), expected, "{actions} {only:?} {excluded}");
        }
    }
}
