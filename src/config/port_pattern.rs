//! Patterns of TCP ports: lists, and ports that a key selects.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use tcp_bounce_wire::siphash::SipHash13;

use super::{ConfigError, PortList, ValueError, parse_number};

/// The number of ports that `random:` and `share:` select from: all but port 0, on which no host listens.
const SELECTABLE: u32 = u16::MAX as u32;

/// The examples in the hint for a malformed pattern.
const EXAMPLES: &str = "a list looks like 22,8000-8999, random:20 or share:3%";

/// Ports that are listed, and a number of further ports that a key selects. Written as `22,8000-8999,random:20`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortPattern {
    listed: PortList,
    selected: u32,
}

impl PortPattern {
    /// Returns the pattern with the ports of all `patterns`.
    pub fn union(patterns: &[Self]) -> Self {
        let listed = patterns.iter().flat_map(|pattern| &pattern.listed.0).copied().collect();
        Self {
            listed: PortList(listed),
            selected: patterns.iter().fold(0, |sum, pattern| pattern.selected.saturating_add(sum)),
        }
    }

    /// Returns the listed ports.
    pub fn listed(&self) -> &PortList {
        &self.listed
    }

    /// Returns the number of ports that a key selects.
    pub fn selected(&self) -> u32 {
        self.selected
    }

    /// Returns the listed ports and the selected ports. The same key always selects the same ports, and none of
    /// `excluded`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::TooManySelectedPorts`] if fewer ports are left than the pattern selects.
    pub fn resolve(&self, key: &[u8; 16], excluded: &PortList) -> Result<PortList, ConfigError> {
        let left = left(self.listed.0.union(&excluded.0));
        if self.selected > left {
            return Err(ConfigError::TooManySelectedPorts { selected: self.selected, left });
        }
        let is_free = |port: &u16| !self.listed.0.contains(port) && !excluded.0.contains(port);
        let mut ports = self.listed.clone();
        if self.selected > 0 {
            ports.0.extend(ranking(key).into_iter().filter(is_free).take(self.selected as usize));
        }
        Ok(ports)
    }
}

/// Returns the number of ports that can be selected if `taken` cannot. No port may be in `taken` twice.
pub fn left<'a>(taken: impl Iterator<Item = &'a u16>) -> u32 {
    SELECTABLE - taken.filter(|&&port| port != 0).count() as u32
}

/// Returns the ports from 1 to 65535 in the order in which `key` selects them.
pub fn ranking(key: &[u8; 16]) -> Vec<u16> {
    // The input has 20 bytes. The keyed ISNs hash other lengths under this key, so they reveal nothing about the order.
    const INPUT: u8 = 20;
    let start = SipHash13::new(*key).block(*b"selected").block(*b"   ports");
    let mut ports: Vec<u16> = (1..=u16::MAX).collect();
    ports.sort_by_cached_key(|&port| start.finish(u32::from(port).to_be_bytes(), INPUT));
    ports
}

impl From<PortList> for PortPattern {
    fn from(listed: PortList) -> Self {
        Self { listed, selected: 0 }
    }
}

impl FromStr for PortPattern {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (mut listed, mut selected) = (BTreeSet::new(), 0u32);
        for item in text.split(',') {
            let item = item.trim();
            if let Some(text) = item.strip_prefix("random:") {
                let number = parse_number(text, &(1..=SELECTABLE));
                let number =
                    number.map_err(|error| invalid(&format!("\"{text}\" after random: is {}", error.reason())))?;
                selected = selected.saturating_add(number);
            } else if let Some(share) = item.strip_prefix("share:") {
                let number = count(share);
                let number = number.ok_or_else(|| {
                    invalid(&format!("\"{share}\" after share: is not a percentage from 0.01% to 100%"))
                })?;
                selected = selected.saturating_add(number);
            } else {
                listed.extend(item.parse::<PortList>().map_err(|error| error.with_examples(EXAMPLES))?.0);
            }
        }
        Ok(Self { listed: PortList(listed), selected })
    }
}

fn invalid(reason: &str) -> ValueError {
    ValueError::new(reason).with_examples(EXAMPLES)
}

/// Returns the number of ports in a share such as `3%` or `0.25%`, rounded, but at least one port.
fn count(text: &str) -> Option<u32> {
    let (whole, fraction) = text.strip_suffix('%').map(|text| text.split_once('.').unwrap_or((text, "0")))?;
    let is_number = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole, 3) || !is_number(fraction, 2) {
        return None;
    }
    let hundredths = whole.parse::<u32>().ok()? * 100 + format!("{fraction:0<2}").parse::<u32>().ok()?;
    (1..=10_000).contains(&hundredths).then(|| ((SELECTABLE * hundredths + 5_000) / 10_000).max(1))
}

impl Display for PortPattern {
    /// Writes the pattern in the syntax of the command line. A share is written as a number of ports.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let random = (self.selected > 0).then(|| format!("random:{}", self.selected));
        let listed = (!self.listed.0.is_empty()).then(|| self.listed.to_string());
        f.write_str(&listed.into_iter().chain(random).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests;
