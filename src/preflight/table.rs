//! The tables of facts and services in the text of `--check`.

use std::fmt::{self, Formatter};

/// The width of the text of `--check`, in columns. A longer item, such as a long name, may exceed it.
const WIDTH: usize = 80;

/// The column in which the values begin.
const VALUES: usize = 14;

/// The column in which the labels begin.
const LABELS: usize = 2;

/// Writes a row with `label` and the list `items`. Breaks the row at the items if it is too long. Omits an empty list.
pub fn write_row(f: &mut Formatter, label: &str, items: &[String]) -> fmt::Result {
    write_wide_row(f, label, VALUES - LABELS - 1, items)
}

/// Writes a row as [`write_row`] does, with labels of the width `label_width`.
pub fn write_wide_row(f: &mut Formatter, label: &str, label_width: usize, items: &[String]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    let values = LABELS + label_width + 1;
    write!(f, "{:LABELS$}{label:<label_width$} ", "")?;
    let mut column = values;
    for (index, item) in items.iter().enumerate() {
        let comma = if index + 1 < items.len() { "," } else { "" };
        let length = item.chars().count() + comma.len();
        if index > 0 && column + 1 + length > WIDTH {
            write!(f, "\n{:values$}", "")?;
            column = values;
        } else if index > 0 {
            f.write_str(" ")?;
            column += 1;
        }
        write!(f, "{item}{comma}")?;
        column += length;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use super::*;

    struct Row(&'static str, Vec<String>);

    impl Display for Row {
        fn fmt(&self, f: &mut Formatter) -> fmt::Result {
            write_row(f, self.0, &self.1)
        }
    }

    fn row(label: &'static str, items: &[&str]) -> String {
        Row(label, items.iter().map(|&item| item.to_owned()).collect()).to_string()
    }

    #[test]
    fn writes_a_label_and_the_items() {
        assert_eq!(row("driver", &["veth"]), "  driver      veth\n");
        assert_eq!(row("answers for", &["192.0.2.1", "2001:db8::1"]), "  answers for 192.0.2.1, 2001:db8::1\n");
        assert_eq!(row("VLANs", &[]), "");
    }

    #[test]
    fn breaks_a_long_row_at_an_item() {
        // After the label, each of the first five items takes 12 columns, with the space before the next one.
        let item = "0123456789";
        let fits = row("queues", &[item, item, item, item, item, "012345"]);
        assert_eq!(fits.lines().map(str::len).collect::<Vec<_>>(), [WIDTH]);
        let breaks = row("queues", &[item, item, item, item, item, "0123456"]);
        assert_eq!(breaks.lines().nth(1), Some("              0123456"));
        let long = "x".repeat(100);
        assert_eq!(row("queues", &[&long, item]), format!("  queues      {long},\n{:14}{item}\n", ""));
    }
}
