//! Which marks held when they were last written down, so that one that turns is seen.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::folder::{read_file, write_file};
use crate::{Context, Finding, Result};

/// The marks of a claim: its words without the numbers that were measured, and whether it held.
type Held = BTreeMap<String, bool>;

/// What is written down, by system and claim, and what was measured now.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marks {
    written: BTreeMap<String, BTreeMap<String, Held>>,
    #[serde(skip)]
    now: BTreeMap<String, Held>,
}

impl Marks {
    /// Those of a file; none where there is no file.
    ///
    /// # Errors
    /// A file that holds something else.
    pub fn read(file: &Path) -> Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        serde_json::from_str(&read_file(file)?).with_context(|| format!("{} holds no marks", file.display()))
    }

    /// What a claim has found.
    pub fn take(&mut self, finding: &Finding) {
        let held = finding.marks.iter().map(|(mark, holds)| (without_numbers(mark), *holds));
        self.now.insert(finding.name.into(), held.collect());
    }

    /// Writes down what was measured now of a system beside all the rest.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(mut self, system: &str, file: &Path) -> Result<()> {
        self.written.entry(system.into()).or_default().append(&mut self.now);
        write_file(file, format!("{}\n", serde_json::to_string_pretty(&self)?).as_bytes())
    }

    /// The marks of a system that held when they were written down and miss now.
    pub fn turned(&self, system: &str) -> Vec<String> {
        let before = self.written.get(system);
        let held = |claim: &str, mark: &str| before.and_then(|b| b.get(claim)?.get(mark)) == Some(&true);
        let all = self
            .now
            .iter()
            .flat_map(|(claim, marks)| marks.iter().map(move |(mark, now)| (claim, mark, now)));
        let turned = all.filter(|(claim, mark, now)| !**now && held(claim, mark));
        turned.map(|(claim, mark, _)| format!("{claim}: {mark}")).collect()
    }
}

/// A mark without what stands in brackets: the numbers of this run.
fn without_numbers(mark: &str) -> String {
    let mut depth = 0;
    let outside = mark.chars().filter(|c| {
        depth += i32::from("([".contains(*c));
        let outside = depth == 0;
        depth -= i32::from(")]".contains(*c));
        outside
    });
    outside.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use thalweg_plot::Table;

    use super::Marks;
    use crate::Finding;

    fn finding(name: &'static str, marks: &[(&str, bool)]) -> Finding {
        let marks = marks.iter().map(|(mark, holds)| (String::from(*mark), *holds)).collect();
        let (title, text) = (String::new(), String::new());
        Finding { name, title, text, table: Table::new(["x"]), figures: Vec::new(), marks, data: Value::Null }
    }

    #[test]
    fn a_mark_that_turns_is_seen_whatever_its_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("marks.json");
        let see = |marks: &[(&str, bool)]| {
            let mut all = Marks::read(&file).unwrap();
            all.take(&finding("perceptron", marks));
            all
        };
        assert!(
            see(&[("better than SGD (by 0.5)", false)]).turned("mkor").is_empty(),
            "nothing is written yet"
        );
        see(&[("better than SGD (by 0.5)", true), ("fast [1, 2] (3)", false)]).write("mkor", &file).unwrap();
        let now = see(&[("better than SGD (by -0.1)", false), ("fast [4, 5] (6)", false), ("new", false)]);
        assert_eq!(now.turned("mkor"), ["perceptron: better than SGD"]);
        assert!(now.turned("mfac").is_empty());
        assert!(see(&[("better than SGD (by 0.7)", true)]).turned("mkor").is_empty());
    }
}
