//! The rules for the ports of a profile: no port has two services, and no more ports are selected than there are.

use std::collections::BTreeMap;

use crate::config::port_pattern;

use super::{ProfileError, ServicePorts};

/// Checks the ports of all services, each with its line.
pub fn check<'a>(services: impl Iterator<Item = (&'a ServicePorts, usize)> + Clone) -> Result<(), ProfileError> {
    let mut lines = BTreeMap::new();
    let mut others = None;
    for (ports, line) in services.clone() {
        match ports {
            ServicePorts::Others => {
                if let Some(other) = others.replace(line) {
                    return Err(ProfileError::OthersTwice { line, other });
                }
            }
            ServicePorts::Pattern(pattern) => {
                for &port in &pattern.listed().0 {
                    if let Some(other) = lines.insert(port, line) {
                        return Err(ProfileError::PortTwice { line, port, other });
                    }
                }
            }
        }
    }
    let mut left = port_pattern::left(lines.keys());
    for (ports, line) in services {
        if let ServicePorts::Pattern(pattern) = ports {
            let selected = pattern.selected();
            left = left.checked_sub(selected).ok_or(ProfileError::TooManySelectedPorts { line, selected, left })?;
        }
    }
    Ok(())
}
