//! What a run folder holds of a learned graph.

use serde_json::{Map, Value, json};
use thalweg_plot::{Report, Table};
use thalweg_topo::graph::edges;
use thalweg_topo::metrics::{r2_sortability, varsortability};

use super::{LearnedGraph, picture, write};
use crate::{Folder, Result};

/// Files of a folder beside those of every run.
pub(super) const PRODUCTS: &[&str] = &[
    "graph.csv",
    "weights.csv",
    "edges.csv",
    "cpdag.csv",
    "graph.dot",
    "graph.graphml",
    "order.txt",
    "graph.svg",
    "arcs.svg",
    "weights.svg",
    "trace.svg",
];

/// Writes the graph in all formats, pictures and the report.
pub(super) fn write(folder: &Folder, graph: &LearnedGraph) -> Result<()> {
    let (names, learned) = (graph.sample.names(), &graph.learned);
    let order = graph.names(&learned.order);
    let support = graph.support.as_ref();
    let drawing = picture::svg(names, &learned.order, &learned.graph, Some(&learned.cpdag), support);
    for (file, text) in [
        ("graph.csv", write::matrix(names, &learned.graph)),
        ("weights.csv", write::matrix(names, &learned.weights)),
        ("cpdag.csv", write::class(names, &learned.cpdag)),
        ("graph.dot", write::dot(names, &learned.graph)),
        ("graph.graphml", write::graphml(names, &learned.graph)),
        ("order.txt", order.join("\n") + "\n"),
        ("graph.svg", drawing.clone()),
        ("edges.csv", write::edges_with_support(names, learned, support)),
    ] {
        folder.write(file, text.as_bytes())?;
    }
    let mut report = Report::new("A directed acyclic graph");
    report.lead(&format!(
        "{}: {} samples of {} variables; {} edges.",
        graph.data,
        graph.sample.n(),
        graph.sample.d(),
        edges(&learned.graph).len()
    ));
    let section = report.section("The graph");
    learned.warnings.iter().for_each(|w| {
        section.text(&format!("Warning: {w}."));
    });
    section.drawing(&drawing, "Numbers are weights. A broken line may point either way.");
    section.table(&graph.table());
    section.text(&graph.legend().join(" "));
    let arcs = picture::arcs("Edges along the order", &learned.order, &learned.graph, None);
    let weights = picture::weights("Weights", &learned.order, &learned.graph);
    let section = report.section("Order and weights");
    section.figure(&arcs, &format!("The order: {}.", order.join(", ")));
    section.figure(&weights, "Variables by their place in the order.");
    if learned.trace.len() > 1 {
        let trace = picture::trace(&learned.trace);
        report.section("The search").figure(&trace, "The best of all starts.");
        trace.save(&folder.file("trace.svg"))?;
    }
    arcs.save(&folder.file("arcs.svg"))?;
    weights.save(&folder.file("weights.svg"))?;
    folder.report(report)?;
    Ok(())
}

impl LearnedGraph {
    /// [`LearnedGraph::summary`] and what else there is to say.
    pub(super) fn full_summary(&self) -> Map<String, Value> {
        let (learned, s) = (&self.learned, self.sample.covariance());
        let mut all = self.summary();
        for (key, value) in [
            ("warnings", json!(learned.warnings)),
            ("intercepts", json!(learned.intercepts)),
            ("starts", json!(learned.starts)),
            ("trace", json!(learned.trace)),
            ("evaluations", json!(learned.evaluations)),
            ("stopped_because", json!(learned.stopped_because)),
            ("varsortability", json!(varsortability(&learned.graph, &s))),
            ("r2_sortability", json!(r2_sortability(&learned.graph, &s))),
        ] {
            all.insert(key.into(), value);
        }
        all
    }

    /// Edges for people.
    pub fn table(&self) -> Table {
        let learned = &self.learned;
        let bic = !learned.strengths.is_empty();
        let mut head = vec!["from", "to", "weight", "class"];
        head.extend(bic.then_some("ΔBIC/2"));
        if self.support.is_some() {
            head.extend(["linked", "this way"]);
        }
        let mut table = Table::new(head);
        for (u, v, w) in edges(&learned.graph) {
            let strength = learned.strengths.iter().find(|s| (s.0, s.1) == (u, v));
            let mut cells = vec![
                self.sample.names()[u].clone(),
                self.sample.names()[v].clone(),
                format!("{w:.4}"),
                write::kind(learned, u, v).to_owned(),
            ];
            cells.extend(strength.map(|s| format!("{:.2}", s.2)));
            if let Some(found) = &self.support {
                let (linked, forward, _) = found.of(u, v);
                cells.extend([linked, forward].map(|share| format!("{:.0} %", 100.0 * share)));
            }
            table.row(cells);
        }
        table
    }

    /// What the numbers mean, a sentence each.
    fn legend(&self) -> Vec<String> {
        let learned = &self.learned;
        let (name, why) = &self.score;
        let mut lines = vec![format!("Score {name} ({why}): {:.8}; smaller is better.", learned.score)];
        if let Some(kkt) = learned.kkt_violation {
            lines.push(format!(
                "KKT violation {kkt:.1e}: how far the weights are from a local minimum, 0 at one{}.",
                if name == "bic" { " (of the likelihood over the edges)" } else { "" }
            ));
        }
        lines.push(
            "Class: a compelled edge points this way in every graph of the equivalence class (that obeys what is known), \
             a reversible one does not. Neither says how sure the data are of the edge."
                .into(),
        );
        if !matches!(&**name, "bic" | "mcp") {
            lines.push(format!(
                "The score {name} tells directions within the class apart, by what it assumes."
            ));
        }
        if !learned.strengths.is_empty() {
            lines.push(
                "ΔBIC/2: how much the score times the number of samples rises without the edge.".into(),
            );
        }
        match &self.support {
            Some(found) => lines.push(format!(
                "Linked, this way: shares of graphs learned from {} resamples of the data that have the edge, and that \
                 direct it so.",
                found.resamples
            )),
            None => lines.push("How sure the edges are: set `bootstrap` to a number of resamples.".into()),
        }
        lines
    }

    /// Score, edges and time for people.
    pub fn text(&self) -> String {
        let learned = &self.learned;
        let mut text = String::new();
        if let Some(improved) = self.improved {
            if let Some(before) = improved.before {
                text += &format!("score_before {before:.8}\n");
            }
            text += &format!("score_refit {:.8}\ncut {:.8}\n", improved.refit, improved.cut);
        }
        let kkt = learned.kkt_violation.map_or("–".into(), |k| format!("{k:.1e}"));
        text + &format!(
            "score {} {:.8}   {} edges, {} of them compelled   KKT violation {kkt}   {:.3} s\n\n{}\n{}\n",
            self.score.0,
            learned.score,
            edges(&learned.graph).len(),
            learned.cpdag.directed.len(),
            self.seconds,
            self.table().text(),
            self.legend().join("\n")
        )
    }
}
