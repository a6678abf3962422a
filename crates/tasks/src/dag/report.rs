//! What a run folder holds of a learned graph.

use serde_json::{Map, Value, json};
use thalweg_plot::{Report, Table};
use thalweg_topo::graph::edges;
use thalweg_topo::metrics::{r2_sortability, varsortability};

use super::{LearnedGraph, picture, write};
use crate::folder::REPORT;
use crate::{Folder, Result};

/// Files of a folder beside those of every run.
pub(super) const PRODUCTS: &[&str] = &[
    "graph.csv",
    "weights.csv",
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
    for (file, text) in [
        ("graph.csv", write::matrix(names, &learned.graph)),
        ("weights.csv", write::matrix(names, &learned.weights)),
        ("cpdag.csv", write::class(names, &learned.cpdag)),
        ("graph.dot", write::dot(names, &learned.graph)),
        ("graph.graphml", write::graphml(names, &learned.graph)),
        ("order.txt", order.join("\n") + "\n"),
        ("graph.svg", picture::svg(names, &learned.order, &learned.graph)),
    ] {
        folder.write(file, text.as_bytes())?;
    }
    let mut report = Report::new("A directed acyclic graph");
    report.lead(&format!(
        "{}: {} samples of {} variables. Score {:.6}, {} edges.",
        graph.data,
        graph.sample.n(),
        graph.sample.d(),
        learned.score,
        edges(&learned.graph).len()
    ));
    let section = report.section("The graph");
    learned.warnings.iter().for_each(|w| {
        section.text(&format!("Warning: {w}."));
    });
    let arcs = picture::arcs("Edges along the order", &learned.order, &learned.graph, None);
    let weights = picture::weights("Weights", &learned.order, &learned.graph);
    section.figure(&arcs, &format!("The order: {}.", order.join(", ")));
    section.figure(&weights, "graph.svg has the names of the variables.");
    section.table(&graph.table());
    if learned.trace.len() > 1 {
        let trace = picture::trace(&learned.trace);
        report.section("The search").figure(&trace, "The best of all starts.");
        trace.save(&folder.file("trace.svg"))?;
    }
    arcs.save(&folder.file("arcs.svg"))?;
    weights.save(&folder.file("weights.svg"))?;
    report.save(&folder.file(REPORT))?;
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
        let head = ["from", "to", "weight", "direction"];
        let mut table = Table::new(head.into_iter().chain(bic.then_some("ΔBIC/2")));
        for (u, v, w) in edges(&learned.graph) {
            let compelled = learned.cpdag.directed.contains(&(u, v));
            let strength = learned.strengths.iter().find(|s| (s.0, s.1) == (u, v));
            let cells = [
                self.sample.names()[u].clone(),
                self.sample.names()[v].clone(),
                format!("{w:.4}"),
                if compelled { "certain" } else { "either" }.to_owned(),
            ];
            table.row(cells.into_iter().chain(strength.map(|s| format!("{:.2}", s.2))));
        }
        table
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
            "score {:.8}   {} edges, {} of them in every equivalent graph   KKT violation {kkt}   {:.3} s\n\n{}",
            learned.score,
            edges(&learned.graph).len(),
            learned.cpdag.directed.len(),
            self.seconds,
            self.table().text()
        )
    }
}
