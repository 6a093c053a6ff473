//! The rules for the ports of a profile: no port has two services, and no more ports are selected than there are.

use std::collections::BTreeMap;

use crate::config::port_pattern;

use super::{ProfileError, ServicePorts};

/// The ports of a service, for messages with its name and the line of its ports.
pub struct OwnPorts {
    pub name: Option<String>,
    pub ports: ServicePorts,
    pub line: usize,
}

/// Checks the ports of all services.
pub fn check(services: &[OwnPorts]) -> Result<(), ProfileError> {
    let mut owners: BTreeMap<u16, &OwnPorts> = BTreeMap::new();
    let mut others = None;
    for service in services {
        let line = service.line;
        match &service.ports {
            ServicePorts::Others => {
                if let Some(other) = others.replace(line) {
                    return Err(ProfileError::OthersTwice { line, other });
                }
            }
            ServicePorts::Pattern(pattern) => {
                for &port in &pattern.listed().0 {
                    if let Some(other) = owners.insert(port, service) {
                        let name = other.name.clone();
                        return Err(ProfileError::PortTwice { line, port, name, other: other.line });
                    }
                }
            }
        }
    }
    let mut left = port_pattern::left(owners.keys());
    for OwnPorts { ports, line, .. } in services {
        if let ServicePorts::Pattern(pattern) = ports {
            let (selected, line) = (pattern.selected(), *line);
            left = left.checked_sub(selected).ok_or(ProfileError::TooManySelectedPorts { line, selected, left })?;
        }
    }
    Ok(())
}
