use std::ops::Range;

use crate::DataError;

/// What stands between two cells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// `,`
    Comma,
    /// `;`, as a spreadsheet writes where the comma is the decimal sign.
    Semicolon,
    /// A tabulator.
    Tab,
    /// `|`
    Bar,
    /// One blank or tabulator or more.
    Blanks,
}

impl Separator {
    /// The separators by name.
    pub const ALL: [(&str, Self); 5] = [
        ("comma", Self::Comma),
        ("semicolon", Self::Semicolon),
        ("tab", Self::Tab),
        ("bar", Self::Bar),
        ("blanks", Self::Blanks),
    ];

    pub(crate) fn of_char(c: char) -> Option<Self> {
        Some(match c {
            ',' => Self::Comma,
            ';' => Self::Semicolon,
            '\t' => Self::Tab,
            '|' => Self::Bar,
            ' ' => Self::Blanks,
            _ => return None,
        })
    }

    fn is(self, byte: u8) -> bool {
        match self {
            Self::Comma => byte == b',',
            Self::Semicolon => byte == b';',
            Self::Tab => byte == b'\t',
            Self::Bar => byte == b'|',
            Self::Blanks => byte == b' ' || byte == b'\t',
        }
    }

    /// The separator with which most of the first rows have as many cells as the first, which are more than one.
    pub(crate) fn detect(text: &str) -> Option<Self> {
        let marks = [Self::Tab, Self::Semicolon, Self::Bar, Self::Comma];
        let mut best = (0.0, None);
        for separator in marks {
            let share = separator.agreement(text);
            if share > best.0 {
                best = (share, Some(separator));
            }
        }
        // Words may hold blanks: they part cells only where nothing else does.
        best.1.or_else(|| (Self::Blanks.agreement(text) > 0.0).then_some(Self::Blanks))
    }

    /// Share of the first rows that have the commonest number of cells; 0 if the first row has one cell, next to
    /// nothing if it has neither that number nor one less (R writes no name above the names of the rows).
    fn agreement(self, text: &str) -> f64 {
        const SAMPLE: usize = 200;
        let Ok(cells) = Cells::split(text, self, 1, SAMPLE) else { return 0.0 };
        let counts: Vec<usize> = (0..cells.rows()).map(|r| cells.row(r).len()).collect();
        let Some((&first, rest)) = counts.split_first() else { return 0.0 };
        let times = |c: usize| counts.iter().filter(|&&n| n == c).count();
        let common = rest.iter().copied().max_by_key(|&c| (times(c), c)).unwrap_or(first);
        if first < 2 {
            return 0.0;
        }
        if first != common && first + 1 != common {
            // A ragged table, unless blanks stand in a name.
            return if self == Self::Blanks { 0.0 } else { 0.5 / counts.len() as f64 };
        }
        (times(common) + usize::from(first != common)) as f64 / counts.len() as f64
    }
}

impl std::fmt::Display for Separator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, value)| value == self).map_or("", |(name, _)| name))
    }
}

impl std::str::FromStr for Separator {
    type Err = DataError;

    /// By name, or as the character itself.
    fn from_str(text: &str) -> Result<Self, DataError> {
        let named = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        let mut chars = text.chars();
        let lone = chars.next().filter(|_| chars.next().is_none());
        named.or_else(|| lone.and_then(Self::of_char)).ok_or_else(|| DataError::Choice {
            what: "separator",
            given: text.into(),
            known: Self::ALL.map(|(name, _)| name).join(", "),
        })
    }
}

/// The cells of a text, row by row, without quotes and the blanks around them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cells {
    text: String,
    /// Where each cell ends in `text`; it begins where the one before ends.
    ends: Vec<usize>,
    /// Line of each row, and the number of its first cell.
    rows: Vec<(usize, usize)>,
}

impl Cells {
    /// Splits at most `most` rows; the first line is number `line`. Cells may stand in double quotes, a quote within
    /// is written twice. Empty lines are passed over.
    ///
    /// An error is the line of a quote that is never closed.
    pub fn split(text: &str, separator: Separator, mut line: usize, most: usize) -> Result<Self, usize> {
        let bytes = text.as_bytes();
        let at_end = |at: usize| matches!(bytes.get(at), None | Some(b'\n' | b'\r'));
        let blank = |at: usize| matches!(bytes.get(at), Some(b' ' | b'\t')) && !separator.is(bytes[at]);
        let mut out = Self { text: String::new(), ends: Vec::new(), rows: Vec::new() };
        let mut at = 0;
        while at < bytes.len() && out.rows.len() < most {
            let (row_line, first) = (line, out.ends.len());
            let mut quoted = false;
            while separator == Separator::Blanks && !at_end(at) && separator.is(bytes[at]) {
                at += 1;
            }
            loop {
                while blank(at) {
                    at += 1;
                }
                let start = out.text.len();
                if bytes.get(at) == Some(&b'"') {
                    quoted = true;
                    let opened = line;
                    loop {
                        let from = at + 1;
                        at = from + text[from..].find('"').ok_or(opened)?;
                        line += newlines(&bytes[from..at]);
                        out.text.push_str(&text[from..at]);
                        at += 1;
                        if bytes.get(at) != Some(&b'"') {
                            break;
                        }
                        out.text.push('"');
                    }
                }
                let from = at;
                while !at_end(at) && !separator.is(bytes[at]) {
                    at += 1;
                }
                out.text.push_str(&text[from..at]);
                let cell = out.text[start..].trim();
                if cell.len() < out.text.len() - start {
                    let cell = cell.to_owned();
                    out.text.truncate(start);
                    out.text.push_str(&cell);
                }
                out.ends.push(out.text.len());
                if at_end(at) {
                    break;
                }
                at += 1;
                if separator == Separator::Blanks {
                    while !at_end(at) && separator.is(bytes[at]) {
                        at += 1;
                    }
                    if at_end(at) {
                        break;
                    }
                }
            }
            at += match bytes.get(at..at + 2) {
                Some(b"\r\n") => 2,
                _ => 1,
            };
            line += 1;
            let empty = out.ends.len() == first + 1 && out.cell(first).is_empty() && !quoted;
            if empty {
                out.ends.truncate(first);
            } else {
                out.rows.push((row_line, first));
            }
        }
        Ok(out)
    }

    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Line of a row, from 1.
    pub fn line(&self, row: usize) -> usize {
        self.rows[row].0
    }

    /// Numbers of the cells of a row.
    pub fn row(&self, row: usize) -> Range<usize> {
        let end = self.rows.get(row + 1).map_or(self.ends.len(), |next| next.1);
        self.rows[row].1..end
    }

    /// The text of a cell.
    pub fn cell(&self, cell: usize) -> &str {
        let start = if cell == 0 { 0 } else { self.ends[cell - 1] };
        &self.text[start..self.ends[cell]]
    }
}

/// Line ends among the bytes: `\n`, `\r\n` or `\r`.
fn newlines(bytes: &[u8]) -> usize {
    let ends = |(i, &b): (usize, &u8)| b == b'\n' || (b == b'\r' && bytes.get(i + 1) != Some(&b'\n'));
    bytes.iter().enumerate().filter(|&e| ends(e)).count()
}
