use serde_json::{Value, json};
use thalweg_plot::{Figure, Report, Table};

/// What a job, a stop of the tour or a claim has found: a table, pictures, and the marks it is held to.
pub struct Finding {
    /// Short name.
    pub name: &'static str,
    /// What is measured.
    pub title: String,
    /// Setting and source.
    pub text: String,
    /// The measurements.
    pub table: Table,
    /// Pictures with captions.
    pub figures: Vec<(Figure, String)>,
    /// Statements with their truth in this run.
    pub marks: Vec<(String, bool)>,
    /// The same for programs.
    pub data: Value,
}

impl Finding {
    /// Adds it to a report.
    pub fn add_to(&self, report: &mut Report) {
        let section = report.section(&self.title);
        section.text(&self.text).table(&self.table);
        for (figure, caption) in &self.figures {
            section.figure(figure, caption);
        }
        for (mark, holds) in &self.marks {
            section.text(&format!("{} {mark}", if *holds { "✓" } else { "✗" }));
        }
    }

    /// As text for a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n\n{}", self.title, self.text, self.table.text());
        for (mark, holds) in &self.marks {
            text += &format!("{} {mark}\n", if *holds { "[holds] " } else { "[misses]" });
        }
        text
    }

    /// The marks for programs.
    pub fn marks_json(&self) -> Value {
        self.marks.iter().map(|(mark, holds)| json!({ "mark": mark, "holds": holds })).collect()
    }
}
