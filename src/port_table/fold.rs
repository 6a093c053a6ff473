//! Adjacent ports with equal results, folded into ranges.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;

/// A range of adjacent ports with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<Key> {
    /// The first and the last port.
    pub ports: PortRange,
    /// The indices of the ports in the list.
    pub indices: Range<usize>,
    /// The key of each port in the range.
    pub key: Key,
}

/// A range of ports. It displays as `22` or `8000-8999`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl Display for PortRange {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// Folds ports in ascending order. `key` returns the key of the port with this index.
pub fn fold<Key: PartialEq>(ports: impl IntoIterator<Item = u16>, key: impl Fn(usize) -> Key) -> Vec<Row<Key>> {
    let mut rows: Vec<Row<Key>> = Vec::new();
    for (index, port) in ports.into_iter().enumerate() {
        let key = key(index);
        match rows.last_mut() {
            Some(row) if row.ports.last.checked_add(1) == Some(port) && row.key == key => {
                row.ports.last = port;
                row.indices.end = index + 1;
            }
            _ => rows.push(Row { ports: PortRange { first: port, last: port }, indices: index..index + 1, key }),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the rows as text, for ports with their keys.
    fn folded(ports: &[(u16, char)]) -> String {
        let rows = fold(ports.iter().map(|(port, _)| *port), |index| ports[index].1);
        assert_eq!(rows.iter().map(|row| row.indices.len()).sum::<usize>(), ports.len());
        rows.iter().map(|row| format!("{} {}", row.ports, row.key)).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn only_adjacent_ports_with_equal_keys_are_folded() {
        assert_eq!(folded(&[]), "");
        assert_eq!(folded(&[(22, 'a')]), "22 a");
        assert_eq!(folded(&[(1, 'a'), (2, 'a'), (3, 'b'), (4, 'a')]), "1-2 a, 3 b, 4 a");
        assert_eq!(folded(&[(22, 'a'), (80, 'a'), (81, 'a')]), "22 a, 80-81 a");
        assert_eq!(folded(&[(65_534, 'a'), (65_535, 'a')]), "65534-65535 a");
    }
}
