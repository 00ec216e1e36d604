//! Tables for people: columns as wide as their widest cell.

use crate::edge::system::{self, LocalTime};

/// Formats rows below a head. Control characters in cells, which may come from a node, become blanks.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(&head).chain(rows).map(|row| row.iter().map(plain).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Formats a time in seconds since the epoch in the local time zone; `-` for never.
pub(super) fn local_time(seconds: i64) -> String {
    match system::local_time(seconds).filter(|_| seconds > 0) {
        Some(LocalTime { year, month, day, hour, minute, second }) => {
            format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        }
        None => "-".to_owned(),
    }
}

#[expect(clippy::ptr_arg, reason = "it maps cells")]
fn plain(cell: &String) -> String {
    cell.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_no_cell_breaks_a_line() {
        let rows = vec![vec!["2".to_owned(), "up".to_owned()], vec!["1000".to_owned(), "a\nb\x1b[2J".to_owned()]];
        assert_eq!(table(&["NODE", "STATE"], &rows), "NODE  STATE\n2     up\n1000  a b [2J\n");
        assert_eq!(table(&["A"], &[]), "A\n");
    }
}
