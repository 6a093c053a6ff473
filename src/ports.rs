//! Lists of ports, as the user writes and reads them.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A set of ports, written like `22,8000-8999`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortList(pub BTreeSet<u16>);

impl PortList {
    /// What is in one of these lists.
    pub fn union(lists: &[Self]) -> Self {
        Self(lists.iter().flat_map(|list| &list.0).copied().collect())
    }

    /// Whether every port is in it.
    pub fn is_everything(&self) -> bool {
        self.0.len() == usize::from(u16::MAX) + 1
    }
}

impl FromStr for PortList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ports = BTreeSet::new();
        for item in text.split(',') {
            let item = item.trim();
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let range = port(first)?..=port(last)?;
            if range.is_empty() {
                return Err(format!("the range {item} runs backwards"));
            }
            ports.extend(range);
        }
        Ok(Self(ports))
    }
}

fn port(text: &str) -> Result<u16, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = is_number.then(|| text.parse().ok()).flatten();
    port.ok_or_else(|| format!("\"{text}\" is not a port from 0 to 65535; a list looks like 22,8000-8999"))
}

impl Serialize for PortList {
    /// As the user writes it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Display for PortList {
    /// Neighbours are joined to ranges.
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
