//! The table of a profile's services, with the ports that they would answer on.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::table;
use crate::config::{PortList, PortSelection, Profile};

/// The maximum number of services in the text.
const LISTED: usize = 32;

/// The maximum number of ports and ranges of a service in the text.
const RANGES: usize = 12;

/// The maximum width of the names in the text, in columns.
const NAME_WIDTH: usize = 24;

/// The services of a profile.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ServiceTable(Vec<ServiceRow>);

/// A service, with the ports that it would answer on.
#[derive(Debug, Serialize)]
struct ServiceRow {
    /// The name, if it has one.
    name: Option<String>,
    /// The ports of the service that are selected.
    ports: PortList,
}

impl ServiceTable {
    /// Lists the services of `profile` with their ports in `selection`. `key` selects the random ports.
    pub fn new(profile: &Profile, key: &[u8; 16], selection: &PortSelection) -> Self {
        let rows = profile.services().iter();
        let mut rows: Vec<ServiceRow> =
            rows.map(|service| ServiceRow { name: service.name.clone(), ports: PortList::default() }).collect();
        for (port, index) in profile.ports(key).into_iter().filter(|&(port, _)| selection.contains(port)) {
            if let Some(row) = rows.get_mut(index) {
                row.ports.0.insert(port);
            }
        }
        Self(rows)
    }
}

impl Display for ServiceTable {
    /// Writes a heading and a row for each of the first services.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "services:")?;
        let listed = self.0.get(..LISTED).unwrap_or(&self.0);
        let labels: Vec<String> = listed.iter().map(ServiceRow::label).collect();
        let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        for (row, label) in listed.iter().zip(&labels) {
            table::write_wide_row(f, label, width, &row.ranges())?;
        }
        match self.0.len() - listed.len() {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}

impl ServiceRow {
    /// Returns the name in one line of limited width.
    fn label(&self) -> String {
        let name = self.name.as_deref().unwrap_or("-").escape_debug().to_string();
        if name.chars().count() <= NAME_WIDTH {
            return name;
        }
        name.chars().take(NAME_WIDTH - 1).chain(['…']).collect()
    }

    /// Returns the first ports and ranges, and how many ports there are if these are not all.
    fn ranges(&self) -> Vec<String> {
        let ports = self.ports.to_string();
        let ranges: Vec<String> = ports.split(',').map(str::to_owned).collect();
        match ranges.get(..RANGES) {
            _ if ports.is_empty() => vec!["none".to_owned()],
            Some(first) if ranges.len() > RANGES => {
                let total = format!("… ({} ports)", self.ports.0.len());
                first.iter().cloned().chain([total]).collect()
            }
            _ => ranges,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(profile: &str, only: Option<&str>) -> ServiceTable {
        let only = only.map(|only| only.parse().unwrap());
        let selection = PortSelection::new(only, "81".parse().unwrap()).unwrap();
        ServiceTable::new(&Profile::parse(profile, "test").unwrap(), &[7; 16], &selection)
    }

    fn service(name: &str, ports: &str) -> String {
        format!("[[service]]\n{name}\nports = \"{ports}\"\nbanner = \"{ports}\"\n")
    }

    #[test]
    fn lists_the_ports_of_each_service() {
        let profile = [
            service("name = \"web\"", "80-82,8000-8010,443"),
            service("name = \"ssh server\"", "22"),
            service("", "23"),
        ];
        let profile = profile.concat();
        assert_eq!(
            table(&profile, None).to_string(),
            "services:\n  web        80, 82, 443, 8000-8010\n  ssh server 22\n  -          23\n"
        );
        let table = table(&profile, Some("23,82"));
        assert_eq!(table.to_string(), "services:\n  web        82\n  ssh server none\n  -          23\n");
        assert_eq!(
            serde_json::to_value(&table).unwrap(),
            serde_json::json!([
                { "name": "web", "ports": "82" },
                { "name": "ssh server", "ports": "" },
                { "name": null, "ports": "23" },
            ])
        );
    }

    #[test]
    fn each_random_port_has_one_service() {
        let profile = [service("", "random:100"), service("", "share:1%"), service("", "others")].concat();
        let ServiceTable(rows) = table(&profile, None);
        assert_eq!(rows.iter().map(|row| row.ports.0.len()).collect::<Vec<_>>(), [100, 655, 65536 - 1 - 755]);
    }

    #[test]
    fn long_lists_and_names_are_cut() {
        let ports: Vec<String> = (0..40).map(|number| (number * 2).to_string()).collect();
        let name = format!("name = \"{}\\n\"", "x".repeat(30));
        let text = table(&service(&name, &ports.join(",")), None).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with(&format!("  {}… 0, 2, 4, ", "x".repeat(23))), "{text}");
        assert!(text.ends_with(" … (40 ports)\n"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        let many: String = (1..=100).map(|port| service("", &port.to_string())).collect();
        let text = table(&many, None).to_string();
        assert_eq!((text.lines().count(), text.lines().last()), (1 + LISTED + 1, Some("  and 68 more")));
    }
}
