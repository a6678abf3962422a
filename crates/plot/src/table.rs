use crate::scene::escape;

/// A table of texts: for the terminal and, within a report, as HTML.
///
/// Columns whose cells are all numbers (with units such as `%` or `s`, or a `± error`) are
/// aligned to the right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// One text per column.
    pub header: Vec<String>,
    /// Rows of as many texts; shorter ones are filled with blanks, longer ones widen the table.
    pub rows: Vec<Vec<String>>,
    /// Cells `(row, column)` to emphasise in HTML and to mark with `*` in the terminal.
    pub best: Vec<(usize, usize)>,
}

impl Table {
    /// A table without rows.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    /// Marks the cells with the smallest (`true`) or largest (`false`) number of a column; cells
    /// that do not begin with a number do not count.
    pub fn highlight(&mut self, column: usize, smallest: bool) -> &mut Self {
        let numbers = self.rows.iter().map(|r| r.get(column).and_then(|c| leading_number(c)));
        let keyed: Vec<_> = numbers.map(|v| v.map(|v| if smallest { v } else { -v })).collect();
        let best = keyed.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let cells = (0..keyed.len()).filter(|&i| keyed[i] == Some(best)).map(|i| (i, column));
        self.best.extend(cells);
        self
    }

    fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).fold(self.header.len(), usize::max)
    }

    fn numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|r| r.get(column)).filter(|c| !c.is_empty()).peekable();
        cells.peek().is_some() && cells.all(|c| is_numeric(c))
    }

    /// Aligned plain text, one line per row, header underlined.
    pub fn text(&self) -> String {
        let cell = |i: usize, row: &[String], j: usize| {
            let text = row.get(j).map_or("", String::as_str).replace(['\n', '\r', '\t'], " ");
            if i > 0 && self.best.contains(&(i - 1, j)) { format!("{text}*") } else { text }
        };
        let all: Vec<&[String]> =
            std::iter::once(&self.header).chain(&self.rows).map(Vec::as_slice).collect();
        let columns = self.columns();
        let starred = |j: usize| self.best.iter().any(|b| b.1 == j);
        let widths: Vec<usize> = (0..columns)
            .map(|j| (0..all.len()).map(|i| cell(i, all[i], j).chars().count()).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for (i, row) in all.iter().enumerate() {
            let mut line = String::new();
            for j in 0..columns {
                let mut text = cell(i, row, j);
                let numeric = self.numeric(j);
                if numeric && starred(j) && !text.ends_with('*') {
                    text.push(' '); // keeps the digits below each other
                }
                let gap = if j == 0 { "" } else { "  " };
                let blank = " ".repeat(
                    (widths[j] + usize::from(numeric && starred(j))).saturating_sub(text.chars().count()),
                );
                line += &if numeric { format!("{gap}{blank}{text}") } else { format!("{gap}{text}{blank}") };
            }
            out += line.trim_end();
            out.push('\n');
            if i == 0 {
                let total = widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1);
                out += &"─".repeat(total);
                out.push('\n');
            }
        }
        out
    }

    pub(crate) fn html(&self) -> String {
        let columns = self.columns();
        let class = |i: Option<usize>, j: usize| match (
            self.numeric(j),
            i.is_some_and(|i| self.best.contains(&(i, j))),
        ) {
            (true, true) => r#" class="number best""#,
            (true, false) => r#" class="number""#,
            (false, true) => r#" class="best""#,
            (false, false) => "",
        };
        let line = |i: Option<usize>, row: &[String], tag: &str| {
            let cells: String = (0..columns)
                .map(|j| {
                    format!("<{tag}{}>{}</{tag}>", class(i, j), escape(row.get(j).map_or("", String::as_str)))
                })
                .collect();
            format!("<tr>{cells}</tr>")
        };
        let body: String = self.rows.iter().enumerate().map(|(i, r)| line(Some(i), r, "td")).collect();
        format!(
            r#"<div class="scroll"><table><thead>{}</thead><tbody>{body}</tbody></table></div>"#,
            line(None, &self.header, "th")
        )
    }
}

/// The number a cell begins with: `97.3 ± 0.2 %` gives 97.3; commas between thousands are skipped.
fn leading_number(cell: &str) -> Option<f64> {
    let text = cell.trim().replace('−', "-").replace(',', "");
    let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(text.len());
    let value = (1..=end).rev().find_map(|n| text[..n].parse::<f64>().ok())?;
    let power = text[end..].strip_prefix("×10").map(|rest| {
        let digits = rest.chars().map_while(|c| {
            "⁰¹²³⁴⁵⁶⁷⁸⁹"
                .chars()
                .position(|d| d == c)
                .map(|d| d.to_string())
                .or((c == '⁻').then(|| "-".into()))
        });
        digits.collect::<String>().parse::<i32>().unwrap_or(0)
    });
    Some(value * 10f64.powi(power.unwrap_or(0)))
}

/// A number, perhaps with error or unit, or a sign for a missing one.
fn is_numeric(cell: &str) -> bool {
    let cell = cell.trim();
    matches!(cell, "–" | "—" | "-" | "∞" | "−∞" | "NaN" | "inf")
        || leading_number(cell).is_some() && cell.chars().filter(|c| c.is_alphabetic()).count() <= 3
}
