//! Graphs as text, in the formats that others read.

use thalweg_topo::cpdag::Cpdag;
use thalweg_topo::graph::edges;
use thalweg_topo::{Mat, Sample};

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
    let mut text = sample.names().join(",") + "\n";
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
    match cell.contains([',', '"', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.into(),
    }
}

/// Text for XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
