//! Graphs as text, in the formats that others read.

use thalweg_topo::bootstrap::Bootstrap;
use thalweg_topo::cpdag::Cpdag;
use thalweg_topo::graph::edges;
use thalweg_topo::{Learned, Mat, Sample};

/// A matrix with names above and before.
pub fn matrix(names: &[String], w: &Mat<f64>) -> String {
    let mut text = names.iter().fold(String::new(), |t, n| t + "," + &quoted(n)) + "\n";
    for (u, name) in names.iter().enumerate() {
        text += &quoted(name);
        (0..names.len()).for_each(|v| text += &format!(",{}", w[(u, v)]));
        text.push('\n');
    }
    text
}

/// Observations under the names of the variables.
pub fn samples(sample: &Sample) -> String {
    let names: Vec<String> = sample.names().iter().map(|n| quoted(n)).collect();
    let mut text = names.join(",") + "\n";
    for i in 0..sample.n() {
        let row: Vec<String> = sample.x().row(i).iter().map(f64::to_string).collect();
        text += &(row.join(",") + "\n");
    }
    text
}

/// `from,to,weight`, one edge a line.
pub fn list(names: &[String], w: &Mat<f64>) -> String {
    let line = |(u, v, x): (usize, usize, f64)| format!("{},{},{x}\n", quoted(&names[u]), quoted(&names[v]));
    std::iter::once("from,to,weight\n".into()).chain(edges(w).into_iter().map(line)).collect()
}

/// `from,to,weight,class` of the graph's edges, one a line; with shares of resamples also `linked`, `forward` and
/// `backward`, and below the pairs that only resamples link, without weight and class.
pub fn edges_with_support(names: &[String], learned: &Learned, support: Option<&Bootstrap>) -> String {
    let mut text = "from,to,weight,class".to_owned()
        + if support.is_some() { ",linked,forward,backward\n" } else { "\n" };
    let name = |v: usize| quoted(&names[v]);
    for (u, v, w) in edges(&learned.graph) {
        text += &format!("{},{},{w},{}", name(u), name(v), kind(learned, u, v));
        if let Some(found) = support {
            let (linked, forward, backward) = found.of(u, v);
            text += &format!(",{linked},{forward},{backward}");
        }
        text.push('\n');
    }
    let only = |a: usize, b: usize| learned.graph[(a, b)] == 0.0 && learned.graph[(b, a)] == 0.0;
    for s in support.iter().flat_map(|found| &found.support).filter(|s| only(s.a, s.b)) {
        text += &format!("{},{},,,{},{},{}\n", name(s.a), name(s.b), s.linked, s.forward, s.backward);
    }
    text
}

/// What the equivalence class says of an edge of the graph: `compelled` where all its members direct it so, else
/// `reversible`.
pub fn kind(learned: &Learned, u: usize, v: usize) -> &'static str {
    if learned.cpdag.directed.contains(&(u, v)) { "compelled" } else { "reversible" }
}

/// `from,to,kind`, one edge of the equivalence class a line.
pub fn class(names: &[String], class: &Cpdag) -> String {
    let line = |(u, v): &(usize, usize), kind: &str| {
        format!("{},{},{kind}\n", quoted(&names[*u]), quoted(&names[*v]))
    };
    let mut text = "from,to,kind\n".to_owned();
    text.extend(class.directed.iter().map(|e| line(e, "directed")));
    text.extend(class.undirected.iter().map(|e| line(e, "undirected")));
    text
}

/// For Graphviz.
pub fn dot(names: &[String], w: &Mat<f64>) -> String {
    let name = |v: usize| format!("\"{}\"", names[v].replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = "digraph {\n".to_owned();
    (0..names.len()).for_each(|v| text += &format!("  {};\n", name(v)));
    for (u, v, x) in edges(w) {
        text += &format!("  {} -> {} [label=\"{x:.3}\"];\n", name(u), name(v));
    }
    text + "}\n"
}

/// For yEd, Gephi, NetworkX.
pub fn graphml(names: &[String], w: &Mat<f64>) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n\
        <key id=\"weight\" for=\"edge\" attr.name=\"weight\" attr.type=\"double\"/>\n\
        <graph edgedefault=\"directed\">\n"
        .to_owned();
    names.iter().for_each(|n| text += &format!("<node id=\"{}\"/>\n", escaped(n)));
    for (u, v, x) in edges(w) {
        let (from, to) = (escaped(&names[u]), escaped(&names[v]));
        text += &format!("<edge source=\"{from}\" target=\"{to}\"><data key=\"weight\">{x}</data></edge>\n");
    }
    text + "</graph>\n</graphml>\n"
}

/// A cell of a CSV file.
pub fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n']) || cell.trim() != cell || cell.is_empty() {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.into(),
    }
}

/// Text for XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
