//! Tables of text, with columns aligned by spaces.

/// Returns the rows as lines. All rows have as many cells as the first one, which has the headings.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["PORTS", "STATE"], ["1-20000", "open"], ["22", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "PORTS    STATE\n1-20000  open\n22\n");
    }
}
