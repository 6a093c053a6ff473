//! The list of the built-in profiles.

use crate::config::BuiltIn;

/// The headings of the columns.
const HEADINGS: [&str; 4] = ["NAME", "SYSTEM", "PORTS", "LOOKS LIKE"];

/// Returns a table of the built-in profiles: name, operating system, ports and what the host looks like.
pub fn table() -> String {
    let rows: Vec<[String; 4]> = BuiltIn::ALL.iter().filter_map(row).collect();
    let rows: Vec<[String; 4]> = [HEADINGS.map(str::to_owned)].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let [name_width, system_width, ports_width] = [0, 1, 2].map(width);
    let line = |[name, system, ports, description]: &[String; 4]| {
        format!("{name:name_width$}  {system:system_width$}  {ports:ports_width$}  {description}\n")
    };
    rows.iter().map(line).collect()
}

fn row(built_in: &BuiltIn) -> Option<[String; 4]> {
    let profile = built_in.parse().ok()?;
    let description = built_in.description().to_owned();
    Some([built_in.name.to_owned(), profile.system().to_string(), profile.port_summary(), description])
}
