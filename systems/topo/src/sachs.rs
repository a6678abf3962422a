//! Proteins in single cells: an embedded data set with a consensus network.

use faer::Mat;

use crate::Sample;

/// Amounts of 11 proteins in 853 single cells (raw intensities, observational: anti-CD3/CD28 only).
///
/// K. Sachs, O. Perez, D. Pe'er, D. A. Lauffenburger, G. P. Nolan, *Causal Protein-Signaling Networks
/// Derived from Multiparameter Single-Cell Data*, Science 308 (2005); as distributed in
/// cmu-phil/example-causal-datasets (CC0-1.0).
const CELLS: &str = include_str!("sachs.csv");

/// The consensus network of 17 edges.
const TRUTH: [(&str, &str); 17] = [
    ("raf", "mek"),
    ("mek", "erk"),
    ("plc", "pip2"),
    ("plc", "pip3"),
    ("pip3", "pip2"),
    ("erk", "akt"),
    ("pka", "raf"),
    ("pka", "mek"),
    ("pka", "erk"),
    ("pka", "akt"),
    ("pka", "jnk"),
    ("pka", "p38"),
    ("pkc", "pka"),
    ("pkc", "raf"),
    ("pkc", "mek"),
    ("pkc", "jnk"),
    ("pkc", "p38"),
];

/// The columns' names.
fn names() -> impl Iterator<Item = &'static str> {
    CELLS.lines().next().unwrap_or_default().split(',')
}

/// The embedded data: amounts of 11 proteins in 853 single cells, raw, observational (Sachs et al.,
/// Science 308, 2005; CC0-1.0). Their logarithms ([`Sample::log`]) are nearer to normal.
pub fn data() -> Sample {
    let names: Vec<String> = names().map(str::to_owned).collect();
    let cell = |c: &str| c.parse().unwrap_or(f64::NAN);
    let rows: Vec<Vec<f64>> = CELLS.lines().skip(1).map(|l| l.split(',').map(cell).collect()).collect();
    let x = Mat::from_fn(rows.len(), names.len(), |i, j| rows[i][j]);
    Sample::new(names, x).expect("the embedded data are finite")
}

/// Its consensus network of 17 edges from the literature, with weights 1; others list 20.
pub fn truth() -> Mat<f64> {
    let at = |name: &str| names().position(|n| n == name);
    let d = names().count();
    let mut w = Mat::zeros(d, d);
    for (from, to) in TRUTH {
        if let (Some(u), Some(v)) = (at(from), at(to)) {
            w[(u, v)] = 1.0;
        }
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cells_are_all_there() {
        let sample = data();
        assert_eq!((sample.n(), sample.d()), (853, 11));
        assert!(sample.log().is_some());
        assert_eq!(crate::graph::edges(&truth()).len(), 17);
        assert!(crate::graph::topological_order(&truth()).is_some());
    }
}
