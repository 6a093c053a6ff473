//! Lists of TCP ports, and the selection of ports that are answered.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{ConfigError, ValueError};

/// A set of ports, written as `22,8000-8999`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortList(pub BTreeSet<u16>);

impl PortList {
    /// Returns the ports that are in any of `lists`.
    pub fn union(lists: &[Self]) -> Self {
        Self(lists.iter().flat_map(|list| &list.0).copied().collect())
    }

    /// Returns whether the list holds all 65,536 ports.
    pub fn is_complete(&self) -> bool {
        self.0.len() == usize::from(u16::MAX) + 1
    }
}

/// The ports that are answered, as configured. The ports of local listeners are excluded at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSelection {
    /// The only ports that are answered. `None` selects all ports.
    only: Option<PortList>,
    /// The ports that are never answered.
    excluded: PortList,
}

impl PortSelection {
    /// Selects the ports in `only`, or all ports if it is `None`, except the ports in `excluded`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoPortsLeft`] if the selection is empty.
    pub fn new(only: Option<PortList>, excluded: PortList) -> Result<Self, ConfigError> {
        let is_empty = match &only {
            Some(only) => only.0.is_subset(&excluded.0),
            None => excluded.is_complete(),
        };
        if is_empty { Err(ConfigError::NoPortsLeft) } else { Ok(Self { only, excluded }) }
    }

    /// Returns the only ports that are answered, or `None` for all ports.
    pub fn only(&self) -> Option<&PortList> {
        self.only.as_ref()
    }

    /// Returns the ports that are never answered.
    pub fn excluded(&self) -> &PortList {
        &self.excluded
    }

    /// Returns whether `port` is selected.
    pub fn contains(&self, port: u16) -> bool {
        self.only.as_ref().is_none_or(|only| only.0.contains(&port)) && !self.excluded.0.contains(&port)
    }

    /// Returns whether every port is selected.
    pub fn is_complete(&self) -> bool {
        self.only.is_none() && self.excluded.0.is_empty()
    }
}

impl FromStr for PortList {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut ports = BTreeSet::new();
        for item in text.split(',') {
            let (first, last) = range(item.trim())?;
            if first > last {
                return Err(ValueError::new(format!("the range {item} is reversed: write {last}-{first}")));
            }
            ports.extend(first..=last);
        }
        Ok(Self(ports))
    }
}

/// Parses a port or a range of ports, and returns the first and the last port.
///
/// # Errors
///
/// The error names the malformed part: a port, or all of `item` if it is not two ports.
fn range(item: &str) -> Result<(u16, u16), ValueError> {
    let error = |reason: String| ValueError::new(reason).with_examples("a list looks like 22,8000-8999");
    if item.is_empty() {
        return Err(error("empty entry in the port list".to_owned()));
    }
    let parts = item.split_once('-').filter(|(first, last)| !first.is_empty() && !last.is_empty());
    let (first, last) = parts.filter(|(_, last)| !last.contains('-')).unwrap_or((item, item));
    // `u16::from_str` also accepts a plus sign, so the digits are checked first.
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let port = |text| number(text).ok_or_else(|| error(format!("\"{text}\" is not a port from 0 to 65535")));
    Ok((port(first)?, port(last)?))
}

impl Serialize for PortList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Display for PortList {
    /// Writes the list in the syntax of the command line. Consecutive ports are written as a range.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut ports = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = ports.next() {
            let mut last = first;
            while let Some(next) = ports.next_if(|&next| last.checked_add(1) == Some(next)) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}
